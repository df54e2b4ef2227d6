"""Index images: a PNG of class ids beside each picture.

    classes.json   images/<stem>.<ext>   masks/<stem>.png

A palette PNG in the classes' colours where all ids are 0..255, a 16 bit gray one otherwise. An import also takes
masks as .tif, .tiff and .npy. Picture and mask belong together by folder and stem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath

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

IMAGES, MASKS = "images", "masks"
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy"})
ABILITIES = Abilities(max_class_id=65535, hierarchy=True)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    palette = dataset.classes.palette()
    yield classes_member(dataset)
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        yield from picture_member(sample, IMAGES)
        yield Member(f"{MASKS}/{sample.stem}.png", to_png(labels_HW, palette))
        report.done()


def picture_member(sample: Sample, folder: str) -> Iterator[Member]:
    """The sample's image file as it is, if it has one."""
    if sample.image is not None:
        yield Member(f"{folder}/{sample.stem}.{sample.image.extension}", sample.image.read())


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pairs of files, by name. Raises FormatError when there is no picture and no mask at all."""
    found_pairs = pairs(source)
    to_id = pixel_values(source, classes)
    for image, mask in found_pairs:
        yield Found(
            name=PurePosixPath(image or mask or "").name,
            image=None if image is None else partial(source.read, image, limits.max_bytes),
            image_file=image or "",
            labels=None if mask is None else partial(index_labels, source, mask, to_id, limits),
            labels_file=mask or "",
        )


def pairs(source: Source, suffixes: str = ".png") -> list[tuple[str | None, str | None]]:
    """(picture, mask) by folder and stem; one of the two may lack. Raises FormatError when there are none."""
    images, masks = _files(source.names())
    if not images and not masks:
        raise FormatError(f"the archive has no files {IMAGES}/<name> with {MASKS}/<name> ({suffixes})")
    return [(images.get(key), masks.get(key)) for key in sorted(images.keys() | masks.keys())]


def index_labels(
    source: Source, name: str, to_id: dict[int, int], limits: Limits, height: int, width: int
) -> LabelMap:
    """Class ids of an index image. Raises MaskError that names value and first pixel, or what is wrong."""
    return translated(read_label_image(source.read(name, limits.max_bytes), max_pixels=limits.max_pixels), to_id)


def is_hidden(path: PurePosixPath) -> bool:
    """What archivers add by themselves: __MACOSX/._x.png, .DS_Store."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _files(names: Iterable[str]) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """(images, masks): (folder without its own name, stem) -> file."""
    images: dict[tuple[str, str], str] = {}
    masks: dict[tuple[str, str], str] = {}
    for name in names:
        path = PurePosixPath(name)
        if is_hidden(path):
            continue
        for folder, suffixes, found in ((IMAGES, IMAGE_SUFFIXES, images), (MASKS, MASK_SUFFIXES, masks)):
            if path.suffix.lower() in suffixes and folder in path.parts[:-1]:
                at = path.parts.index(folder)
                # What is around the folder's own name pairs a/images/x.png with a/masks/x.tif.
                found["/".join((*path.parts[:at], *path.parts[at + 1 : -1])), path.stem] = name
    return images, masks


FORMAT = Format("index", "Index PNG", ABILITIES, write, read)
