"""Label maps as polygons and back, pixel for pixel.

Vertices are pixel corners, (x, y) with x to the right and y down: pixel (row r, column c) is the square between
(c, r) and (c + 1, r + 1). Each polygon is one 4-connected region of one class; unlabelled pixels are gaps.
Exteriors run clockwise as seen on the screen, holes counter-clockwise, straight runs are one edge. Rings are
simple; two may touch in a vertex.
"""

from collections.abc import Iterable
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.geometry.regions import find_regions
from terrazzo_masks.geometry.rings import Polygon, Ring, as_arrays, as_polygons
from terrazzo_masks.labels import BoolMap, LabelMap, require_labels, require_mask

__all__ = ["Polygon", "Ring", "polygons", "rasterize", "simplify_vertices"]


def polygons(labels_HW: LabelMap, tolerance_px: float = 0.0) -> list[Polygon]:
    """Every labelled region as a polygon with whole-number vertices, from top to bottom by first pixel.

    With a tolerance of 0 `rasterize(polygons(m), *m.shape, m.dtype)` is `m`. With a larger one outlines are
    simplified by Douglas and Peucker (1973): each ring's Hausdorff distance from the exact one is at most
    `tolerance_px`. Neighbours share the simplified boundary between them, vertex by vertex, so no gap opens; where
    three regions meet and in the image's corners vertices stay. A ring of which less than a triangle would be left
    stays exact. A tolerance of the size of details may let outlines cross.
    Raises UnsupportedMask when `labels_HW` is not a label map or the tolerance is negative or no number.
    """
    from terrazzo_masks.kernels.rings import trace_rings

    if not 0 <= tolerance_px < np.inf:
        raise UnsupportedMask(f"a tolerance is a number of 0 or more, not {tolerance_px}")
    regions = find_regions(labels_HW, connectivity=4)
    height, width = labels_HW.shape
    framed = np.zeros((height + 2, width + 2), np.uint16)
    framed[1:-1, 1:-1] = labels_HW
    corner_V2, node_V, first_M1, region_M = trace_rings(
        framed, regions.row_H1, regions.start_R, regions.region_R, tolerance_px > 0
    )
    if tolerance_px > 0:
        corner_V2, first_M1 = _simplified(corner_V2, node_V, first_M1, float(tolerance_px), (height, width))
    return as_polygons(corner_V2, first_M1, region_M, regions.class_N)


def _simplified(
    corner_V2: NDArray[np.int32],
    node_V: BoolMap,
    first_M1: NDArray[np.int64],
    tolerance_px: float,
    shape: tuple[int, int],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The vertices that are kept, and the first of each ring among them."""
    from terrazzo_masks.kernels.simplify import thin_rings

    pinned = np.zeros((shape[0] + 1, shape[1] + 1), np.uint8)
    keep_V = thin_rings(corner_V2, node_V, first_M1, tolerance_px, pinned)
    kept_before_V1 = np.concatenate([[0], np.cumsum(keep_V)])
    return corner_V2[keep_V], kept_before_V1[first_M1]


def rasterize(
    polygons: Iterable[Polygon],
    height: int,
    width: int,
    dtype: type[np.uint8] | type[np.uint16] | np.dtype[np.uint8 | np.uint16] = np.uint16,
) -> LabelMap:
    """Paint polygons, in order, into an unlabelled map (height, width).

    A pixel belongs to a polygon when its centre does, by the even-odd rule over exterior and holes; a centre on an
    edge belongs to what lies right of the edge. Vertices may be fractional and may lie outside the image. Raises
    UnsupportedMask when a class id does not fit `dtype`, a ring has fewer than 3 vertices or a vertex is not a
    finite number (or beyond 10^12).
    """
    from terrazzo_masks.kernels.rings import paint_polygons

    labels_HW: LabelMap = require_labels(np.zeros((height, width), dtype=dtype))
    listed = list(polygons)
    ids = list(map(attrgetter("class_id"), listed))
    id_max = np.iinfo(labels_HW.dtype).max
    if ids and not 0 <= min(ids) <= max(ids) <= id_max:
        wrong = next(class_id for class_id in ids if not 0 <= class_id <= id_max)
        raise UnsupportedMask(f"class id {wrong} does not fit {labels_HW.dtype}")
    class_P = np.array(ids, labels_HW.dtype)
    paint_polygons(labels_HW, class_P, *as_arrays(listed))
    return labels_HW


def simplify_vertices(mask_HW: BoolMap, tolerance_px: float) -> int:
    """Vertices that an annotator would click to outline the True pixels within `tolerance_px`.

    Sums the vertices of every outline, holes included, simplified by Douglas and Peucker (1973); at least 3 each.
    """
    import cv2

    require_mask(mask_HW)
    contours, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return sum(max(3, len(cv2.approxPolyDP(contour, tolerance_px, closed=True))) for contour in contours)
