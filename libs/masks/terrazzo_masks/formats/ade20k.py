"""ADE20K in its two layouts (Zhou et al., 2017; groups.csail.mit.edu/vision/datasets/ADE20K).

    ade20k       images/<training|validation>/<stem>.<ext>   annotations/<...>/<stem>.png (8 bit index, 0 = other)
                 objectInfo150.txt (Idx Ratio Train Val Stuff Name, tab separated)
    ade20k-full  images/<training|validation>/<stem>.<ext>   images/<...>/<stem>_seg.png (index = R/10*256 + G)
                 objectInfo.txt                                                    and classes.json in both

Index 0 means that nothing is labelled. In the full layout blue holds instances: ours are label maps, blue is 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
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
    Source,
    UnreadableFile,
    classes_member,
    expressible,
    named,
    pixel_values,
    translated,
)
from terrazzo_masks.formats.index import IMAGE_SUFFIXES, index_labels, is_hidden, picture_member
from terrazzo_masks.formats.label_files import rgb_png, to_png
from terrazzo_masks.labels import LabelMap

FOLDERS = {"train": "training", "val": "validation"}
INFO, FULL_INFO = "objectInfo150.txt", "objectInfo.txt"
SEG, PARTS = "_seg", "_parts_"
INFO_BYTES_MAX = 2**22
ABILITIES = Abilities(max_class_id=255)
# R is a multiple of ten up to 250: 25 * 256 + 255.
FULL_ABILITIES = Abilities(max_class_id=6655)
_LabelsOf = Callable[[str, dict[int, int]], Callable[[int, int], LabelMap]]


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    yield classes_member(dataset)
    yield _object_info(INFO, dataset.classes)
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        folder = FOLDERS[sample.split]
        yield from picture_member(sample, f"images/{folder}")
        yield Member(f"annotations/{folder}/{sample.stem}.png", to_png(labels_HW.astype(np.uint8, copy=False)))
        report.done()


def write_full(dataset: Dataset, report: Report) -> Iterator[Member]:
    yield classes_member(dataset)
    yield _object_info(FULL_INFO, dataset.classes)
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, FULL_ABILITIES)
        if labels_HW is None:
            continue
        folder = f"images/{FOLDERS[sample.split]}"
        yield from picture_member(sample, folder)
        yield Member(f"{folder}/{sample.stem}{SEG}.png", rgb_png(seg_of(labels_HW)))
        report.done()


def seg_of(labels_HW: LabelMap) -> NDArray[np.uint8]:
    """The full layout's colours (H, W, 3) of class ids up to 6655."""
    seg_HWC = np.zeros((*labels_HW.shape, 3), np.uint8)
    seg_HWC[..., 0] = labels_HW // np.uint16(256) * 10
    seg_HWC[..., 1] = labels_HW & 255
    return seg_HWC


def index_of(seg_HWC: NDArray[np.uint8]) -> LabelMap:
    """Class ids (H, W) of the full layout's colours. Raises UnsupportedMask where red is no multiple of ten."""
    wrong_HW = seg_HWC[..., 0] % 10 != 0
    if wrong_HW.any():
        y, x = (int(v) for v in np.unravel_index(int(np.argmax(wrong_HW)), wrong_HW.shape))
        raise UnsupportedMask(
            f"red is {int(seg_HWC[y, x, 0])} at row {y}, column {x}: ADE20K's red is a multiple of ten"
        )
    labels_HW: LabelMap = seg_HWC[..., 0].astype(np.uint16) // 10 * 256 + seg_HWC[..., 1]
    return labels_HW


def _object_info(file: str, classes: ClassTable) -> Member:
    lines = ["Idx\tRatio\tTrain\tVal\tStuff\tName"]
    lines += [f"{one.id}\t0\t0\t0\t0\t{one.name}" for one in classes]
    return Member(file, ("\n".join(lines) + "\n").encode())


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    def labels_of(name: str, to_id: dict[int, int]) -> Callable[[int, int], LabelMap]:
        return partial(index_labels, source, name, to_id, limits)

    masks = _under(source, "annotations", "")
    images = _under(source, "images", "")
    return _pairs(source, classes, limits, (images, masks), labels_of, INFO)


