"""COCO panoptic (cocodataset.org/#format-data, "Panoptic Segmentation"): a PNG of segment ids beside each picture.

    annotations/panoptic_<split>.json   annotations/panoptic_<split>/<stem>.png   images/<split>/<stem>.<ext>

A segment's id is R + 256 G + 65536 B of its pixels; 0 is unlabelled. Label maps know classes, not instances: each
class of a picture is one segment, whose id is the class id. An import takes any segments and keeps their classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.formats import rle
from terrazzo_masks.formats.coco import categories_of
from terrazzo_masks.formats.colors import read_rgb
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
    Split,
    classes_member,
    expressible,
    read_json,
)
from terrazzo_masks.formats.index import IMAGES, picture_member
from terrazzo_masks.formats.label_files import rgb_png
from terrazzo_masks.labels import LabelMap, dtype_for

ANNOTATIONS, PREFIX = "annotations", "panoptic_"
SPLITS: tuple[Split, ...] = ("train", "val")
ABILITIES = Abilities(hierarchy=True)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    """Pictures and their segments first, then the JSON of each subset."""
    yield classes_member(dataset)
    # As text: a sample takes some hundred bytes until the JSON is written.
    rows: dict[Split, tuple[list[bytes], list[bytes]]] = {}
    for number, sample in enumerate(dataset.samples(), start=1):
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        yield from picture_member(sample, f"{IMAGES}/{sample.split}")
        yield Member(f"{ANNOTATIONS}/{PREFIX}{sample.split}/{sample.stem}.png", _segments_png(labels_HW))
        images, annotations = rows.setdefault(sample.split, ([], []))
        images.append(_text(_image(number, sample)))
        annotations.append(_text(_annotation(number, sample, labels_HW)))
        report.done()
    head = {"info": {"description": dataset.name, "version": dataset.version}, "licenses": []}
    categories = [{**category, "isthing": 0} for category in categories_of(dataset)]
    for split in SPLITS:
        if split in rows or (not rows and split == "train"):
            start = _text({**head, "categories": categories})
            document = _document(start, *rows.get(split, ([], [])))
            yield Member(f"{ANNOTATIONS}/{PREFIX}{split}.json", document)


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _document(start: bytes, images: list[bytes], annotations: list[bytes]) -> Iterator[bytes]:
    yield start[:-1]
    for name, rows in ((b"images", images), (b"annotations", annotations)):
        yield b', "' + name + b'": ['
        for number, row in enumerate(rows):
            yield (b",\n" if number else b"\n") + row
        yield b"]"
    yield b"}"


def _image(number: int, sample: Sample) -> dict[str, Any]:
    name = f"{sample.stem}.{sample.image.extension}" if sample.image else f"{sample.stem}.png"
    size = {"height": sample.height, "width": sample.width}
    return {"id": number, "file_name": name, **size, "sample_id": sample.sample_id}


def _annotation(number: int, sample: Sample, labels_HW: LabelMap) -> dict[str, Any]:
    segments = [
        {
            "id": coded.class_id,
            "category_id": coded.class_id,
            "area": coded.area,
            "bbox": list(coded.bbox),
            "iscrowd": 0,
        }
        for coded in rle.encode(labels_HW)
    ]
    return {"image_id": number, "file_name": f"{sample.stem}.png", "segments_info": segments}


def _segments_png(labels_HW: LabelMap) -> bytes:
    """An RGB PNG of the class ids as segment ids."""
    colors_HWC = np.zeros((*labels_HW.shape, 3), np.uint8)
    colors_HWC[..., 0] = labels_HW & 255
    if labels_HW.dtype != np.uint8:
        colors_HWC[..., 1] = labels_HW >> 8
    return rgb_png(colors_HWC)


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pictures of each panoptic_<subset>.json, in their order. Raises FormatError."""
    documents = [
        name
        for name in sorted(source.names())
        if name.endswith(".json") and PurePosixPath(name).name.startswith(PREFIX)
    ]
    if not documents:
        raise FormatError(f"the archive has no {ANNOTATIONS}/{PREFIX}<subset>.json")
    for where in documents:
        document = read_json(source, where)
        if not isinstance(document, Mapping) or not isinstance(document.get("annotations"), list):
            raise FormatError(f"{where}: it has no list 'annotations'")
        yield from _found(source, where, document, classes, report, limits)


