"""Label maps as polygons and back, pixel for pixel.

Vertices are pixel corners, (x, y) with x to the right and y down: pixel (row r, column c) is the square between
(c, r) and (c + 1, r + 1). Each polygon is one 4-connected region of one class; unlabelled pixels are gaps.
Exteriors run clockwise as seen on the screen, holes counter-clockwise, straight runs are one edge. Rings are
simple; two may touch in a vertex.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import UNLABELLED, BoolMap, LabelMap, require_labels, require_mask
from terrazzo_masks.regions import label_components

Ring = tuple[tuple[float, float], ...]
EAST, SOUTH, WEST, NORTH = range(4)


@dataclass(frozen=True)
class Polygon:
    """One region: rings of (x, y) corner coordinates in pixels, not repeating the first vertex at the end."""

    class_id: int
    exterior: Ring
    holes: tuple[Ring, ...] = ()


def polygons(labels_HW: LabelMap) -> list[Polygon]:
    """Every labelled region as a polygon with whole-number vertices, from top to bottom by first pixel.

    `rasterize(polygons(m), *m.shape, m.dtype)` is `m`. Raises UnsupportedMask when `labels_HW` is not a label map.
    """
    require_labels(labels_HW)
    component_HW, class_N = label_components(labels_HW, connectivity=4)
    owner, x, y, direction = _crack_edges(np.where(labels_HW == UNLABELLED, -1, component_HW))
    exteriors: dict[int, Ring] = {}
    inner: dict[int, list[Ring]] = {}
    following = _following_edges(owner, x, y, direction)
    for region, ring in _rings(owner, x, y, direction, following):
        if _signed_area(ring) > 0:
            exteriors[region] = ring
        else:
            inner.setdefault(region, []).append(ring)
    order = sorted(exteriors, key=lambda n: min((py, px) for px, py in exteriors[n]))
    return [Polygon(int(class_N[n]), exteriors[n], tuple(sorted(inner.get(n, ())))) for n in order]


def rasterize(
    polygons: Iterable[Polygon],
    height: int,
    width: int,
    dtype: type[np.uint8] | type[np.uint16] | np.dtype[np.uint8 | np.uint16] = np.uint16,
) -> LabelMap:
    """Paint polygons, in order, into an unlabelled map (height, width).

    A pixel belongs to a polygon when its centre does, by the even-odd rule over exterior and holes; vertices may
    be fractional and may lie outside the image. Raises UnsupportedMask when a class id does not fit `dtype`, a
    ring has fewer than 3 vertices or a vertex is not finite.
    """
    labels_HW: LabelMap = require_labels(np.zeros((height, width), dtype=dtype))
    for polygon in polygons:
        if not 0 <= polygon.class_id <= np.iinfo(labels_HW.dtype).max:
            raise UnsupportedMask(f"class id {polygon.class_id} does not fit {labels_HW.dtype}")
        _paint(labels_HW, polygon.class_id, (polygon.exterior, *polygon.holes))
    return labels_HW


def simplify_vertices(mask_HW: BoolMap, tolerance_px: float) -> int:
    """Vertices that an annotator would click to outline the True pixels within `tolerance_px`.

    Sums the vertices of every outline, holes included, simplified by Douglas and Peucker (1973); at least 3 each.
    """
    import cv2

    require_mask(mask_HW)
    contours, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return sum(max(3, len(cv2.approxPolyDP(contour, tolerance_px, closed=True))) for contour in contours)


def _crack_edges(
    component_HW: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Unit edges around each region, which lies on their right: (owner, start x, start y, direction)."""
    framed = np.pad(component_HW, 1, constant_values=-1)
    above, below = framed[:-1, 1:-1], framed[1:, 1:-1]
    left, right = framed[1:-1, :-1], framed[1:-1, 1:]
    parts = []
    # (who owns the edge, who lies across it, direction, offset of the edge's start from the crack's first corner)
    for owner_HW, across_HW, direction, dx, dy in (
        (below, above, EAST, 0, 0),
        (above, below, WEST, 1, 0),
        (right, left, NORTH, 0, 1),
        (left, right, SOUTH, 0, 0),
    ):
        row, col = np.nonzero((owner_HW != across_HW) & (owner_HW >= 0))
        owner = owner_HW[row, col].astype(np.int64)
        parts.append((owner, col + dx, row + dy, np.full(row.size, direction)))
    owner, x, y, direction_E = (np.concatenate(column) for column in zip(*parts, strict=True))
    return owner, x, y, direction_E


