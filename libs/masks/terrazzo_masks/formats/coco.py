"""COCO's annotations.json (cocodataset.org/#format-data): one annotation per class of a picture, as run lengths.

    classes.json   images/<stem>.<ext>   annotations.json

Run lengths, not polygons: COCO's polygons know no holes. Image ids count from 1 in the dataset's order. An import
takes run lengths, compressed or not, and polygons; a later annotation lies over an earlier one, which is reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.formats import rle
from terrazzo_masks.formats.exchange import (
    Abilities,
    ClassTable,
    Dataset,
    Format,
    FormatError,
    Found,
    Limits,
    Member,
    Report,
    Sample,
    Source,
    classes_member,
    lost_layers,
    named,
    read_json,
    readable,
)
from terrazzo_masks.formats.index import IMAGES, picture_member
from terrazzo_masks.geometry import Polygon, rasterize
from terrazzo_masks.labels import BoolMap, LabelMap

ANNOTATIONS = "annotations.json"
ABILITIES = Abilities(hierarchy=True)
Annotate = Callable[[LabelMap, int], Iterator[dict[str, Any]]]


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    """One annotation for each class of a picture, as run lengths."""
    return write_annotated(dataset, report, annotations_of)


def write_annotated(dataset: Dataset, report: Report, annotate: Annotate) -> Iterator[Member]:
    """Pictures first, then annotations.json bit by bit; `annotate` makes a label map's annotations."""
    yield classes_member(dataset)
    for sample in dataset.samples():
        yield from picture_member(sample, IMAGES)
    yield Member(ANNOTATIONS, _document(dataset, report, annotate))


def _image_of(sample: Sample, number: int) -> dict[str, Any]:
    name = f"{sample.stem}.{sample.image.extension}" if sample.image else f"{sample.stem}.png"
    size = {"height": sample.height, "width": sample.width}
    return {"id": number, "file_name": name, **size, "sample_id": sample.sample_id}


def categories_of(dataset: Dataset) -> list[dict[str, Any]]:
    names = dataset.classes.names()
    return [
        {
            "id": one.id,
            "name": one.name,
            "supercategory": names.get(one.parent_id or 0, one.name),
            "color": list(one.rgb),
        }
        for one in dataset.classes
    ]


def _document(dataset: Dataset, report: Report, annotate: Annotate) -> Iterator[bytes]:
    head = {"info": {"description": dataset.name, "version": dataset.version}, "licenses": []}
    start = json.dumps({**head, "categories": categories_of(dataset)}, ensure_ascii=False)
    yield start[:-1].encode() + b', "images": ['
    for number, sample in enumerate(dataset.samples(), start=1):
        comma = ", " if number > 1 else ""
        yield (comma + json.dumps(_image_of(sample, number), ensure_ascii=False)).encode()
    yield b'], "annotations": ['
    num_annotations = 0
    for number, sample in enumerate(dataset.samples(), start=1):
        lines = []
        labels_HW = readable(sample, report)
        if labels_HW is None:
            continue  # its picture is there, without annotations
        for annotation in annotate(labels_HW, number):
            num_annotations += 1
            comma = ",\n" if num_annotations > 1 else "\n"
            lines.append(comma + json.dumps({"id": num_annotations, **annotation}))
        lost_layers(sample, report, ABILITIES)
        report.done()
        yield "".join(lines).encode()
    yield b"]}"


