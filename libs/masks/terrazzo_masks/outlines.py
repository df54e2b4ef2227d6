"""Label maps as polygons and back, pixel for pixel.

Vertices are pixel corners, (x, y) with x to the right and y down: pixel (row r, column c) is the square between
(c, r) and (c + 1, r + 1). Each polygon is one 4-connected region of one class; unlabelled pixels are gaps. Exteriors
run clockwise as seen on the screen, holes counter-clockwise, straight runs are one edge. Rings are simple; two may touch
in a vertex.
"""

from collections.abc import Iterable, Sequence
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
    for edges in _loops(owner, x, y, direction, labels_HW.shape[1]):
        turns = edges[direction[edges] != direction[np.roll(edges, 1)]]
        ring = tuple(zip(x[turns].tolist(), y[turns].tolist(), strict=True))
        if _signed_area(x[turns], y[turns]) > 0:
            exteriors[int(owner[edges[0]])] = ring
        else:
            inner.setdefault(int(owner[edges[0]]), []).append(ring)
    order = sorted(exteriors, key=lambda n: min((py, px) for px, py in exteriors[n]))
    return [Polygon(int(class_N[n]), exteriors[n], tuple(sorted(inner.get(n, ())))) for n in order]


def rasterize(
    polygons: Iterable[Polygon], height: int, width: int, dtype: type[np.uint8] | type[np.uint16] | np.dtype[np.uint8 | np.uint16] = np.uint16
) -> LabelMap:
    """Paint polygons, in order, into an unlabelled map (height, width).

    A pixel belongs to a polygon when its centre does, by the even-odd rule over exterior and holes; vertices may be
    fractional and may lie outside the image. Raises UnsupportedMask when a class id does not fit `dtype`, a ring has
    fewer than 3 vertices or a vertex is not finite.
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
    """Unit edges around each region, the region on their right: (owner, start x, start y, direction), each (E,)."""
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


def _loops(
    owner: NDArray[np.int64],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    direction: NDArray[np.int64],
    width: int,
) -> list[NDArray[np.int64]]:
    """Edge indices of each closed loop in walking order.

    Where a region touches itself in a corner the walk turns left, away from the region: its outline then is one simple
    exterior with holes that may touch it, rather than a ring that crosses its own vertex.
    """
    span = np.int64(width + 1)
    corners = span * (int(y.max()) + 1) if y.size else np.int64(1)
    key = ((owner * corners + y * span + x) << 2) | direction
    order = np.argsort(key)
    sorted_key = key[order]
    end_x = x + np.array([1, 0, -1, 0])[direction]
    end_y = y + np.array([0, 1, 0, -1])[direction]
    end_key = (owner * corners + end_y * span + end_x) << 2
    following = np.full(key.size, -1, dtype=np.int64)
    for turn in (3, 0, 1):  # left, straight on, right
        wanted = end_key | (direction + turn) % 4
        place = np.minimum(np.searchsorted(sorted_key, wanted), key.size - 1)
        found = (sorted_key[place] == wanted) & (following < 0) if key.size else following < 0
        following[found] = order[place[found]]
    loops = []
    next_edge = following.tolist()
    seen = bytearray(key.size)
    for start in range(key.size):
        if seen[start]:
            continue
        loop = []
        edge = start
        while not seen[edge]:
            seen[edge] = 1
            loop.append(edge)
            edge = next_edge[edge]
        loops.append(np.array(loop))
    return loops


def _signed_area(x: NDArray[np.int64], y: NDArray[np.int64]) -> int:
    """Twice the ring's area; positive when it runs clockwise on the screen (y down)."""
    return int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _paint(labels_HW: LabelMap, class_id: int, rings: Sequence[Ring]) -> None:
    """Scan-line fill: toggle at the first pixel centre right of each crossing, then sum along the row."""
    height, width = labels_HW.shape
    rows, cols = [], []
    for ring in rings:
        points = np.asarray(ring, dtype=np.float64).reshape(-1, 2)
        if len(points) < 3 or not np.isfinite(points).all():
            raise UnsupportedMask(f"a ring has 3 or more finite vertices, not {ring[:4]}")
        x0, y0 = points.T
        x1, y1 = np.roll(points, -1, axis=0).T
        first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
        last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
        num = last - first
        edge = np.repeat(np.arange(len(points)), num)
        row = np.arange(edge.size) - np.repeat(np.cumsum(num) - num, num) + np.repeat(first, num)
        slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        crossing = x0[edge] + (row + 0.5 - y0[edge]) * slope
        rows.append(row)
        cols.append(np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64))
    row, col = np.concatenate(rows), np.concatenate(cols)
    if row.size == 0:
        return
    top, left = int(row.min()), int(col.min())
    toggles = np.zeros((int(row.max()) - top + 1, int(col.max()) - left + 1), dtype=np.uint8)
    np.add.at(toggles, (row - top, col - left), 1)
    inside = (np.add.accumulate(toggles, axis=1) & 1).astype(np.bool_)[:, : width - left]
    labels_HW[top : top + inside.shape[0], left : left + inside.shape[1]][inside] = class_id
