"""Where samples come from, and which of them may be learnt from.

Legend: H x W pixels, C = 3 (RGB). Images are uint8 (H, W, 3), labels are uint16 (H, W) class ids
(0 = unlabelled).
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terrazzo_schema.split import is_held_out
from terrazzo_training.trainer.errors import DataError

Image = NDArray[np.uint8]
Labels = NDArray[np.uint16]


class SampleSource(Protocol):
    """Labelled images by position. Safe to call from several threads."""

    def __len__(self) -> int: ...

    def sample_id(self, index: int) -> str: ...

    def image(self, index: int) -> Image:
        """Return uint8 (H, W, 3) RGB. Raises DataError when it cannot be read."""
        ...

    def labels(self, index: int) -> Labels:
        """Return uint16 (H, W) class ids of the image's size. Raises DataError when it cannot be read."""
        ...

    def counts(self, index: int) -> Mapping[int, int]:
        """Return the number of pixels of each class id in the labels (0 may be among them)."""
        ...


class ArraySource:
    """Samples that are in memory already."""

    def __init__(self, ids: Sequence[str], images: Sequence[Image], labels: Sequence[Labels]) -> None:
        if not len(ids) == len(images) == len(labels):
            raise DataError(f"{len(ids)} ids, {len(images)} images and {len(labels)} label maps: must be as many")
        for sample_id, image_HWC, labels_HW in zip(ids, images, labels, strict=True):
            check_sizes(sample_id, image_HWC, labels_HW)
        self._ids, self._images, self._labels = list(ids), list(images), list(labels)

    def __len__(self) -> int:
        return len(self._ids)

    def sample_id(self, index: int) -> str:
        return self._ids[index]

    def image(self, index: int) -> Image:
        return self._images[index]

    def labels(self, index: int) -> Labels:
        return self._labels[index]

    def counts(self, index: int) -> Mapping[int, int]:
        return count_pixels(self._labels[index])


class FolderSource:
    """``images/STEM.*`` with ``labels/STEM.png`` (pixel value + ``value_offset`` = class id).

    For benchmarks and for training without a running system. The sample id is the stem; the pixel
    values in ``unlabelled`` become 0.
    """

    def __init__(
        self, images: Path, labels: Path, *, value_offset: int = 0, unlabelled: frozenset[int] = frozenset({255})
    ) -> None:
        image_of = {p.stem: p for p in sorted(images.iterdir()) if p.is_file()}
        labels_of = {p.stem: p for p in sorted(labels.iterdir()) if p.is_file()}
        self._stems = sorted(image_of.keys() & labels_of.keys())
        if not self._stems:
            raise DataError(f"{images} and {labels} share no file stem; label maps are named like their images")
        self._image_of, self._labels_of = image_of, labels_of
        self._value_offset, self._unlabelled = value_offset, unlabelled

    def __len__(self) -> int:
        return len(self._stems)

    def sample_id(self, index: int) -> str:
        return self._stems[index]

    def image(self, index: int) -> Image:
        path = self._image_of[self._stems[index]]
        return decode_image(path.read_bytes(), str(path))

    def labels(self, index: int) -> Labels:
        from PIL import Image as PilImage

        path = self._labels_of[self._stems[index]]
        with PilImage.open(path) as file:
            values_HW = np.asarray(file)
        if values_HW.ndim != 2:
            raise DataError(f"{path}: shape {values_HW.shape} is no index image; one channel is needed")
        labels_HW = values_HW.astype(np.uint16) + np.uint16(self._value_offset)
        labels_HW[np.isin(values_HW, list(self._unlabelled))] = 0
        return labels_HW

    def counts(self, index: int) -> Mapping[int, int]:
        return count_pixels(self.labels(index))


