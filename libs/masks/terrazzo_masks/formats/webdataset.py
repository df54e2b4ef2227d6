"""WebDataset shards (webdataset.github.io): tar files of samples, read from the first byte to the last.

    train-000000.tar ... val-000000.tar ...   classes.json
    in each: <sample id>.<ext>  <sample id>.mask.png  <sample id>.json (name, split, height, width, attributes)

A new shard begins after 1,000 samples or 256 MiB. The same version gives the same bytes: no times, no owners. An
import also takes masks as seg.png, label.png or mask.npy; a key ends at the first dot of a file's name.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from terrazzo_masks.errors import CorruptMask, MaskError
from terrazzo_masks.formats import tar
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
    expressible,
    pixel_values,
    translated,
)
from terrazzo_masks.formats.label_files import read_label_image, to_png
from terrazzo_masks.labels import LabelMap

ABILITIES = Abilities(max_class_id=65535, hierarchy=True)
SHARD_SAMPLES_MAX, SHARD_BYTES_MAX = 1_000, 2**28
BLOCK = tar.BLOCK
IMAGE_FIELDS = ("png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp")
MASK_FIELDS = ("mask.png", "seg.png", "label.png", "labels.png", "mask.tif", "mask.npy", "seg.npy")


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    yield classes_member(dataset)
    for split in ("train", "val"):
        waiting = (sample for sample in dataset.samples() if sample.split == split)
        number = 0
        while (first := next(waiting, None)) is not None:
            # The shard takes its samples from `waiting` while it is drained, and leaves the rest to the next.
            yield Member(f"{split}-{number:06d}.tar", _shard(chain([first], waiting), report))
            number += 1


def _shard(samples: Iterator[Sample], report: Report) -> Iterator[bytes]:
    num_samples = num_bytes = 0
    while num_samples < SHARD_SAMPLES_MAX and num_bytes < SHARD_BYTES_MAX:
        sample = next(samples, None)
        if sample is None:
            break
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        data = b"".join(_entry(f"{sample.sample_id}.{name}", body) for name, body in _fields(sample, labels_HW))
        yield data
        report.done()
        num_samples += 1
        num_bytes += len(data)
    # Two empty blocks, and the record filled up, as POSIX wants a tar's end.
    size = num_bytes + 2 * BLOCK
    yield bytes(2 * BLOCK + -size % tarfile.RECORDSIZE)


def _fields(sample: Sample, labels_HW: LabelMap) -> Iterator[tuple[str, bytes]]:
    if sample.image is not None:
        yield sample.image.extension, sample.image.read()
    yield "mask.png", to_png(labels_HW)
    document = {
        "name": sample.stem,
        "sample_id": sample.sample_id,
        "split": sample.split,
        "height": sample.height,
        "width": sample.width,
        "attributes": dict(sample.attributes),
    }
    yield "json", json.dumps(document, ensure_ascii=False, sort_keys=True).encode()


def _entry(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


@dataclass
class _Parts:
    """The files of one key, as they come."""

    key: str
    files: dict[str, bytes] = field(default_factory=dict)


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Samples of all shards, by name of the shard. Raises FormatError when there is none.

    A shard that is damaged is read up to there, and the report says where. What a Found gives lies in memory until
    the next one is asked for.
    """
    shards = sorted(name for name in source.names() if name.endswith(".tar"))
    if not shards:
        raise FormatError("the archive has no shards <name>-000000.tar")
    to_id = pixel_values(source, classes)
    for shard in shards:
        for parts in _grouped(source, shard, report, limits):
            found = _found(shard, parts, to_id, report, limits)
            if found is not None:
                yield found


def _grouped(source: Source, shard: str, report: Report, limits: Limits) -> Iterator[_Parts]:
    """Files with one key that follow each other."""
    current: _Parts | None = None
    try:
        with source.open(shard) as file:
            for member in tar.members(file, limits.max_bytes):
                if member.is_folder:
                    continue
                key, name = _split_name(shard, member.name)
                if member.data is None:
                    large = f"it has {member.size} bytes; at most {limits.max_bytes} are taken"
                    reason = large if member.is_file else "it is a link or a device, not a file"
                    report.refused(f"{shard}: {member.name}", reason)
                    continue
                if current is not None and current.key != key:
                    yield current
                    current = None
                current = current or _Parts(key)
                current.files[name] = member.data
                if sum(map(len, current.files.values())) > 2 * limits.max_bytes:
                    raise CorruptMask(f"the files of {key} have more than {2 * limits.max_bytes} bytes")
    except FormatError:
        raise
    except MaskError as error:
        # The sample at the damage may lack files: it is not given on.
        behind = f" behind {current.key}" if current is not None else ""
        report.refused(shard, f"the shard can't be read{behind}: {error}")
        return
    if current is not None:
        yield current


def _split_name(shard: str, name: str) -> tuple[str, str]:
    """(key, field) of a file: the key ends at the first dot of its name. Raises FormatError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise FormatError(f"{shard}: the member {name[:200]!r} points outside of the archive")
    stem, _, field_name = path.name.partition(".")
    return str(path.parent / stem), field_name.lower()


def _found(shard: str, parts: _Parts, to_id: Mapping[int, int], report: Report, limits: Limits) -> Found | None:
    image_field = next((name for name in IMAGE_FIELDS if name in parts.files), None)
    mask_field = next((name for name in MASK_FIELDS if name in parts.files), None)
    if image_field is None and mask_field is None:
        fields = ", ".join(sorted(parts.files))
        report.refused(f"{shard}: {parts.key}", f"it has no image and no mask, but {fields}")
        return None
    try:
        about = _about(parts)
    except CorruptMask as error:
        report.refused(f"{shard}: {parts.key}.json", str(error))
        return None
    stem = about.get("name") if isinstance(about.get("name"), str) else PurePosixPath(parts.key).name
    attributes = about.get("attributes")
    kept = attributes if isinstance(attributes, Mapping) else {}
    return Found(
        name=f"{stem}.{image_field or 'png'}",
        image=None if image_field is None else partial(parts.files.__getitem__, image_field),
        image_file=f"{shard}: {parts.key}.{image_field}",
        labels=None if mask_field is None else partial(_labels, parts.files[mask_field], to_id, limits),
        labels_file=f"{shard}: {parts.key}.{mask_field}",
        attributes={str(name): value for name, value in kept.items() if isinstance(value, str)},
    )


def _about(parts: _Parts) -> dict[str, Any]:
    if "json" not in parts.files:
        return {}
    try:
        document = json.loads(parts.files["json"])
    except (ValueError, RecursionError) as error:
        raise CorruptMask(f"it is no JSON: {error}") from error
    return document if isinstance(document, dict) else {}


def _labels(data: bytes, to_id: Mapping[int, int], limits: Limits, height: int, width: int) -> LabelMap:
    return translated(read_label_image(data, max_pixels=limits.max_pixels), to_id)


FORMAT = Format("webdataset", "WebDataset shards", ABILITIES, write, read)