def _found(
    source: Source,
    where: str,
    document: Mapping[str, Any],
    classes: ClassTable,
    report: Report,
    limits: Limits,
) -> Iterator[Found]:
    to_id = classes.matched(
        (entry["id"], str(entry.get("name")))
        for entry in document.get("categories") or []
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), int)
    )
    image_names = {
        entry["id"]: str(entry.get("file_name"))
        for entry in document.get("images") or []
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), int | str)
    }
    folder = PurePosixPath(where).with_suffix("")
    files = {name.rsplit("/", 1)[-1]: name for name in source.names() if IMAGES in PurePosixPath(name).parts}
    for number, annotation in enumerate(document["annotations"]):
        place = f"{where} annotation {number}"
        image_id = annotation.get("image_id") if isinstance(annotation, Mapping) else None
        name = image_names.get(image_id) if isinstance(image_id, int | str) else None
        if name is None:
            report.refused(place, f"its image_id {str(image_id)[:40]} is no image of the file")
            continue
        short = name.rsplit("/", 1)[-1]
        file = files.get(short)
        png = str(folder / str(annotation.get("file_name")))
        yield Found(
            name=short,
            image=None if file is None else partial(source.read, file, limits.max_bytes),
            image_file=file or "",
            labels=partial(_labels, source, png, annotation, to_id, limits),
            labels_file=png,
        )


def _labels(
    source: Source,
    png: str,
    annotation: Mapping[str, Any],
    to_id: Mapping[int, int],
    limits: Limits,
    height: int,
    width: int,
) -> LabelMap:
    """The label map (H, W) of one picture. Raises MaskError that names the segment."""
    if png not in source.names():
        raise CorruptMask("the archive does not have it")
    class_of = {0: 0}
    for segment in annotation.get("segments_info") or []:
        number = segment.get("id") if isinstance(segment, Mapping) else None
        if not isinstance(number, int):
            raise CorruptMask(f"a segment of segments_info has no id: {str(segment)[:60]}")
        category = segment.get("category_id")
        if category not in to_id:
            raise UnsupportedMask(f"segment {number}: category {str(category)[:40]} is no class of the project")
        class_of[number] = to_id[category]
    segment_HW = _segment_ids(source.read(png, limits.max_bytes), height, width)
    numbers, place_N = np.unique(segment_HW, return_inverse=True)
    for at, number in enumerate(numbers.tolist()):
        if number not in class_of:
            y, x = np.unravel_index(int(np.argmax(place_N.ravel() == at)), segment_HW.shape)
            raise UnsupportedMask(f"segment {number} (first at row {y}, column {x}) is not in segments_info")
    ids = [class_of[number] for number in numbers.tolist()]
    labels_HW: LabelMap = np.array(ids, dtype=dtype_for(max(ids)))[place_N].reshape(height, width)
    return labels_HW


def _segment_ids(data: bytes, height: int, width: int) -> NDArray[np.int32]:
    """int32 (H, W): R + 256 G + 65536 B of a PNG. Raises CorruptMask, UnsupportedMask."""
    colors_HWC = read_rgb(data, max_pixels=height * width)
    if colors_HWC.shape[:2] != (height, width):
        size = f"{colors_HWC.shape[0]} x {colors_HWC.shape[1]}"
        raise CorruptMask(f"its size is {size}, the picture's {height} x {width}")
    channels = colors_HWC.astype(np.int32)
    ids_HW: NDArray[np.int32] = channels[..., 0] | channels[..., 1] << 8 | channels[..., 2] << 16
    return ids_HW


FORMAT = Format("coco-panoptic", "COCO panoptic", ABILITIES, write, read)
