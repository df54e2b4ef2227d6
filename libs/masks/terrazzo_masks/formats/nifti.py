"""NIfTI volumes as slices, in the layout of the Medical Segmentation Decathlon and nnU-Net.

    imagesTr/<volume>.nii.gz   labelsTr/<volume>.nii.gz   dataset.json   classes.json

Each slice along the file's third axis is a sample, rows are y, columns x; its attributes "volume", "slice" and
"nifti" say where it belongs and keep the header. An export puts a volume together again, slice by slice, with the
affine and the spacing that it came with; slices that the version does not have are written empty and reported. A
picture's voxels become gray levels by an offset that is kept, so whole numbers come out as they were; floats are
brought to 65,536 levels, which is reported. A sample that is no slice becomes a volume of one.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask, MaskError
from terrazzo_masks.formats import nifti_header
from terrazzo_masks.formats.exchange import (
    Abilities,
    Dataset,
    Format,
    Member,
    Report,
    Sample,
    classes_member,
    lost_layers,
    readable,
)
from terrazzo_masks.formats.nifti_header import DTYPES, RGB24, Header
from terrazzo_masks.formats.nifti_read import IMAGE_ATTRIBUTE, LABELS_ATTRIBUTE, SLICE, VOLUME, read
from terrazzo_masks.labels import dtype_for

ABILITIES = Abilities(max_class_id=65535, volumes=True)
UINT8, UINT16 = 2, 512


@dataclass(frozen=True)
class _Volume:
    """Slices of one volume by number, and its size."""

    name: str
    slices: Mapping[int, Sample]
    height: int
    width: int
    num_slices: int
    header: Header


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    yield classes_member(dataset)
    volumes = []
    for name, slices in _grouped(dataset, report).items():
        try:
            volume = _volume(name, slices, report)
        except MaskError as error:
            report.refused(name, str(error))
            continue
        volumes.append(name)
        yield Member(f"labelsTr/{name}.nii.gz", _labels(volume, report))
        yield from _pictures(volume, report)
        for sample in volume.slices.values():
            lost_layers(sample, report, ABILITIES)
            report.done()
    yield Member("dataset.json", _dataset_json(dataset, volumes))


def _grouped(dataset: Dataset, report: Report) -> dict[str, dict[int, Sample]]:
    """Samples by volume and slice; a sample that is no slice is a volume of its own name."""
    found: dict[str, dict[int, Sample]] = {}
    for sample in dataset.samples():
        number = sample.attributes.get(SLICE, "")
        is_slice = VOLUME in sample.attributes and number.isdigit() and int(number) < 32_767
        name = _file_name(sample.attributes[VOLUME]) if is_slice else sample.stem
        slices = found.setdefault(name, {})
        place = int(number) if is_slice else 0
        if place in slices:
            report.refused(sample.stem, f"it is slice {place} of {name}, and so is {slices[place].stem}")
            continue
        slices[place] = sample
    return found


def _file_name(volume: str) -> str:
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in volume).strip(".") or "volume"


def _volume(name: str, slices: Mapping[int, Sample], report: Report) -> _Volume:
    """Raises CorruptMask for slices of several sizes, or a kept header of another size."""
    first = next(iter(slices.values()))
    height, width = first.height, first.width
    for sample in slices.values():
        if (sample.height, sample.width) != (height, width):
            raise CorruptMask(
                f"its slices have several sizes: {height} x {width}, and {sample.stem} is "
                f"{sample.height} x {sample.width}"
            )
    text = first.attributes.get(LABELS_ATTRIBUTE)
    header = nifti_header.from_text(text) if text else nifti_header.blank(height, width)
    if text and header.shape[1:] != (height, width):
        raise CorruptMask(f"the header that was kept is for {header.shape[1:]}, its slices are {(height, width)}")
    if not text:
        report.lost(name, "it has no place in the world: voxels of 1 x 1 x 1 are written")
    num_slices = max(max(slices) + 1, header.shape[0] if text else 1)
    missing = sorted(set(range(num_slices)) - slices.keys())
    if missing:
        some = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        report.lost(name, f"{len(missing)} of its {num_slices} slices are not in this version: {some}")
    return _Volume(name, dict(sorted(slices.items())), height, width, num_slices, header)


def _labels(volume: _Volume, report: Report) -> Iterator[bytes]:
    counts = [sample.counts for sample in volume.slices.values()]
    known = [max(one, default=0) for one in counts if one is not None]
    dtype = dtype_for(max(known)) if len(known) == len(counts) else np.dtype(np.uint16)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    head = nifti_header.written(volume.header, volume.num_slices, UINT8 if dtype == np.uint8 else UINT16, 1, 0)
    yield packer.compress(head)
    empty = bytes(volume.height * volume.width * dtype.itemsize)
    for number in range(volume.num_slices):
        sample = volume.slices.get(number)
        labels_HW = None if sample is None else readable(sample, report)
        written = empty if labels_HW is None else labels_HW.astype(dtype.newbyteorder("<")).tobytes()
        yield packer.compress(written)
    yield packer.flush()


def _pictures(volume: _Volume, report: Report) -> Iterator[Member]:
    """The picture volume, as its first slice has it."""
    first = next(iter(volume.slices.values()))
    if first.image is None:
        return
    stored = _kept(first)
    if stored is None:
        pixels = _pixels(first)
        datatype = RGB24 if pixels.ndim == 3 else UINT8 if pixels.dtype == np.uint8 else UINT16
        stored = _Stored(nifti_header.blank(volume.height, volume.width), datatype)
    yield Member(f"imagesTr/{volume.name}.nii.gz", _voxels(volume, stored, report))


@dataclass(frozen=True)
class _Stored:
    """How gray levels are stored as voxels: level + `low` in `datatype`, read with slope and intercept."""

    header: Header
    datatype: int
    low: int = 0
    slope: float = 1.0
    inter: float = 0.0


def _kept(sample: Sample) -> _Stored | None:
    """As the import kept it; None when the picture came from no volume."""
    try:
        document = json.loads(sample.attributes.get(IMAGE_ATTRIBUTE, "{}"))
        if not isinstance(document, dict) or "header" not in document:
            return None
        header = nifti_header.from_text(str(document["header"]))
        low, scale = float(document["low"]), float(document["scale"])
        slope, inter = header.scaling
        if scale == 1:
            return _Stored(header, int(header.values["datatype"]), int(low), slope, inter)
        return _Stored(header, UINT16, 0, slope / scale, slope * low + inter)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, ZeroDivisionError):
        return None


def _voxels(volume: _Volume, stored: _Stored, report: Report) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    head = nifti_header.written(stored.header, volume.num_slices, stored.datatype, stored.slope, stored.inter)
    yield packer.compress(head)
    dtype = np.dtype("<" + DTYPES[stored.datatype])
    shape = (volume.height, volume.width, 3) if stored.datatype == RGB24 else (volume.height, volume.width)
    for number in range(volume.num_slices):
        sample = volume.slices.get(number)
        voxels = np.zeros(shape, dtype)
        if sample is not None:
            pixels = _pixels(sample)
            if pixels.shape == shape:
                voxels = (pixels.astype(np.int64) + stored.low).astype(dtype)
            else:
                report.lost(
                    sample.stem, f"its picture is {pixels.shape}, its volume's slices are {shape}: left empty"
                )
        yield packer.compress(voxels.tobytes())
    yield packer.flush()


def _pixels(sample: Sample) -> NDArray[Any]:
    from PIL import Image

    if sample.image is None:
        return np.zeros(0, np.uint8)
    with Image.open(io.BytesIO(sample.image.read())) as image:
        kept = image if image.mode in ("L", "I;16", "I;16B", "RGB") else image.convert("RGB")
        return np.asarray(kept)


def _dataset_json(dataset: Dataset, volumes: list[str]) -> bytes:
    """As nnU-Net's first version and the Decathlon have it: labels by number."""
    document = {
        "name": dataset.name,
        "description": f"version {dataset.version}",
        "tensorImageSize": "3D",
        "modality": {"0": "image"},
        "labels": {"0": "background", **{str(one.id): one.name for one in dataset.classes}},
        "numTraining": len(volumes),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in volumes
        ],
        "test": [],
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


FORMAT = Format("nifti", "NIfTI volumes", ABILITIES, write, read)
