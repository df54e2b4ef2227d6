"""Outlines of a label map's regions along pixel edges, and the painting of polygons.

Directions are 0 east, 1 south, 2 west, 3 north; the region lies on the right of its outline.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean

EAST, SOUTH, WEST = 0, 1, 2


@lean
def run_at(row_H1: NDArray[np.int64], start_R: NDArray[np.int32], y: int, x: int) -> int:
    """The run that pixel (y, x) lies in."""
    first, last = row_H1[y], row_H1[y + 1] - 1
    while first < last:
        middle = (first + last + 1) // 2
        if start_R[middle] <= x:
            first = middle
        else:
            last = middle - 1
    return int(first)


@lean
def is_node(framed: NDArray[np.uint16], y: int, x: int) -> bool:
    """Lines of three or more regions meet in corner (y, x), two cross there, or it is a corner of the image."""
    a, b, c, d = framed[y, x], framed[y, x + 1], framed[y + 1, x], framed[y + 1, x + 1]
    lines = int(a != b) + int(b != d) + int(d != c) + int(c != a)
    height, width = framed.shape[0] - 2, framed.shape[1] - 2
    return lines > 2 or ((y == 0 or y == height) and (x == 0 or x == width))


@kernel
def trace_rings(
    framed: NDArray[np.uint16],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    region_R: NDArray[np.int32],
    with_nodes: bool,
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int32]]:
    """(x and y of each vertex (V, 2), is it a node (V,), first vertex of each ring (M+1,), region of each (M,)).

    `framed` is the map within one pixel of 0 on each side; runs and 4-connected regions are those of the map.
    Regions of class 0 have no rings. Vertices are where the outline turns, and its nodes if asked for. Rings come
    in the order of their first pixels, each beginning there: the exterior of a region is its first ring.
    """
    height, width = framed.shape[0] - 2, framed.shape[1] - 2
    seen_HW = np.zeros((height, width), np.uint8)
    corner_V2, node_V = np.empty((1024, 2), np.int32), np.empty(1024, np.bool_)
    first_M, region_M = np.empty(256, np.int64), np.empty(256, np.int32)
    num, num_rings = 0, 0
    state = np.empty(4, np.int64)
    for y in range(height):
        above, above_end = (row_H1[y - 1], row_H1[y]) if y else (0, 0)
        for run in range(row_H1[y], row_H1[y + 1]):
            x = start_R[run]
            end = start_R[run + 1] if run + 1 < row_H1[y + 1] else width
            label = framed[y + 1, x + 1]
            while x < end:
                # From x to `until` the pixels above are of one run: an outline passes all of them or none.
                while above + 1 < above_end and start_R[above + 1] <= x:
                    above += 1
                until = min(end, start_R[above + 1]) if above + 1 < above_end else end
                if label != 0 and framed[y, x + 1] != label and not seen_HW[y, x]:
                    if num_rings + 1 >= first_M.size:
                        first_M, region_M = grown(first_M), grown(region_M)
                    first_M[num_rings], region_M[num_rings] = num, region_R[run]
                    num_rings += 1
                    state[0], state[1], state[2], state[3] = y, x, EAST, num
                    while not walk_ring(
                        framed,
                        row_H1,
                        start_R,
                        region_R,
                        region_R[run],
                        y,
                        x,
                        with_nodes,
                        seen_HW,
                        corner_V2,
                        node_V,
                        state,
                    ):
                        corner_V2, node_V = grown_pairs(corner_V2), grown(node_V)
                    num = state[3]
                x = until
    first_M[num_rings] = num
    return (
        corner_V2[:num].copy(),
        node_V[:num].copy(),
        first_M[: num_rings + 1].copy(),
        region_M[:num_rings].copy(),
    )


@lean
def walk_ring(
    framed: NDArray[np.uint16],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    region_R: NDArray[np.int32],
    region: int,
    first_y: int,
    first_x: int,
    with_nodes: bool,
    seen_HW: NDArray[np.uint8],
    corner_V2: NDArray[np.int32],
    node_V: NDArray[np.bool_],
    state: NDArray[np.int64],
) -> bool:
    """Write the ring that goes east from its first corner; False when the arrays are full before it is closed.

    `state` is where the walk begins and where it is then to go on: y, x, direction, vertices written.
    Turn left where the region goes on there, else straight on, else right. Where the region touches itself in a
    corner that makes two rings that share a vertex, rather than one that passes it twice.
    """
    label = framed[first_y + 1, first_x + 1]
    y, x, direction, num = state[0], state[1], state[2], state[3]
    while num < node_V.size:
        corner_V2[num, 0], corner_V2[num, 1] = x, y
        node_V[num] = with_nodes and is_node(framed, y, x)
        num += 1
        heading = direction
        while heading == direction:
            if direction == EAST:
                seen_HW[y, x] = 1
                x += 1
                ahead_left, ahead_right = framed[y, x + 1], framed[y + 1, x + 1]
            elif direction == SOUTH:
                y += 1
                ahead_left, ahead_right = framed[y + 1, x + 1], framed[y + 1, x]
            elif direction == WEST:
                x -= 1
                ahead_left, ahead_right = framed[y + 1, x], framed[y, x]
            else:
                y -= 1
                ahead_left, ahead_right = framed[y, x], framed[y, x + 1]
            if ahead_left == label:
                joined = ahead_right == label or is_of_region(row_H1, start_R, region_R, region, y, x, direction)
                heading = (direction + 3) % 4 if joined else (direction + 1) % 4
            elif ahead_right != label:
                heading = (direction + 1) % 4
            elif with_nodes and is_node(framed, y, x):
                break
        direction = heading
        if y == first_y and x == first_x and direction == EAST:
            state[3] = num
            return True
    state[0], state[1], state[2], state[3] = y, x, direction, num
    return False


@lean
def is_of_region(
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    region_R: NDArray[np.int32],
    region: int,
    y: int,
    x: int,
    direction: int,
) -> bool:
    """The pixel ahead to the left of who stands on corner (y, x) is of `region`; it has the region's class."""
    row = y if direction in (SOUTH, WEST) else y - 1
    col = x if direction in (EAST, SOUTH) else x - 1
    return bool(region_R[run_at(row_H1, start_R, row, col)] == region)


