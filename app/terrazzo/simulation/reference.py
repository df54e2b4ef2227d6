"""Reference masks from a folder: what `--images DIR --truth DIR [--ontology FILE]` reads.

Axes: H rows, W columns. *Values* are the pixel values of a file, *class ids* those of the ontology; 0 as a class
id is unlabelled.

Errors:
    ReferenceFolderError (ValueError)
      +- MissingPartner     an image without a mask, or a mask without an image
      +- DuplicateStem      two files of one stem in one folder
      +- SizeMismatch       a mask of another size than its image
      +- UnreadableFile     a file that is no image, or a mask that is no index image
      +- UnclaimedValue     a pixel value that no class of the ontology claims
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy"})
MAX_PIXELS = 2**28
_UNLABELLED_WITHOUT_ONTOLOGY = 255
_CLASS_ID_MAX = 65534
_NAMES_SHOWN = 8


class ReferenceFolderError(ValueError):
    """The folder of images and masks cannot be used as it is."""


class MissingPartner(ReferenceFolderError):
    """An image without a mask, or a mask without an image."""


class DuplicateStem(ReferenceFolderError):
    """Two files of one stem in one folder."""


class SizeMismatch(ReferenceFolderError):
    """A mask of another size than its image."""


class UnreadableFile(ReferenceFolderError):
    """A file that is no image, or a mask that is no index image."""


class UnclaimedValue(ReferenceFolderError):
    """A pixel value that no class claims; `value`, `y` and `x` say which and where it is first."""

    def __init__(self, where: str, value: int, y: int, x: int, claimed: Collection[int]) -> None:
        self.where, self.value, self.y, self.x = where, value, y, x
        known = ", ".join(str(v) for v in sorted(claimed)[:20]) or "none"
        super().__init__(
            f"{where}: value {value} at pixel (y={y}, x={x}) is claimed by no class; the ontology's values are "
            f"{known}. Add a class with 'value: {value}', or list it under 'unlabelled'"
        )


@dataclass(frozen=True)
class ReferencePair:
    """An image and its mask; the size in pixels is that of both."""

    stem: str
    image_path: Path
    truth_path: Path
    height: int
    width: int


def find_pairs(images: Path, truth: Path) -> list[ReferencePair]:
    """Pair images and masks of two folders by stem, in order of stem; only headers are read.

    Hidden files and files of other suffixes are left aside. Raises MissingPartner, DuplicateStem, SizeMismatch
    or UnreadableFile, naming the files, and ReferenceFolderError when a folder is missing or empty.
    """
    image_of, mask_of = _by_stem(images, IMAGE_SUFFIXES), _by_stem(truth, MASK_SUFFIXES)
    if not image_of:
        raise ReferenceFolderError(f"{images}: no image found; expected files like name.png or name.tif")
    _require_partners(images, truth, set(image_of), set(mask_of))
    pairs, wrong = [], []
    for stem in sorted(image_of):
        image_hw, mask_hw = _size(image_of[stem]), _size(mask_of[stem])
        if image_hw != mask_hw:
            wrong.append(f"{mask_of[stem].name} is {_by(mask_hw)}, its image {_by(image_hw)}")
        pairs.append(ReferencePair(stem, image_of[stem], mask_of[stem], *image_hw))
    if wrong:
        raise SizeMismatch(f"masks and images differ in size (width x height): {_list(wrong)}")
    return pairs


def read_values(path: Path) -> LabelMap:
    """Pixel values (H, W) of an index PNG, palette PNG (indices), grayscale TIFF or .npy mask.

    Raises UnreadableFile, naming the file, when it is none of these.
    """
    from terrazzo_masks.errors import MaskError
    from terrazzo_masks.formats import read_label_image

    try:
        return read_label_image(path.read_bytes(), max_pixels=MAX_PIXELS)
    except MaskError as error:
        raise UnreadableFile(f"{path}: {error}") from error


def to_label_map(
    values_HW: NDArray[Any], value_to_id: Mapping[int, int], unlabelled: Collection[int], where: str
) -> NDArray[np.uint16]:
    """Class ids (H, W) uint16 of a mask's values (H, W), any unsigned integer dtype up to 65535.

    Values in `unlabelled`, and 0 unless a class claims it, become 0. A value that a class claims is that class
    even if it is listed as unlabelled too. Raises UnclaimedValue for any other value, with `where` (the file).
    """
    table = np.full(65536, -1, np.int32)
    table[[0, *(value for value in unlabelled if 0 <= value < 65536)]] = 0
    for value, class_id in value_to_id.items():
        table[value] = class_id
    labels_HW = table[values_HW]
    unclaimed_HW = labels_HW < 0
    if unclaimed_HW.any():
        y, x = (int(position) for position in np.unravel_index(int(unclaimed_HW.argmax()), values_HW.shape))
        raise UnclaimedValue(where, int(values_HW[y, x]), y, x, value_to_id.keys())
    return np.asarray(labels_HW, dtype=np.uint16)


def discover_values(paths: Iterable[Path], progress: Callable[[int], None] | None = None) -> set[int]:
    """Every pixel value that occurs in these masks; `progress(done)` is called after each file."""
    values: set[int] = set()
    for done, path in enumerate(paths, start=1):
        values.update(int(value) for value in np.unique(read_values(path)))
        if progress is not None:
            progress(done)
    return values


def ontology_from_values(values: Collection[int], name: str = "values") -> dict[str, Any]:
    """The ontology of masks that came without one: value v is the class `value-<v>` with id v + 1.

    255 means unlabelled. Raises ReferenceFolderError when no class is left, or when an id would be over 65534.
    """
    used = sorted(set(values) - {_UNLABELLED_WITHOUT_ONTOLOGY})
    if not used:
        raise ReferenceFolderError("the masks hold no value but 255 (unlabelled), so there is no class to learn")
    if used[-1] + 1 > _CLASS_ID_MAX:
        raise ReferenceFolderError(f"value {used[-1]} is too large for a class; give an ontology with --ontology")
    classes = [
        {"id": value + 1, "name": f"value-{value}", "color": _colour(index), "value": value}
        for index, value in enumerate(used)
    ]
    return {"name": name, "unlabelled": [_UNLABELLED_WITHOUT_ONTOLOGY], "classes": classes}


def _colour(index: int) -> str:
    """The index-th of a long row of colours of which neighbours differ clearly (golden-angle hues)."""
    hue = (0.58 + index * 0.618033988749895) % 1.0
    lightness, saturation = (0.5, 0.36, 0.66)[index % 3], (0.72, 0.5)[index // 3 % 2]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise ReferenceFolderError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in suffixes:
            continue
        if path.stem in found:
            raise DuplicateStem(
                f"{folder}: {found[path.stem].name} and {path.name} have one stem; keep one of them"
            )
        found[path.stem] = path
    return found


def _require_partners(images: Path, truth: Path, image_stems: set[str], mask_stems: set[str]) -> None:
    lonely = []
    if without_mask := sorted(image_stems - mask_stems):
        lonely.append(f"no mask in {truth} for {_list(without_mask)}")
    if without_image := sorted(mask_stems - image_stems):
        lonely.append(f"no image in {images} for {_list(without_image)}")
    if lonely:
        raise MissingPartner("; ".join(lonely))


def _size(path: Path) -> tuple[int, int]:
    """(height, width) from the header."""
    from PIL import Image, UnidentifiedImageError

    try:
        if path.suffix.lower() == ".npy":
            height, width = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return int(height), int(width)
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise UnreadableFile(f"{path}: not an image that can be read ({error})") from error


def _by(hw: tuple[int, int]) -> str:
    return f"{hw[1]}x{hw[0]}"


def _list(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
