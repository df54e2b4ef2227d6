"""Reading NIfTI volumes as slices: both volumes of a pair are walked once, a slice at a time.

A picture's values are looked at once before, for the offset that brings its gray levels into a PNG.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats import nifti_header
from terrazzo_masks.formats.exchange import (
    ClassTable,
    FormatError,
    Found,
    Limits,
    Report,
    Source,
    named,
    own_classes,
    read_json,
    translated,
)
from terrazzo_masks.formats.index import is_hidden
from terrazzo_masks.formats.label_files import picture_png
from terrazzo_masks.formats.nifti_header import Header
from terrazzo_masks.labels import LabelMap, dtype_for

VOLUME, SLICE = "volume", "slice"
LABELS_ATTRIBUTE, IMAGE_ATTRIBUTE = "nifti", "nifti_image"
IMAGE_FOLDERS, LABEL_FOLDERS = ("imagesTr", "images"), ("labelsTr", "labels")
LEVELS_MAX = 65535
_DAMAGE = (EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class _Levels:
    """How a picture's stored values become gray levels: (value - low) * scale, `scale` 1 for whole numbers."""

    low: float
    scale: float

    @property
    def is_exact(self) -> bool:
        return self.scale == 1


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Slices of all volumes, by name. Raises FormatError when there are none. What a Found gives lies in memory
    until the next one is asked for."""
    images, masks = _files(source)
    if not images and not masks:
        raise FormatError("the archive has no volumes imagesTr/<name>.nii.gz or labelsTr/<name>.nii.gz")
    to_id = _to_id(source, classes)
    for name in sorted(images.keys() | masks.keys()):
        try:
            yield from _slices(source, name, images.get(name), masks.get(name), to_id, report, limits)
        except (MaskError, *_DAMAGE) as error:
            # What was given before the damage stays; the report says that the volume is not whole.
            report.refused(masks.get(name) or images[name], str(error))


def _files(source: Source) -> tuple[dict[str, str], dict[str, str]]:
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    for name in source.names():
        path = PurePosixPath(name)
        if is_hidden(path) or not path.name.lower().endswith((".nii", ".nii.gz")):
            continue
        stem = path.name[: path.name.lower().rindex(".nii")]
        if any(folder in path.parts[:-1] for folder in LABEL_FOLDERS):
            masks[stem] = name
        elif any(folder in path.parts[:-1] for folder in IMAGE_FOLDERS):
            # nnU-Net numbers the channels of a picture: <volume>_0000.nii.gz is the first.
            images[stem] = name
    for stem in sorted(images):
        if stem.endswith("_0000") and stem not in masks and stem.removesuffix("_0000") in masks:
            images[stem.removesuffix("_0000")] = images.pop(stem)
    return images, masks


def _to_id(source: Source, classes: ClassTable) -> dict[int, int]:
    """Value -> class id: by our classes.json, else by the names in dataset.json, else by the ontology's values."""
    own = own_classes(source, classes)
    if own is not None:
        return own
    file = named(source, "dataset.json")
    document = read_json(source, file) if file is not None else None
    labels = document.get("labels") if isinstance(document, Mapping) else None
    foreign = []
    for key, value in labels.items() if isinstance(labels, Mapping) else ():
        # The first version of nnU-Net says {"1": "liver"}, the second {"liver": 1}.
        number, name = (key, value) if isinstance(value, str) else (value, key)
        if str(number).isdigit() and int(number) <= LEVELS_MAX:
            foreign.append((int(number), str(name)))
    known = classes.matched(foreign)
    return {0: 0, **known} if known else classes.values()


def _slices(
    source: Source,
    name: str,
    image: str | None,
    mask: str | None,
    to_id: Mapping[int, int],
    report: Report,
    limits: Limits,
) -> Iterator[Found]:
    levels = _levels(source, image, limits) if image is not None else None
    with ExitStack() as stack:
        image_file = _opened(source, image, stack) if image is not None else None
        mask_file = _opened(source, mask, stack) if mask is not None else None
        image_head = nifti_header.read_header(image_file, limits.max_pixels) if image_file else None
        mask_head = nifti_header.read_header(mask_file, limits.max_pixels) if mask_file else None
        _require_pair(image_head, mask_head)
        head = mask_head or image_head
        assert head is not None
        kept = _attributes(name, head, image_head, levels)
        if levels is not None and not levels.is_exact:
            report.lost(
                image or "", "its values are no whole numbers of 16 bits: they were brought to 65,536 levels"
            )
        for number in range(head.shape[0]):
            pixels = _next(image_file, image_head, number) if image_file and image_head else None
            values = _next(mask_file, mask_head, number) if mask_file and mask_head else None
            place = f"slice {number}"
            yield Found(
                name=f"{name}_{number:04d}.png",
                image=None
                if pixels is None
                else partial(_picture, pixels, levels or _Levels(0, 1), f"{name} {place}"),
                image_file=f"{image}: {place}",
                labels=None if values is None else partial(_labels, values, to_id),
                labels_file=f"{mask}: {place}",
                attributes={**kept, SLICE: str(number)},
            )


