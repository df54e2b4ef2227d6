"""Outlines of fewer vertices, within a distance of the whole ones, that neighbours still share.

Rings are cut at their nodes into arcs. Both regions beside an arc hold the same vertices of it, in opposite
orders: what is kept depends on the vertices alone, not on the order.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def comes_before(corner_V2: NDArray[np.int32], v: int, w: int) -> bool:
    """By row, then by column."""
    if corner_V2[v, 1] != corner_V2[w, 1]:
        return bool(corner_V2[v, 1] < corner_V2[w, 1])
    return bool(corner_V2[v, 0] < corner_V2[w, 0])


@kernel
def farthest(corner_V2: NDArray[np.int32], first: int, num: int, start: int, end: int) -> tuple[int, float]:
    """(place of the vertex between `start` and `end` that is farthest from the line between those, the distance's
    square).

    Of several it is the one that comes first on the map. Places count on beyond the ring's `num` vertices.
    """
    a, b = first + start % num, first + end % num
    if comes_before(corner_V2, b, a):
        a, b = b, a
    ax, ay = float(corner_V2[a, 0]), float(corner_V2[a, 1])
    dx, dy = corner_V2[b, 0] - ax, corner_V2[b, 1] - ay
    length = dx * dx + dy * dy
    best, best_square = -1, -1.0
    for place in range(start + 1, end):
        v = first + place % num
        x, y = corner_V2[v, 0] - ax, corner_V2[v, 1] - ay
        along = min(max((x * dx + y * dy) / length, 0.0), 1.0) if length > 0 else 0.0
        square = (x - along * dx) ** 2 + (y - along * dy) ** 2
        if square > best_square or (square == best_square and comes_before(corner_V2, v, first + best % num)):
            best, best_square = place, square
    return best, best_square


@kernel
def thin_arc(
    corner_V2: NDArray[np.int32],
    first: int,
    num: int,
    start: int,
    end: int,
    tolerance: float,
    pinned: NDArray[np.uint8],
    keep_V: NDArray[np.bool_],
) -> None:
    """Keep the ends of an arc and what Douglas and Peucker keep between them; all of it where it is pinned."""
    keep_V[first + start % num] = keep_V[first + end % num] = True
    if end - start < 2:
        return
    inner = first + (start + 1) % num
    if pinned[corner_V2[inner, 1], corner_V2[inner, 0]]:
        for place in range(start + 1, end):
            keep_V[first + place % num] = True
        return
    stack = np.empty((end - start + 1, 2), np.int64)
    stack[0, 0], stack[0, 1] = start, end
    depth = 1
    while depth > 0:
        depth -= 1
        low, high = stack[depth, 0], stack[depth, 1]
        if high - low < 2:
            continue
        place, square = farthest(corner_V2, first, num, low, high)
        if square > tolerance * tolerance or high - low == num:  # a closed arc: its ends are one vertex
            keep_V[first + place % num] = True
            stack[depth, 0], stack[depth, 1] = low, place
            stack[depth + 1, 0], stack[depth + 1, 1] = place, high
            depth += 2


@kernel
def thin_ring(
    corner_V2: NDArray[np.int32],
    node_V: NDArray[np.bool_],
    first: int,
    end: int,
    tolerance: float,
    pinned: NDArray[np.uint8],
    keep_V: NDArray[np.bool_],
) -> int:
    """Mark what is kept of a ring; how many vertices that is."""
    num = end - first
    start = -1
    for v in range(first, end):
        if node_V[v]:
            start = v - first
            break
    if start < 0:  # no node: any vertex will do that both sides choose
        start = 0
        for v in range(first + 1, end):
            if comes_before(corner_V2, v, first + start):
                start = v - first
    begin = start
    for place in range(start + 1, start + num + 1):
        if node_V[first + place % num] or place == start + num:
            thin_arc(corner_V2, first, num, begin, place, tolerance, pinned, keep_V)
            begin = place
    kept = 0
    for v in range(first, end):
        kept += keep_V[v]
    return kept


@kernel
def thin_rings(
    corner_V2: NDArray[np.int32],
    node_V: NDArray[np.bool_],
    first_M1: NDArray[np.int64],
    tolerance: float,
    pinned: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Which vertices are kept (V,).

    A ring of which less than a triangle would be left is kept whole, and so are its arcs in the rings beside it.
    `pinned` is zeros, of a place for each pixel corner."""
    keep_V = np.zeros(node_V.size, np.bool_)
    some_pinned = False
    for m in range(first_M1.size - 1):
        if thin_ring(corner_V2, node_V, first_M1[m], first_M1[m + 1], tolerance, pinned, keep_V) < 3:
            some_pinned = True
    if not some_pinned:
        return keep_V
    for m in range(first_M1.size - 1):
        kept = 0
        for v in range(first_M1[m], first_M1[m + 1]):
            kept += keep_V[v]
        if kept < 3:
            for v in range(first_M1[m], first_M1[m + 1]):
                pinned[corner_V2[v, 1], corner_V2[v, 0]] = 1
    # A node of a pinned ring lies on arcs of others: a node pins none of them.
    for v in range(node_V.size):
        if node_V[v]:
            pinned[corner_V2[v, 1], corner_V2[v, 0]] = 0
    keep_V[:] = False
    for m in range(first_M1.size - 1):
        thin_ring(corner_V2, node_V, first_M1[m], first_M1[m + 1], tolerance, pinned, keep_V)
    return keep_V


def warm() -> None:
    corner_V2 = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.int32)
    thin_rings(corner_V2, np.zeros(4, np.bool_), np.array([0, 4]), 1.0, np.zeros((2, 2), np.uint8))
