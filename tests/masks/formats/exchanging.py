"""What the tests of formats share: a small dataset, an export held in memory, and reading it back."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrazzo_masks.formats.exchange import (
    ClassInfo,
    ClassTable,
    Dataset,
    Format,
    Limits,
    MemorySource,
    Picture,
    Report,
    Sample,
)

CLASSES = ClassTable(
    (
        ClassInfo(1, "road", (128, 64, 128), value=1),
        ClassInfo(2, "car", (0, 0, 142), value=2),
        ClassInfo(3, "tree", (107, 142, 35), value=3),
        ClassInfo(7, "truck", (0, 0, 70), parent_id=2, value=7),
    ),
    frozenset({0, 255}),
)
DEEP = ClassTable((*CLASSES.classes, ClassInfo(300, "lamp", (250, 170, 30), value=300)), frozenset({0, 255}))


def blobs_map(seed: int, height: int = 48, width: int = 64, ids: tuple[int, ...] = (0, 1, 2, 3, 7)) -> Any:
    """A label map of rectangles, some with holes and touching corners."""
    rng = np.random.default_rng(seed)
    labels_HW = np.full((height, width), ids[-1], np.uint8 if max(ids) <= 255 else np.uint16)
    for _ in range(14):
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        labels_HW[y : y + int(rng.integers(1, 20)), x : x + int(rng.integers(1, 24))] = rng.choice(ids)
    return labels_HW


def picture_of(seed: int, height: int = 48, width: int = 64, kind: str = "PNG") -> bytes:
    pixels_HWC = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels_HWC).save(out, kind)
    return out.getvalue()


def dataset_of(
    labels: Mapping[str, NDArray[Any]],
    classes: ClassTable = CLASSES,
    *,
    kind: str = "PNG",
    attributes: Mapping[str, Mapping[str, str]] | None = None,
    pictures: Mapping[str, tuple[bytes, str]] | None = None,
) -> Dataset:
    """A dataset of these label maps by stem, with random pictures (or those of `pictures`: bytes, media type)."""

    def samples() -> Iterator[Sample]:
        for number, (stem, labels_HW) in enumerate(labels.items()):
            height, width = labels_HW.shape
            data, media_type = (
                pictures[stem]
                if pictures
                else (picture_of(number, height, width, kind), {"PNG": "image/png", "JPEG": "image/jpeg"}[kind])
            )
            yield Sample(
                stem=stem,
                sample_id=f"smp_{number:024x}",
                height=height,
                width=width,
                labels=lambda found=labels_HW: found,  # type: ignore[misc]
                image=Picture(lambda data=data: data, media_type),  # type: ignore[misc]
                split="val" if number % 3 == 2 else "train",
                attributes=(attributes or {}).get(stem, {}),
            )

    return Dataset(classes, samples, "street", "c0ffee")


def three(classes: ClassTable = CLASSES) -> dict[str, Any]:
    """Three label maps of different sizes, by stem."""
    ids = (0, *classes.ids)
    return {
        "alpha": blobs_map(1, 48, 64, ids),
        "beta": blobs_map(2, 33, 17, ids),
        "gamma": blobs_map(3, 20, 50, ids),
    }


def collect(format: Format, dataset: Dataset) -> tuple[dict[str, bytes], Report]:
    """An export's files and its report."""
    format.check(dataset.classes)
    report = Report()
    files: dict[str, bytes] = {}
    for member in format.write(dataset, report):
        assert member.name not in files, f"{member.name} is written twice"
        files[member.name] = member.data if isinstance(member.data, bytes) else b"".join(member.data)
    return files, report


def read_back(
    format: Format, files: Mapping[str, bytes], classes: ClassTable = CLASSES, limits: Limits | None = None
) -> tuple[dict[str, Any], Report]:
    """Label maps of an archive by stem, and the report. The size comes from the picture, as in the service."""
    report = Report()
    maps: dict[str, Any] = {}
    for found in format.read(MemorySource(files), classes, report, limits or Limits()):
        assert found.image is not None, f"{found.name} has no picture"
        with Image.open(io.BytesIO(found.image())) as image:
            width, height = image.size
        if found.labels is not None:
            maps[found.name.rsplit(".", 1)[0]] = found.labels(height, width)
    return maps, report


def assert_same(maps: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert maps.keys() == expected.keys()
    for stem, labels_HW in expected.items():
        np.testing.assert_array_equal(maps[stem], labels_HW, err_msg=stem)
