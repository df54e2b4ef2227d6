"""Exports hold one sample in memory, imports too: what grows with their number is names, not pixels."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import Dataset, Limits, MemorySource, Picture, Report, Sample

from .exchanging import CLASSES, blobs_map, picture_of

FEW, MANY = 40, 100
HEIGHT, WIDTH = 96, 128
# A sample's map is 12 KiB and its picture 37 KiB: one that was kept would show.
BYTES_A_SAMPLE = 4_096
MAPS = [blobs_map(seed, HEIGHT, WIDTH) for seed in range(4)]
PICTURE = picture_of(1, HEIGHT, WIDTH)


def dataset(num: int) -> Dataset:
    def samples() -> Iterator[Sample]:
        for number in range(num):
            yield Sample(
                f"sample_{number:05d}",
                f"smp_{number:024x}",
                HEIGHT,
                WIDTH,
                lambda number=number: MAPS[number % 4].copy(),  # type: ignore[misc]
                Picture(lambda: bytes(bytearray(PICTURE)), "image/png"),
            )

    return Dataset(CLASSES, samples)


def peak_of_export(name: str, num: int) -> int:
    tracemalloc.start()
    for member in FORMATS[name].write(dataset(num), Report()):
        for _ in () if isinstance(member.data, bytes) else member.data:
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_export_holds_one_sample(name: str) -> None:
    peak_of_export(name, MANY)  # what is imported and compiled on the way is not counted
    grown = peak_of_export(name, MANY) - peak_of_export(name, FEW)
    assert grown < BYTES_A_SAMPLE * (MANY - FEW)


def held_by_import(name: str, num: int) -> int:
    """The most that is held behind any sample."""
    files = {
        member.name: member.data if isinstance(member.data, bytes) else b"".join(member.data)
        for member in FORMATS[name].write(dataset(num), Report())
    }
    tracemalloc.start()
    held = []
    for found in FORMATS[name].read(MemorySource(files), CLASSES, Report(), Limits()):
        if found.image is not None and found.labels is not None:
            assert found.image()
            assert isinstance(found.labels(HEIGHT, WIDTH), np.ndarray)
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(held) == num
    return max(held)


@pytest.mark.parametrize(
    "name",
    [
        *("index", "voc", "cityscapes", "camvid", "ade20k", "ade20k-full", "geotiff", "nifti", "webdataset"),
        *("yolo", "coco-panoptic", "cvat"),
    ],
)
def test_an_import_of_separate_files_holds_one_sample(name: str) -> None:
    held_by_import(name, MANY)  # what is imported and compiled on the way is not counted
    grown = held_by_import(name, MANY) - held_by_import(name, FEW)
    assert grown < BYTES_A_SAMPLE * (MANY - FEW)
