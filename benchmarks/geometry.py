"""Label map to polygons and back, against rasterio (GDAL): `features.shapes` and `features.rasterize`.

Both give back every pixel; that is checked before anything is timed. Regions, against OpenCV's per class.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Figure, faster, medians
from benchmarks.material import corrected, folder, many_classes, scenes
from terrazzo_masks.labels import LabelMap

# A region of class 0 is a gap for us and a shape for rasterio: maps without it are the same work for both.
NUM_CLASSES = 18


def run(bench: Bench) -> list[Figure]:
    height, width = (256, 512) if bench.quick else (1024, 2048)
    maps: dict[str, LabelMap] = {
        f"generated {width}x{height}": scenes(1, height, width)[0],
        f"generated {width}x{height}, {NUM_CLASSES} classes, ragged": corrected(
            many_classes(height, width, NUM_CLASSES), seed=1
        ),
    }
    if bench.data is not None and (bench.data / "nuclei" / "class_masks").is_dir():
        masks = folder(bench.data / "nuclei" / "class_masks")
        maps["nuclei"] = max(masks.values(), key=lambda labels_HW: labels_HW.size) + np.uint8(1)
    figures: list[Figure] = []
    for name, labels_HW in maps.items():
        bench.say(f"geometry: {name}")
        figures += _polygons(name, labels_HW)
    figures.append(_components(f"generated {width}x{height}", next(iter(maps.values()))))
    return figures


def _polygons(name: str, labels_HW: LabelMap) -> list[Figure]:
    from rasterio import features

    from terrazzo_masks.geometry import Polygon, polygons, rasterize

    (height, width), dtype = labels_HW.shape, labels_HW.dtype
    ours, peers = polygons(labels_HW), list(features.shapes(labels_HW))

    def paint_peers(shapes: list[Any]) -> LabelMap:
        painted: LabelMap = features.rasterize(shapes, out_shape=(height, width), dtype=dtype)
        return painted

    if len(ours) != len(peers) or not (rasterize(ours, height, width, dtype) == labels_HW).all():
        raise AssertionError(f"{name}: polygons do not draw the map again")
    if not (paint_peers(peers) == labels_HW).all():
        raise AssertionError(f"{name}: rasterio's shapes do not draw the map again")
    # As a user has them who drew them, or read them from a file.
    plain = [Polygon(p.class_id, tuple(p.exterior), tuple(map(tuple, p.holes))) for p in ours]
    if not (rasterize(plain, height, width, dtype) == labels_HW).all():
        raise AssertionError(f"{name}: polygons of plain tuples do not draw the map again")
    there_s, peer_there_s, back_s, peer_back_s, plain_s, both_s, peer_both_s = medians(
        partial(polygons, labels_HW),
        lambda: list(features.shapes(labels_HW)),
        partial(rasterize, ours, height, width, dtype),
        partial(paint_peers, peers),
        partial(rasterize, plain, height, width, dtype),
        lambda: rasterize(polygons(labels_HW), height, width, dtype),
        lambda: paint_peers(list(features.shapes(labels_HW))),
        repeats=9,
    )
    note = f"{len(ours)} polygons"
    return [
        faster("geometry", f"round trip, {name}", both_s, peer_both_s, "rasterio", 5.0, note),
        faster("geometry", f"polygons, {name}", there_s, peer_there_s, "rasterio.features.shapes", 5.0, note),
        faster("geometry", f"rasterize, {name}", back_s, peer_back_s, "rasterio.features.rasterize", 5.0, note),
        faster(
            "geometry",
            f"rasterize, plain tuples, {name}",
            plain_s,
            peer_back_s,
            "rasterio.features.rasterize",
            5.0,
            note,
        ),
    ]


def _components(name: str, labels_HW: LabelMap) -> Figure:
    """No figure of the issue: every class at once against a call per class; the target is not to be slower."""
    import cv2

    from terrazzo_masks.geometry import components

    class_ids = [int(class_id) for class_id in np.unique(labels_HW) if class_id]

    def per_class() -> int:
        found = 0
        for class_id in class_ids:
            found += cv2.connectedComponentsWithStats((labels_HW == class_id).astype(np.uint8))[0] - 1
        return found

    if per_class() != len(components(labels_HW)):
        raise AssertionError(f"{name}: OpenCV finds other regions")
    ours_s, peer_s = medians(partial(components, labels_HW), per_class)
    return faster("geometry", f"components, {name}", ours_s, peer_s, "OpenCV per class", 1.0)