def _require_pair(image: Header | None, mask: Header | None) -> None:
    """Raises CorruptMask when the volumes of a pair differ in size, UnsupportedMask for a scaled label map."""
    if image is not None and mask is not None and image.shape != mask.shape:
        raise CorruptMask(f"the label volume has (z, y, x) {mask.shape}, its picture {image.shape}")
    if mask is not None:
        slope, inter = float(mask.values["scl_slope"]), float(mask.values["scl_inter"])
        if (
            mask.is_rgb
            or (slope not in (0.0, 1.0) and not np.isnan(slope))
            or (slope != 0 and inter not in (0.0,))
        ):
            raise UnsupportedMask(f"the label volume is scaled (slope {slope}, intercept {inter}) or in colours")


def _attributes(name: str, head: Header, image: Header | None, levels: _Levels | None) -> dict[str, str]:
    kept = {VOLUME: name, LABELS_ATTRIBUTE: head.to_text()}
    if image is not None and levels is not None:
        kept[IMAGE_ATTRIBUTE] = json.dumps({"header": image.to_text(), "low": levels.low, "scale": levels.scale})
    return kept


def _opened(source: Source, name: str, stack: ExitStack) -> BinaryIO:
    file = stack.enter_context(source.open(name))
    if name.lower().endswith(".gz"):
        return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb")))
    return file


def _next(file: BinaryIO, head: Header, number: int) -> NDArray[Any]:
    """The voxels of the next slice: (height, width), or (height, width, 3). Raises CorruptMask."""
    try:
        data = file.read(head.slice_bytes)
    except _DAMAGE as error:
        raise CorruptMask(f"the volume can't be unpacked at slice {number}: {error}") from error
    if len(data) != head.slice_bytes:
        raise CorruptMask(f"the volume is cut short at slice {number} of {head.shape[0]}")
    _, height, width = head.shape
    values = np.frombuffer(data, head.dtype)
    return values.reshape((height, width, 3) if head.is_rgb else (height, width))


def _levels(source: Source, image: str, limits: Limits) -> _Levels:
    """A walk over the picture's values. Raises CorruptMask, UnsupportedMask for values that are not finite."""
    with ExitStack() as stack:
        file = _opened(source, image, stack)
        head = nifti_header.read_header(file, limits.max_pixels)
        if head.is_rgb or head.dtype == np.uint8:
            return _Levels(0, 1)
        low, high = np.inf, -np.inf
        for number in range(head.shape[0]):
            values_HW = _next(file, head, number)
            if not np.isfinite(values_HW).all():
                raise UnsupportedMask(f"{image}: slice {number} has values that are not finite")
            low, high = min(low, float(values_HW.min())), max(high, float(values_HW.max()))
    if head.dtype.kind in "iu" and high - low <= LEVELS_MAX:
        return _Levels(low, 1)
    return _Levels(low, LEVELS_MAX / (high - low) if high > low else LEVELS_MAX)


def _picture(pixels: NDArray[Any], levels: _Levels, place: str) -> bytes:
    """The slice as a PNG. It says whose it is: two empty slices are two samples."""
    if pixels.ndim == 3 or pixels.dtype == np.uint8:
        return picture_png(np.ascontiguousarray(pixels), place)
    if levels.is_exact:
        return picture_png((pixels.astype(np.int64) - int(levels.low)).astype(np.uint16), place)
    scaled_HW = np.rint((pixels.astype(np.float64) - levels.low) * levels.scale)
    return picture_png(scaled_HW.astype(np.uint16), place)


def _labels(values_HW: NDArray[Any], to_id: Mapping[int, int], height: int, width: int) -> LabelMap:
    """Class ids of a slice. Raises UnsupportedMask that names the first voxel that is no class id."""
    if values_HW.dtype.kind == "f":
        wrong_HW = ~np.isfinite(values_HW) | (values_HW != np.rint(values_HW))
    else:
        wrong_HW = np.zeros(values_HW.shape, np.bool_)
    wrong_HW |= (values_HW < 0) | (values_HW > LEVELS_MAX)
    if wrong_HW.any():
        y, x = (int(v) for v in np.unravel_index(int(np.argmax(wrong_HW)), wrong_HW.shape))
        raise UnsupportedMask(f"value {values_HW[y, x]} at row {y}, column {x} is no class id")
    narrow: LabelMap = values_HW.astype(dtype_for(int(values_HW.max())))
    return translated(narrow, to_id)