@kernel
def grown(values: NDArray[Any]) -> NDArray[Any]:
    larger = np.empty(2 * values.size, values.dtype)
    larger[: values.size] = values
    return larger


@kernel
def grown_pairs(values: NDArray[Any]) -> NDArray[Any]:
    larger = np.empty((2 * values.shape[0], 2), values.dtype)
    larger[: values.shape[0]] = values
    return larger


@kernel
def paint_polygons(
    labels_HW: NDArray[Any],
    class_P: NDArray[Any],
    hole_P1: NDArray[np.int64],
    first_M1: NDArray[np.int64],
    xy_V2: NDArray[np.float64],
) -> None:
    """Paint polygons in order: the pixels whose centres lie inside by the even-odd rule over all their rings.

    Polygon p has the ring p as its exterior and the rings `hole_P1[p]` to `hole_P1[p + 1]` as holes, a ring m the
    vertices `first_M1[m]` to `first_M1[m + 1]`, all finite and of a size at which their products are.
    """
    height, width = labels_HW.shape
    place_H2 = np.zeros(height + 2, np.int64)
    col_X = np.empty(1024, np.int32)
    inside_W1 = np.zeros(width + 1, np.uint8)
    for p in range(class_P.size):
        top, bottom = count_crossings(xy_V2, first_M1[p], first_M1[p + 1], height, place_H2, height, 0)
        for m in range(hole_P1[p], hole_P1[p + 1]):
            top, bottom = count_crossings(xy_V2, first_M1[m], first_M1[m + 1], height, place_H2, top, bottom)
        if top >= bottom:
            continue
        place_H2[top] = place_H2[top + 1] = 0
        for row in range(top, bottom):
            place_H2[row + 2] += place_H2[row + 1]
        if place_H2[bottom + 1] > col_X.size:
            col_X = np.empty(2 * place_H2[bottom + 1], np.int32)
        cross_ring(xy_V2, first_M1[p], first_M1[p + 1], height, width, place_H2, col_X)
        for m in range(hole_P1[p], hole_P1[p + 1]):
            cross_ring(xy_V2, first_M1[m], first_M1[m + 1], height, width, place_H2, col_X)
        for row in range(top, bottom):
            fill_row(labels_HW[row], class_P[p], col_X[place_H2[row] : place_H2[row + 1]], inside_W1)
        place_H2[top : bottom + 2] = 0