class Subset:
    """The samples of a source at the given positions."""

    def __init__(self, source: SampleSource, indices: Sequence[int]) -> None:
        self._source, self._indices = source, list(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def sample_id(self, index: int) -> str:
        return self._source.sample_id(self._indices[index])

    def image(self, index: int) -> Image:
        return self._source.image(self._indices[index])

    def labels(self, index: int) -> Labels:
        return self._source.labels(self._indices[index])

    def counts(self, index: int) -> Mapping[int, int]:
        return self._source.counts(self._indices[index])


class CachedSource:
    """Keeps decoded samples in memory up to ``budget_bytes``; the longest unused go first.

    Sizes are compared when a sample is read, so that a label map of another size than its image
    stops the run before it is learnt from.
    """

    def __init__(self, source: SampleSource, budget_bytes: int) -> None:
        self._source, self._budget_bytes = source, budget_bytes
        self._kept: OrderedDict[int, tuple[Image, Labels]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._source)

    def sample_id(self, index: int) -> str:
        return self._source.sample_id(index)

    def image(self, index: int) -> Image:
        return self._sample(index)[0]

    def labels(self, index: int) -> Labels:
        return self._sample(index)[1]

    def counts(self, index: int) -> Mapping[int, int]:
        return self._source.counts(index)

    def _sample(self, index: int) -> tuple[Image, Labels]:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        sample = (self._source.image(index), self._source.labels(index))
        check_sizes(self.sample_id(index), *sample)
        with self._lock:
            if index not in self._kept:
                self._kept[index] = sample
                self._kept_bytes += _num_bytes(sample)
            while self._kept_bytes > self._budget_bytes and len(self._kept) > 1:
                self._kept_bytes -= _num_bytes(self._kept.popitem(last=False)[1])
        return sample


def _num_bytes(sample: tuple[Image, Labels]) -> int:
    return sample[0].nbytes + sample[1].nbytes


def split_held_out(source: SampleSource, percent: int) -> tuple[Subset, Subset]:
    """Return (training, held-out) samples, in the order of their ids.

    The rule is ``terrazzo_schema.split.is_held_out``: a stable hash of the id, the same in every
    service, run and version. A held-out sample is never trained on, even when the commit holds it.
    The order by id makes a run independent of the order in which a source lists its samples.
    """
    by_id = sorted(range(len(source)), key=source.sample_id)
    held_out = [i for i in by_id if is_held_out(source.sample_id(i), percent)]
    training = [i for i in by_id if not is_held_out(source.sample_id(i), percent)]
    return Subset(source, training), Subset(source, held_out)


def decode_image(data: bytes, where: str) -> Image:
    """Decode image bytes to uint8 (H, W, 3) RGB.

    16-bit greyscale is divided by 257; alpha is dropped; EXIF orientation is not applied, since label
    maps lie on the stored pixel grid.

    Raises:
        DataError: the bytes are no image that can be read; names ``where``.
    """
    from PIL import Image as PilImage

    try:
        with PilImage.open(io.BytesIO(data)) as file:
            if file.mode.startswith("I"):
                grey_HW = np.asarray(file).astype(np.float32) / 257.0
                return np.repeat(np.clip(grey_HW + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError, SyntaxError, PilImage.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable image ({error})") from error


def count_pixels(labels_HW: Labels) -> dict[int, int]:
    """Return class id -> number of pixels."""
    class_ids, pixels = np.unique(labels_HW, return_counts=True)
    return {int(class_id): int(count) for class_id, count in zip(class_ids, pixels, strict=True)}


def check_sizes(sample_id: str, image_HWC: Image, labels_HW: Labels) -> None:
    """Raise DataError unless labels and image have the same height and width."""
    if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.dtype != np.uint8:
        raise DataError(
            f"sample {sample_id}: image is {image_HWC.dtype} {image_HWC.shape}, must be uint8 (H, W, 3)"
        )
    if labels_HW.shape != image_HWC.shape[:2]:
        raise DataError(
            f"sample {sample_id}: labels are {labels_HW.shape}, image is {image_HWC.shape[:2]} (height, width); "
            "they must be of one size"
        )