def read_full(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    def labels_of(name: str, to_id: dict[int, int]) -> Callable[[int, int], LabelMap]:
        return partial(_seg_labels, source, name, to_id, limits)

    masks = _under(source, "images", SEG)
    images = {key: name for key, name in _under(source, "images", "").items() if PARTS not in key}
    images = {key: name for key, name in images.items() if not key.endswith(SEG)}
    return _pairs(source, classes, limits, (images, masks), labels_of, FULL_INFO)


def _seg_labels(
    source: Source, name: str, to_id: dict[int, int], limits: Limits, height: int, width: int
) -> LabelMap:
    seg_HWC = read_rgb(source.read(name, limits.max_bytes), max_pixels=limits.max_pixels)
    return translated(index_of(seg_HWC), to_id)


def _pairs(
    source: Source,
    classes: ClassTable,
    limits: Limits,
    files: tuple[dict[str, str], dict[str, str]],
    labels_of: _LabelsOf,
    info: str,
) -> Iterator[Found]:
    images, masks = files
    if not masks:
        raise FormatError("the archive has no label maps where ADE20K has them")
    to_id = _to_id(source, classes, info)
    for key in sorted(images.keys() | masks.keys()):
        image, mask = images.get(key), masks.get(key)
        yield Found(
            name=PurePosixPath(image).name if image else f"{PurePosixPath(key).name}.png",
            image=None if image is None else partial(source.read, image, limits.max_bytes),
            image_file=image or "",
            labels=None if mask is None else labels_of(mask, to_id),
            labels_file=mask or "",
        )


def _under(source: Source, folder: str, tail: str) -> dict[str, str]:
    """Files under a folder of this name, by their place below it and stem without `tail`."""
    found: dict[str, str] = {}
    for name in source.names():
        path = PurePosixPath(name)
        if is_hidden(path) or path.suffix.lower() not in IMAGE_SUFFIXES or folder not in path.parts[:-1]:
            continue
        if path.stem.endswith(tail):
            below = path.parts[path.parts.index(folder) + 1 : -1]
            found["/".join((*below, path.stem.removesuffix(tail)))] = name
    return found


def _to_id(source: Source, classes: ClassTable, info: str) -> dict[int, int]:
    """Index -> class id: by name where the archive has an object table, else by the ontology's values."""
    file = named(source, info)
    if file is None:
        return pixel_values(source, classes)
    try:
        text = source.read(file, INFO_BYTES_MAX).decode("utf-8-sig")
    except (UnreadableFile, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: {error}") from error
    rows = list(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    foreign = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) < 2 or not row[0].strip().isdigit() or not 1 <= int(row[0]) <= FULL_ABILITIES.max_class_id:
            raise FormatError(f"{file}, line {number}: {row!r} does not start with an index and end with a name")
        # "wall", or as in the original "door, double door": all names of it count.
        foreign.append((int(row[0]), row[-1].strip()))
    return {0: 0, **_by_any_name(foreign, classes)}


def _by_any_name(foreign: list[tuple[int, str]], classes: ClassTable) -> dict[int, int]:
    found = classes.matched(foreign)
    by_name = {one.name: one.id for one in classes}
    for index, names in foreign:
        own = {by_name[name.strip()] for name in names.replace(";", ",").split(",") if name.strip() in by_name}
        if index not in found and len(own) == 1:
            found[index] = own.pop()
    return found


FORMAT = Format("ade20k", "ADE20K (index)", ABILITIES, write, read)
FULL = Format("ade20k-full", "ADE20K (R/10*256+G)", FULL_ABILITIES, write_full, read_full)
