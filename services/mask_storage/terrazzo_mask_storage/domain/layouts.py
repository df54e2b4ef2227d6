"""Where things lie in an archive: names of members for each format, and which names are safe to read.

    index        images/<stem>.<ext>  masks/<stem>.png                      classes.json
    coco         images/<stem>.<ext>  annotations.json                      classes.json
    cityscapes   leftImg8bit/<split>/<group>/<stem>_leftImg8bit.png
                 gtFine/<split>/<group>/<stem>_gtFine_labelIds.png          classes.json

An import of `index` also takes masks as .tif, .tiff and .npy; images and masks belong together by stem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

IMAGES, MASKS = "images", "masks"
CLASSES, ANNOTATIONS = "classes.json", "annotations.json"
LEFT, FINE = "_leftImg8bit", "_gtFine_labelIds"
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy"})
_ODD = re.compile(r"[^A-Za-z0-9._ -]+")


class Stems:
    """A stem for each sample's files: its name without folder and extension, made unique."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def stem_of(self, name: str, sample_id: str) -> str:
        base = PurePosixPath(name.replace("\\", "/")).name
        stem = _ODD.sub("_", base.rsplit(".", 1)[0] if "." in base[1:] else base).strip(" .")[:120]
        # Files systems that ignore case would let one file overwrite the other.
        if not stem or stem.lower() in self._taken:
            stem = f"{stem}_{sample_id[4:]}".lstrip("_")
        self._taken.add(stem.lower())
        return stem


def is_unsafe(name: str) -> bool:
    """True for a member's name that would leave the folder it is unpacked in ('zip slip')."""
    path = name.replace("\\", "/")
    return path.startswith("/") or re.match(r"^[A-Za-z]:", path) is not None or ".." in path.split("/")


@dataclass(frozen=True)
class Pair:
    """An image's member and its mask's (None: an image alone)."""

    image: str
    mask: str | None
    name: str


def index_pairs(names: Iterable[str]) -> tuple[list[Pair], list[str]]:
    """(pairs by name, masks without an image) of an `index` archive, whatever folder it lies in."""
    images: dict[tuple[str, str], str] = {}
    masks: dict[tuple[str, str], str] = {}
    for name in names:
        path = PurePosixPath(name)
        if _is_hidden(path):
            continue
        for folder, suffixes, found in ((IMAGES, IMAGE_SUFFIXES, images), (MASKS, MASK_SUFFIXES, masks)):
            if path.suffix.lower() in suffixes and folder in path.parts[:-1]:
                at = path.parts.index(folder)
                # What is around the folder's own name pairs a/images/x.png with a/masks/x.tif.
                found["/".join((*path.parts[:at], *path.parts[at + 1 : -1])), path.stem] = name
    pairs = [Pair(name, masks.get(key), PurePosixPath(name).name) for key, name in sorted(images.items())]
    return pairs, sorted(name for key, name in masks.items() if key not in images)


def cityscapes_pairs(names: Iterable[str]) -> tuple[list[Pair], list[str]]:
    """(pairs by name, masks without an image) of a `cityscapes` archive."""
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if _is_hidden(path):
            continue
        if path.stem.endswith(LEFT):
            images["/".join((*path.parts[-3:-1], path.stem.removesuffix(LEFT)))] = name
        elif path.stem.endswith(FINE) and path.suffix.lower() == ".png":
            masks["/".join((*path.parts[-3:-1], path.stem.removesuffix(FINE)))] = name
    pairs = [
        Pair(name, masks.get(key), PurePosixPath(key).name + PurePosixPath(name).suffix)
        for key, name in sorted(images.items())
    ]
    return pairs, sorted(name for key, name in masks.items() if key not in images)


def _is_hidden(path: PurePosixPath) -> bool:
    """What archivers add by themselves: __MACOSX/._x.png, .DS_Store."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
