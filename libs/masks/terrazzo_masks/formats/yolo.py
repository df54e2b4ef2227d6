"""YOLO segmentation (the layout that Ultralytics documents): a text file of polygons beside each picture.

    data.yaml   images/<split>/<stem>.<ext>   labels/<split>/<stem>.txt

A line is one connected region: `class x1 y1 x2 y2 ...`, the class as its place in `names` (from 0), coordinates as
shares of the picture's width and height. Lines know no holes: a region with holes is one ring that walks to each
hole and back (see `keyhole`). Classes are known by their names in data.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from terrazzo_masks.errors import CorruptMask, UnsupportedMask
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
    UnreadableFile,
    classes_member,
    expressible,
    named,
)
from terrazzo_masks.formats.index import IMAGE_SUFFIXES, is_hidden, picture_member
from terrazzo_masks.formats.keyhole import keyholed
from terrazzo_masks.formats.names import by_name, require_distinct_names
from terrazzo_masks.formats.painting import Painting
from terrazzo_masks.geometry import polygons
from terrazzo_masks.labels import LabelMap

DATA, IMAGES, LABELS = "data.yaml", "images", "labels"
DATA_BYTES_MAX = 2**24
ABILITIES = Abilities(hierarchy=True)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    yield classes_member(dataset)
    yield Member(DATA, _data(dataset.classes))
    place_of = {class_id: place for place, class_id in enumerate(dataset.classes.ids)}
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        yield from picture_member(sample, f"{IMAGES}/{sample.split}")
        yield Member(f"{LABELS}/{sample.split}/{sample.stem}.txt", _lines(sample, labels_HW, place_of).encode())
        report.done()


def _data(classes: ClassTable) -> bytes:
    """data.yaml; its names are written as JSON strings, which are YAML too."""
    names = "".join(f"  {place}: {json.dumps(one.name)}\n" for place, one in enumerate(classes))
    return f"path: .\ntrain: {IMAGES}/train\nval: {IMAGES}/val\nnames:\n{names}".encode()


def _lines(sample: Sample, labels_HW: LabelMap, place_of: Mapping[int, int]) -> str:
    lines = []
    for polygon in polygons(labels_HW):
        shares_V2 = keyholed(polygon) / (sample.width, sample.height)
        # Ten digits: back in pixels a corner is off by far less than the half pixel to the nearest centre.
        numbers = " ".join(f"{share:.10g}" for share in shares_V2.ravel().tolist())
        lines.append(f"{place_of[polygon.class_id]} {numbers}\n")
    return "".join(lines)


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pictures and their text files; a picture without one is unlabelled. Raises FormatError."""
    where = named(source, DATA)
    if where is None:
        raise FormatError(f"the archive has no {DATA} that names the classes")
    own = by_name(classes)
    to_id = {place: own[name] for place, name in _names(source, where) if name in own}
    label_files = {_key(name, LABELS): name for name in source.names() if name.endswith(".txt")}
    found_any = False
    for name in sorted(source.names()):
        path = PurePosixPath(name)
        if path.suffix.lower() not in IMAGE_SUFFIXES or is_hidden(path) or IMAGES not in path.parts[:-1]:
            continue
        found_any = True
        file = label_files.pop(_key(name, IMAGES), None)
        yield Found(
            name=path.name,
            image=partial(source.read, name, limits.max_bytes),
            image_file=name,
            labels=None if file is None else partial(_painted, source, file, to_id, report, limits),
            labels_file=file or "",
        )
    if not found_any:
        raise FormatError(f"the archive has no pictures in a folder {IMAGES}")
    for key, file in label_files.items():
        if key is not None:
            report.refused(file, "there is no picture of this name")


def _key(name: str, folder: str) -> tuple[tuple[str, ...], str] | None:
    """(the path's parts around the folder, stem): a picture and its text file have the same one."""
    path = PurePosixPath(name)
    if folder not in path.parts[:-1]:
        return None
    at = path.parts.index(folder)
    return (*path.parts[:at], *path.parts[at + 1 : -1]), path.stem


def _names(source: Source, where: str) -> list[tuple[int, str]]:
    """(place, name) of each class in data.yaml. Raises FormatError."""
    import yaml

    try:
        document: Any = yaml.safe_load(source.read(where, DATA_BYTES_MAX))
    except (UnreadableFile, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{where}: {error}") from error
    listed = document.get("names") if isinstance(document, Mapping) else None
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        return [(place, str(name)) for place, name in enumerate(listed)]
    if isinstance(listed, Mapping) and all(isinstance(place, int) for place in listed):
        return [(place, str(name)) for place, name in listed.items()]
    raise FormatError(f"{where}: 'names' is neither a list of names nor names by number")


def _painted(
    source: Source, file: str, to_id: Mapping[int, int], report: Report, limits: Limits, height: int, width: int
) -> LabelMap:
    """The label map (H, W) of one text file. Raises MaskError that names the line."""
    try:
        text = source.read(file, limits.max_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptMask(f"it is no text: {error}") from error
    painting = Painting(height, width, file, report)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"line {number}"
        try:
            place = int(words[0])
            shares = np.array(words[1:], dtype=np.float64)
        except ValueError as error:
            raise CorruptMask(f"{where}: {error}") from error
        if place not in to_id:
            raise UnsupportedMask(f"{where}: class {place} is no class of the project")
        if shares.size == 4:
            raise UnsupportedMask(f"{where} is a box (4 numbers): a region is three or more x y pairs")
        if shares.size % 2:
            raise CorruptMask(f"{where}: {shares.size} coordinates are no x y pairs")
        painting.polygon([shares.reshape(-1, 2) * (width, height)], to_id[place], where)
    return painting.labels_HW


FORMAT = Format("yolo", "YOLO segmentation", ABILITIES, write, read, require_distinct_names)