def annotations_of(labels_HW: LabelMap, image_id: int) -> Iterator[dict[str, Any]]:
    """One annotation for each class of a label map, by class id."""
    size = list(labels_HW.shape)
    for coded in rle.encode(labels_HW):
        yield {
            "image_id": image_id,
            "category_id": coded.class_id,
            "iscrowd": 0,
            "area": coded.area,
            "bbox": list(coded.bbox),
            "segmentation": {"size": size, "counts": coded.counts},
        }


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pictures that annotations.json names, in its order. Raises FormatError."""
    where = named(source, ANNOTATIONS)
    document = read_json(source, where) if where is not None else None
    if not isinstance(document, Mapping) or not isinstance(document.get("images"), list):
        raise FormatError(f"the archive has no {ANNOTATIONS} with a list 'images'")
    to_id = _categories(document.get("categories"), classes)
    of_image: dict[object, list[Mapping[str, Any]]] = {}
    for annotation in document.get("annotations") or []:
        if isinstance(annotation, Mapping) and isinstance(annotation.get("image_id"), int | str):
            of_image.setdefault(annotation["image_id"], []).append(annotation)
        else:
            report.refused(f"{where}", f"annotation {str(annotation)[:80]!r} names no image")
    files = {name.rsplit("/", 1)[-1]: name for name in source.names()}
    for entry in document["images"]:
        name = entry.get("file_name") if isinstance(entry, Mapping) else None
        file = files.get(name.rsplit("/", 1)[-1]) if isinstance(name, str) else None
        if file is None or not isinstance(entry.get("id"), int | str):
            report.refused(str(name), f"{ANNOTATIONS} names it; the archive does not have it")
            continue
        mine = of_image.get(entry["id"])
        place = f"{file} (annotations)"
        yield Found(
            name=str(name).rsplit("/", 1)[-1],
            image=partial(source.read, file, limits.max_bytes),
            image_file=file,
            labels=None if mine is None else partial(_painted, mine, to_id, place, report),
            labels_file=place,
        )


def _categories(listed: object, classes: ClassTable) -> dict[int, int]:
    return classes.matched(
        (entry["id"], str(entry.get("name")))
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), int)
    )


def _painted(
    annotations: Sequence[Mapping[str, Any]],
    to_id: Mapping[int, int],
    place: str,
    report: Report,
    height: int,
    width: int,
) -> LabelMap:
    """The label map (H, W) of one picture. Raises UnsupportedMask that names the annotation."""
    canvas_HW = rle.canvas(height, width)
    for annotation in annotations:
        where = f"annotation {annotation.get('id')!r}"
        category = annotation.get("category_id")
        if not isinstance(category, int) or category not in to_id:
            raise UnsupportedMask(f"{where}: category {category!r} is no class of the project")
        try:
            num_covered = _paint(canvas_HW, annotation.get("segmentation"), to_id[category])
        except (ValueError, TypeError, OverflowError) as error:
            raise UnsupportedMask(f"{where}: {error}") from error
        if num_covered:
            report.lost(place, f"{where} lies over {num_covered} pixels of earlier ones: the later class counts")
    return np.ascontiguousarray(canvas_HW)


def _paint(canvas_HW: LabelMap, segmentation: object, class_id: int) -> int:
    height, width = canvas_HW.shape
    if isinstance(segmentation, Mapping):
        if segmentation.get("size") != [height, width]:
            raise CorruptMask(f"its size is {segmentation.get('size')}, the image's is {[height, width]}")
        counts = segmentation.get("counts")
        if not isinstance(counts, str | list):
            raise CorruptMask("'counts' is neither text nor a list of whole numbers")
        return rle.paint(canvas_HW, counts, class_id)
    if isinstance(segmentation, list):
        mask_HW = _polygons(segmentation, height, width)
        num_covered = int(np.count_nonzero(canvas_HW[mask_HW] != 0))
        canvas_HW[mask_HW] = class_id
        return num_covered
    raise CorruptMask("'segmentation' is neither run lengths nor polygons")


def _polygons(polygons: Sequence[object], height: int, width: int) -> BoolMap:
    """The union of polygons [x0, y0, x1, y1, ...]; a pixel is inside when its centre is."""
    inside_HW: BoolMap = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise CorruptMask("a polygon is a list of three or more x, y pairs")
        points = np.asarray(polygon, dtype=np.float64)
        if not np.isfinite(points).all() or np.abs(points).max() > 2**24:
            raise CorruptMask("a polygon's coordinates are not finite")
        ring = tuple((x, y) for x, y in points.reshape(-1, 2).tolist())
        inside_HW |= rasterize([Polygon(1, ring)], height, width, np.uint8) == 1
    return inside_HW


FORMAT = Format("coco", "COCO", ABILITIES, write, read)
