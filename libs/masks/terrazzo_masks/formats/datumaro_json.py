"""Datumaro's own format: one JSON of items and annotations for each subset (openvinotoolkit/datumaro).

    annotations/<split>.json   images/<split>/<stem>.<ext>   classes.json

Each class that occurs in a picture is one annotation of type "mask" in COCO's run-length code. Labels are known by
name; `label_id` is a label's place in the file. Parents of the ontology are kept. An import takes masks and
polygons, by z_order; other annotations are reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
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
    Split,
    classes_member,
    expressible,
    read_json,
)
from terrazzo_masks.formats.index import IMAGES, picture_member
from terrazzo_masks.formats.names import by_name, require_distinct_names
from terrazzo_masks.formats.painting import Painting
from terrazzo_masks.labels import LabelMap

ANNOTATIONS = "annotations"
SPLITS: tuple[Split, ...] = ("train", "val")
ABILITIES = Abilities(hierarchy=True)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    """Pictures first, then the JSON of each subset bit by bit."""
    yield classes_member(dataset)
    used = set()
    for sample in dataset.samples():
        used.add(sample.split)
        yield from picture_member(sample, f"{IMAGES}/{sample.split}")
    for split in SPLITS:
        if split in used or (not used and split == "train"):
            yield Member(f"{ANNOTATIONS}/{split}.json", _document(dataset, split, report))


def _document(dataset: Dataset, split: Split, report: Report) -> Iterator[bytes]:
    head = {
        "infos": {"project": dataset.name, "commit": dataset.version},
        "categories": _categories(dataset.classes),
    }
    yield json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "items": ['
    place_of = {class_id: place for place, class_id in enumerate(dataset.classes.ids)}
    first = True
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES) if sample.split == split else None
        if labels_HW is None:
            continue
        item = json.dumps(_item(sample, labels_HW, place_of), ensure_ascii=False)
        yield (b"\n" if first else b",\n") + item.encode()
        first = False
        report.done()
    yield b"\n]}"


def _categories(classes: ClassTable) -> dict[str, Any]:
    names = classes.names()
    labels = [{"name": one.name, "parent": names.get(one.parent_id or 0, ""), "attributes": []} for one in classes]
    colors = [
        {"label_id": place, "r": one.rgb[0], "g": one.rgb[1], "b": one.rgb[2]} for place, one in enumerate(classes)
    ]
    return {"label": {"labels": labels, "attributes": []}, "mask": {"colormap": colors}}


def _item(sample: Sample, labels_HW: LabelMap, place_of: Mapping[int, int]) -> dict[str, Any]:
    name = f"{sample.stem}.{sample.image.extension}" if sample.image else f"{sample.stem}.png"
    size = [sample.height, sample.width]
    annotations = [
        {
            "id": number,
            "type": "mask",
            "attributes": {},
            "group": number,
            "label_id": place_of[coded.class_id],
            "z_order": 0,
            "rle": {"counts": coded.counts, "size": size},
        }
        for number, coded in enumerate(rle.encode(labels_HW), start=1)
    ]
    attributes = {"sample_id": sample.sample_id}
    return {
        "id": sample.stem,
        "annotations": annotations,
        "attr": attributes,
        "image": {"path": name, "size": size},
    }


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pictures of each annotations/<subset>.json, in their order. Raises FormatError."""
    documents = [
        name
        for name in sorted(source.names())
        if name.endswith(".json") and PurePosixPath(name).parent.name == ANNOTATIONS
    ]
    if not documents:
        raise FormatError(f"the archive has no {ANNOTATIONS}/<subset>.json")
    own = by_name(classes)
    files = set(source.names())
    for where in documents:
        document = read_json(source, where)
        items = document.get("items") if isinstance(document, Mapping) else None
        if not isinstance(items, list):
            raise FormatError(f"{where}: it has no list 'items'")
        names = _label_names(document, where)
        to_id = {place: own[name] for place, name in enumerate(names) if name in own}
        root = PurePosixPath(where).parent.parent
        subset = PurePosixPath(where).stem
        for number, item in enumerate(items):
            place = f"{where} item {number}"
            path = _path(item)
            if path is None:
                report.refused(place, "it names no image")
                continue
            candidates = (str(root / IMAGES / subset / path), str(root / IMAGES / path))
            file = next((candidate for candidate in candidates if candidate in files), None)
            annotations = item.get("annotations")
            yield Found(
                name=PurePosixPath(path).name,
                image=None if file is None else partial(source.read, file, limits.max_bytes),
                image_file=file or "",
                labels=partial(_painted, annotations, place, to_id, report) if annotations else None,
                labels_file=place,
            )


def _label_names(document: Mapping[str, Any], where: str) -> list[str]:
    try:
        return [str(label["name"]) for label in document["categories"]["label"]["labels"]]
    except (LookupError, TypeError) as error:
        raise FormatError(f"{where}: it has no categories.label.labels with names") from error


def _path(item: object) -> str | None:
    """File name of an item's picture: image.path, else its id with the format's default suffix."""
    if not isinstance(item, Mapping):
        return None
    image = item.get("image")
    path = image.get("path") if isinstance(image, Mapping) else None
    name = path or (f"{item['id']}.jpg" if item.get("id") else None)
    return str(name).replace("\\", "/") if name else None


def _painted(
    annotations: object, place: str, to_id: Mapping[int, int], report: Report, height: int, width: int
) -> LabelMap:
    """The label map (H, W) of one item. Raises MaskError that names the annotation."""
    if not isinstance(annotations, Sequence) or not all(isinstance(one, Mapping) for one in annotations):
        raise CorruptMask("'annotations' is no list of objects")
    painting = Painting(height, width, place, report)
    for annotation in sorted(annotations, key=_z_order):
        where = f"annotation {str(annotation.get('id'))[:40]}"
        kind = annotation.get("type")
        if kind not in ("mask", "polygon"):
            report.lost(place, f"{where} is of type {str(kind)[:40]!r}: masks and polygons hold pixels")
            continue
        label = annotation.get("label_id")
        if not isinstance(label, int) or label not in to_id:
            raise UnsupportedMask(f"{where}: label_id {str(label)[:40]} is no class of the project")
        try:
            if kind == "mask":
                painting.mask(_mask(annotation.get("rle"), height, width), 0, 0, to_id[label], where)
            else:
                ring_V2 = np.array(annotation.get("points"), dtype=np.float64).reshape(-1, 2)
                painting.polygon([ring_V2], to_id[label], where)
        except (TypeError, ValueError) as error:
            raise CorruptMask(f"{where}: {error}") from error
    return painting.labels_HW


def _z_order(annotation: Mapping[str, Any]) -> int:
    order = annotation.get("z_order", 0)
    return order if isinstance(order, int) else 0


def _mask(coded: object, height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if not isinstance(coded, Mapping) or not isinstance(coded.get("counts"), str):
        raise CorruptMask("it has no rle with 'counts' and 'size'")
    if coded.get("size") != [height, width]:
        raise CorruptMask(f"its size is {coded.get('size')}, the picture's is {[height, width]}")
    return rle.decode(coded["counts"], height, width)


FORMAT = Format("datumaro", "Datumaro", ABILITIES, write, read, require_distinct_names)