def _following_edges(
    owner: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64], direction: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Index of the edge that follows each edge around its region, (E,).

    Where a region touches itself in a corner the walk turns left, away from the region: its outline then is one
    simple exterior with holes that may touch it, rather than a ring that passes its own vertex twice.
    """
    if owner.size == 0:
        return owner
    span = int(x.max()) + 1
    corners = span * (int(y.max()) + 1)
    key = (owner * corners + y * span + x) << 2 | direction
    order = np.argsort(key)
    sorted_key = key[order]
    end_x = x + np.array([1, 0, -1, 0])[direction]
    end_y = y + np.array([0, 1, 0, -1])[direction]
    end_key = (owner * corners + end_y * span + end_x) << 2
    following = np.full(key.size, -1, dtype=np.int64)
    for turn in (3, 0, 1):  # left, straight on, right
        wanted = end_key | (direction + turn) % 4
        place = np.minimum(np.searchsorted(sorted_key, wanted), key.size - 1)
        found = (sorted_key[place] == wanted) & (following < 0)
        following[found] = order[place[found]]
    return following


def _rings(
    owner: NDArray[np.int64],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    direction: NDArray[np.int64],
    following: NDArray[np.int64],
) -> Iterator[tuple[int, Ring]]:
    """(region, its ring of turning points) for each closed walk along the edges."""
    turns_after = (direction[following] != direction).tolist()
    next_edge, owners = following.tolist(), owner.tolist()
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    seen = bytearray(len(next_edge))
    for start in range(len(next_edge)):
        if seen[start]:
            continue
        ring = []
        edge = start
        while not seen[edge]:
            seen[edge] = 1
            after = next_edge[edge]
            if turns_after[edge]:
                ring.append(corners[after])
            edge = after
        # The walk ended where it began: its last turn is the ring's first.
        yield owners[start], (ring[-1], *ring[:-1])


def _signed_area(ring: Ring) -> float:
    """Twice the ring's area; positive when it runs clockwise on the screen (y down)."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True))


def _paint(labels_HW: LabelMap, class_id: int, rings: Sequence[Ring]) -> None:
    """Scan-line fill: toggle at the first pixel centre right of each crossing, then sum along the row."""
    row, col = _crossings(rings, *labels_HW.shape)
    if row.size == 0:
        return
    top, left = int(row.min()), int(col.min())
    height, width = int(row.max()) - top + 1, int(col.max()) - left
    toggles = np.bincount((row - top) * (width + 1) + col - left, minlength=height * (width + 1))
    inside = np.add.accumulate(toggles.reshape(height, width + 1), axis=1)[:, :width] & 1
    labels_HW[top : top + height, left : left + width][inside.astype(np.bool_)] = class_id


def _crossings(rings: Sequence[Ring], height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where edges cross rows of pixel centres: (row, first column whose centre is right of the crossing)."""
    starts: list[tuple[float, float]] = []
    ends: list[tuple[float, float]] = []
    for ring in rings:
        if len(ring) < 3:
            raise UnsupportedMask(f"a ring has 3 or more vertices, not {len(ring)}: {ring}")
        starts += ring
        ends += [*ring[1:], ring[0]]
    x0, y0 = np.array(starts, dtype=np.float64).T
    x1, y1 = np.array(ends, dtype=np.float64).T
    if not (np.isfinite(x0).all() and np.isfinite(y0).all()):
        raise UnsupportedMask("a ring has a vertex that is not a finite number")
    first = np.ceil(np.clip(np.minimum(y0, y1), 0, height) - 0.5).astype(np.int64)
    last = np.ceil(np.clip(np.maximum(y0, y1), 0, height) - 0.5).astype(np.int64)
    num = last - first
    edge = np.repeat(np.arange(num.size), num)
    row = np.arange(edge.size) - (np.cumsum(num) - num - first)[edge]
    slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * slope
    return row, np.ceil(np.clip(crossing, 0, width) - 0.5).astype(np.int64)
