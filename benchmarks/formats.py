"""Exports: CPU seconds for 1,000 masks of 1024 x 768 with 8 classes, as a zip archive in memory.

The maps are generated scenes, mirrored and shifted: 250 that differ, each four times, so that memory does for it.
Twice: from arrays, and from a store of encoded tiles (the library's own, tiles packed `fast`), which adds the
reading of a version.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Bench, Figure, limit
from benchmarks.material import scenes
from terrazzo_masks import native
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import ClassInfo, ClassTable, Dataset, Report, Sample
from terrazzo_masks.tiles import MemoryParts, build, read

NUM, NUM_MAPS, HEIGHT, WIDTH, NUM_CLASSES = 1_000, 250, 768, 1024, 8
LIMIT_S = 15.0
CLASSES = ClassTable(tuple(ClassInfo(n, f"class {n}", (n * 25, 255 - n * 20, n * 9)) for n in range(1, 9)))
LabelMap = NDArray[Any]
Read = Callable[[], LabelMap]


def run(bench: Bench) -> list[Figure]:
    native.warm()
    num = 50 if bench.quick else NUM
    maps = _maps(min(num, NUM_MAPS))
    parts = MemoryParts("fast")
    manifests = [build(labels_HW, parts) for labels_HW in maps]
    figures = []
    for name in ("index", "coco"):
        from_arrays: list[Read] = [partial(_same, labels_HW) for labels_HW in maps]
        from_store: list[Read] = [partial(read, manifest, parts) for manifest in manifests]
        for source, calls in (("arrays", from_arrays), ("stored tiles", from_store)):
            seconds, num_bytes = _exported(name, [calls[n % len(calls)] for n in range(num)])
            scaled_s = seconds * NUM / num
            note = f"{num} masks, {num_bytes / num / 1024:.1f} KiB each"
            title = f"1,000 masks of 1024 x 768 from {source} to {FORMATS[name].title}"
            figures.append(limit("formats", title, scaled_s, "s of CPU", LIMIT_S, note))
            bench.say(f"{title}: {scaled_s:.1f} s")
    return figures


def _same(labels_HW: LabelMap) -> LabelMap:
    return labels_HW


def _maps(num: int) -> list[LabelMap]:
    """`num` maps of eight classes, no two equal."""
    rng = np.random.default_rng(0)
    bases = [(scene_HW % NUM_CLASSES + 1).astype(np.uint8) for scene_HW in scenes(20, HEIGHT, WIDTH)]
    maps = []
    for number in range(num):
        labels_HW = np.roll(bases[number % len(bases)], int(rng.integers(0, WIDTH)), axis=1)
        maps.append(np.ascontiguousarray(labels_HW[:, ::-1] if number % 2 else labels_HW))
    return maps


def _exported(name: str, calls: list[Read]) -> tuple[float, int]:
    """(CPU seconds, bytes) of an export into a zip."""

    def samples() -> Iterator[Sample]:
        for number, call in enumerate(calls):
            yield Sample(f"sample_{number:06d}", f"smp_{number:024x}", HEIGHT, WIDTH, call)

    report = Report()
    start = time.process_time()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for member in FORMATS[name].write(Dataset(CLASSES, samples), report):
            packed = zipfile.ZIP_STORED if member.name.endswith(".png") else zipfile.ZIP_DEFLATED
            info = zipfile.ZipInfo(member.name)
            info.compress_type = packed
            if isinstance(member.data, bytes):
                archive.writestr(info, member.data)
                continue
            with archive.open(info, "w", force_zip64=True) as file:
                for chunk in member.data:
                    file.write(chunk)
    seconds = time.process_time() - start
    assert (report.num_done, report.num_refused, report.num_lost) == (len(calls), 0, 0)
    return seconds, out.tell()
