"""COCO's annotations.json as label maps: what it says of an image, checked and painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_mask_storage.domain import coco


def paint(
    annotations: Sequence[Mapping[str, Any]], height: int, width: int, category_to_id: Mapping[int, int]
) -> NDArray[np.uint16]:
    """The label map (H, W) of one image; a later annotation lies over an earlier one, the rest is 0.

    Raises ValueError that names the annotation and what is wrong with it.
    """
    labels_HW = np.zeros((height, width), dtype=np.uint16)
    for annotation in annotations:
        where = f"annotation {annotation.get('id')!r}"
        category = annotation.get("category_id")
        if not isinstance(category, int) or category not in category_to_id:
            raise ValueError(f"{where}: category {category!r} is no class of the project")
        try:
            mask_HW = _mask_of(annotation.get("segmentation"), height, width)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{where}: {error}") from error
        labels_HW[mask_HW] = category_to_id[category]
    return labels_HW


def _mask_of(segmentation: object, height: int, width: int) -> NDArray[np.bool_]:
    if isinstance(segmentation, Mapping):
        if list(segmentation.get("size", [])) != [height, width]:
            raise ValueError(f"its size is {segmentation.get('size')}, the image's is {[height, width]}")
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            return coco.mask_of(coco.from_text(counts), height, width)
        if isinstance(counts, list) and all(isinstance(run, int) for run in counts):
            return coco.mask_of(counts, height, width)
        raise ValueError("'counts' is neither text nor a list of whole numbers")
    if isinstance(segmentation, list):
        return _polygons(segmentation, height, width)
    raise ValueError("'segmentation' is neither run lengths nor polygons")


def _polygons(polygons: Sequence[object], height: int, width: int) -> NDArray[np.bool_]:
    """The union of polygons [x0, y0, x1, y1, ...]; a pixel is inside when its centre is (Pillow's scan fill)."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon is a list of three or more x, y pairs")
        points = np.asarray(polygon, dtype=np.float64)
        if not np.isfinite(points).all() or np.abs(points).max() > 2**24:
            raise ValueError("a polygon's coordinates are not finite")
        # COCO counts from the pixel's corner, Pillow from its centre.
        draw.polygon([(x - 0.5, y - 0.5) for x, y in points.reshape(-1, 2).tolist()], fill=1)
    return np.asarray(canvas, dtype=np.bool_)
