"""COCO's annotations.json with polygons: one annotation for each connected region of a class.

Laid out as `coco`. COCO's polygons know no holes: a region with holes is one ring that walks to each hole and back
(see `keyhole`), which pycocotools and every other filler of polygons gives back to the pixel. Vertices are pixel
corners. It is read as `coco` is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from terrazzo_masks.formats import coco
from terrazzo_masks.formats.exchange import Abilities, Dataset, Format, Member, Report
from terrazzo_masks.formats.keyhole import keyholed
from terrazzo_masks.geometry import Ring, polygons
from terrazzo_masks.labels import LabelMap

ABILITIES = Abilities(hierarchy=True)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    return coco.write_annotated(dataset, report, annotations_of)


def annotations_of(labels_HW: LabelMap, image_id: int) -> Iterator[dict[str, Any]]:
    """One annotation for each 4-connected region of a label map (H, W)."""
    for polygon in polygons(labels_HW):
        columns, rows = zip(*polygon.exterior, strict=True)
        left, top = min(columns), min(rows)
        # Exterior and holes run in opposite directions: the sum of their signed areas is the region's.
        area = sum(_signed_area(ring) for ring in (polygon.exterior, *polygon.holes))
        yield {
            "image_id": image_id,
            "category_id": polygon.class_id,
            "iscrowd": 0,
            "area": round(abs(area)),
            "bbox": [left, top, max(columns) - left, max(rows) - top],
            "segmentation": [keyholed(polygon).ravel().tolist()],
        }


def _signed_area(ring: Ring) -> float:
    """The ring's area in pixels, positive in one direction, negative in the other."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, (*ring[1:], ring[0]), strict=True)) / 2


FORMAT = Format("coco-polygons", "COCO with polygons", ABILITIES, write, coco.read)