@lean
def count_crossings(
    xy_V2: NDArray[np.float64],
    first: int,
    end: int,
    height: int,
    place_H2: NDArray[np.int64],
    top: int,
    bottom: int,
) -> tuple[int, int]:
    """Add how often the ring's edges cross row r to `place_H2[r + 2]`; (top, bottom), widened to take it in."""
    before = end - 1
    for v in range(first, end):
        row, row_end = rows_between(xy_V2[before, 1], xy_V2[v, 1], height)
        before = v
        if row < row_end:
            top, bottom = min(top, row), max(bottom, row_end)
            for crossed in range(row, row_end):
                place_H2[crossed + 2] += 1
    return top, bottom


@lean
def cross_ring(
    xy_V2: NDArray[np.float64],
    first: int,
    end: int,
    height: int,
    width: int,
    place_H2: NDArray[np.int64],
    col_X: NDArray[np.int32],
) -> None:
    """Write where the ring's edges cross each row."""
    before = end - 1
    for v in range(first, end):
        cross_rows(xy_V2, before, v, height, width, place_H2, col_X)
        before = v


@lean
def rows_between(y0: float, y1: float, height: int) -> tuple[int, int]:
    """Rows (first, after the last) whose centres an edge from y0 to y1 crosses, either way round."""
    low, high = min(max(min(y0, y1), 0.0), float(height)), min(max(max(y0, y1), 0.0), float(height))
    return int(np.ceil(low - 0.5)), int(np.ceil(high - 0.5))


@lean
def cross_rows(
    xy_V2: NDArray[np.float64],
    v: int,
    after: int,
    height: int,
    width: int,
    place_H2: NDArray[np.int64],
    col_X: NDArray[np.int32],
) -> None:
    """Write, for each row that the edge crosses, the first column whose centre is right of the crossing."""
    # Always from top to bottom: neighbours that share an edge shall compute the very same crossing.
    if xy_V2[v, 1] > xy_V2[after, 1]:
        v, after = after, v
    x0, y0, x1, y1 = xy_V2[v, 0], xy_V2[v, 1], xy_V2[after, 0], xy_V2[after, 1]
    first, last = rows_between(y0, y1, height)
    if first >= last:
        return
    slope = (x1 - x0) / (y1 - y0)
    for row in range(first, last):
        crossing = x0 + (row + 0.5 - y0) * slope
        col_X[place_H2[row + 1]] = int(np.ceil(min(max(crossing, 0.0), float(width)) - 0.5))
        place_H2[row + 1] += 1


@lean
def fill_row(row_W: NDArray[Any], class_id: int, col_X: NDArray[np.int32], inside_W1: NDArray[np.uint8]) -> None:
    """Fill from every other crossing to the next; `inside_W1` is zeros, and zeros again afterwards."""
    num = col_X.size
    if num > 32:  # many crossings: one walk along the row rather than a sort
        for i in range(num):
            inside_W1[col_X[i]] ^= 1
        inside = 0
        for x in range(row_W.size):
            inside ^= inside_W1[x]
            inside_W1[x] = 0
            if inside:
                row_W[x] = class_id
        inside_W1[row_W.size] = 0
        return
    for i in range(1, num):
        col = col_X[i]
        place = i
        while place > 0 and col_X[place - 1] > col:
            col_X[place] = col_X[place - 1]
            place -= 1
        col_X[place] = col
    for i in range(0, num - 1, 2):
        row_W[col_X[i] : col_X[i + 1]] = class_id


def warm() -> None:
    row_H1, start_R, region_R = np.array([0, 1]), np.zeros(1, np.int32), np.zeros(1, np.int32)
    framed = np.zeros((3, 3), np.uint16)
    framed[1, 1] = 1
    corner_V2, _, first_M1, _ = trace_rings(framed, row_H1, start_R, region_R, False)
    for dtype in (np.uint8, np.uint16):
        labels_HW, class_P = np.zeros((3, 3), dtype), np.ones(1, dtype)
        paint_polygons(labels_HW, class_P, np.array([1, 1]), first_M1, corner_V2.astype(np.float64))
