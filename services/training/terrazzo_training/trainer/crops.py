"""Random crops as a pure function of (seed, step, place in the batch).

No sampler state exists: the crop at place g of step k is drawn from a generator that is seeded with
(seed, k, g). So neither the number of processes, nor prefetching, nor a stop and resume can change
what is learnt from.

Legend: N crops of S x S pixels cut from images of H x W pixels, C = 3 (RGB).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_training.trainer.class_tree import IGNORE, ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import SampleSource

_ORDER_STREAM, _CROP_STREAM, _PLACES_STREAM = 1, 2, 3
_PLACES_PER_CLASS = 64


@dataclass(frozen=True)
class Batch:
    """Crops of one process for one step: float32 (N, 3, S, S) in 0..255 and int64 (N, S, S) targets."""

    images_NCHW: NDArray[np.float32]
    targets_NHW: NDArray[np.int64]
    sample_ids: tuple[str, ...]


class CropSampler:
    """Cuts the batches of one process (``rank`` of ``world``) out of a source.

    Over the places of all processes and steps the samples come in passes, each pass a permutation of
    all samples, so that every sample is seen as often as any other.
    """

    def __init__(self, source: SampleSource, tree: ClassTree, config: RunConfig, *, rank: int, world: int) -> None:
        self._source, self._tree, self._config = source, tree, config
        self._places = range(rank * config.batch_size // world, (rank + 1) * config.batch_size // world)
        self._class_pixels: dict[int, list[NDArray[np.int32]]] = {}

    def batch(self, step: int) -> Batch:
        """Return the crops of this process at ``step`` (from 0). Pure in (config, source, step, rank, world)."""
        crops = [self._crop(step, place) for place in self._places]
        return Batch(
            images_NCHW=np.stack([image for image, _, _ in crops]),
            targets_NHW=np.stack([targets for _, targets, _ in crops]),
            sample_ids=tuple(sample_id for _, _, sample_id in crops),
        )

    def _crop(self, step: int, place: int) -> tuple[NDArray[np.float32], NDArray[np.int64], str]:
        index = self._index_at(step * self._config.batch_size + place)
        rng = np.random.default_rng([self._config.seed, _CROP_STREAM, step, place])
        image_HWC, labels_HW = self._source.image(index), self._source.labels(index)
        sample_id = self._source.sample_id(index)
        height, width = labels_HW.shape
        scale = np.exp(rng.uniform(np.log(self._config.scale_min), np.log(self._config.scale_max)))
        centre = self._class_pixel(index, labels_HW, sample_id, rng)
        ys = _axis_positions(height, self._config.crop_px, scale, centre[0] if centre else None, rng)
        xs = _axis_positions(width, self._config.crop_px, scale, centre[1] if centre else None, rng)
        image_SSC, labels_SS = resample(image_HWC, labels_HW, ys, xs)
        image_SSC, labels_SS = _turn(image_SSC, labels_SS, rng, any_orientation=self._config.orientation == "any")
        image_SSC = _jitter_colour(image_SSC, self._config.colour_jitter, rng)
        targets_SS = self._tree.targets(labels_SS, f"sample {sample_id}").astype(np.int64)
        return np.ascontiguousarray(image_SSC.transpose(2, 0, 1)), targets_SS, sample_id

    def _index_at(self, position: int) -> int:
        turn, place = divmod(position, len(self._source))
        order = np.random.default_rng([self._config.seed, _ORDER_STREAM, turn]).permutation(len(self._source))
        return int(order[place])

    def _class_pixel(
        self, index: int, labels_HW: NDArray[np.uint16], sample_id: str, rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """Return a pixel (y, x) of an evenly drawn class for the configured share of crops, else None."""
        if rng.random() >= self._config.class_crop_share:
            return None
        if index not in self._class_pixels:
            self._class_pixels[index] = self._find_class_pixels(labels_HW, sample_id)
        by_class = self._class_pixels[index]
        if not by_class:
            return None
        pixels_P2 = by_class[int(rng.integers(len(by_class)))]
        y, x = pixels_P2[int(rng.integers(len(pixels_P2)))]
        return int(y), int(x)

    def _find_class_pixels(self, labels_HW: NDArray[np.uint16], sample_id: str) -> list[NDArray[np.int32]]:
        rng = np.random.default_rng([self._config.seed, _PLACES_STREAM, *sample_id.encode()])
        targets_HW = self._tree.targets(labels_HW, f"sample {sample_id}")
        found = []
        for target in np.unique(targets_HW):
            if target != IGNORE:
                flat = np.flatnonzero(targets_HW == target)
                chosen = flat[rng.integers(flat.size, size=_PLACES_PER_CLASS)]
                found.append(np.stack(np.unravel_index(chosen, targets_HW.shape), axis=1).astype(np.int32))
        return found


def _axis_positions(
    length: int, crop_px: int, scale: float, centre: int | None, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return where each of ``crop_px`` output pixels lies along an axis of ``length`` pixels.

    The window covers crop_px / scale pixels. It lies inside the axis where it fits, and the axis lies
    inside the window where it does not.
    """
    window = crop_px / scale
    low, high = min(0.0, length - window), max(0.0, length - window)
    if centre is None:
        start = rng.uniform(low, high)
    else:
        start = float(np.clip(centre + 0.5 - rng.uniform(0.2, 0.8) * window, low, high))
    return start + (np.arange(crop_px, dtype=np.float64) + 0.5) / scale - 0.5


def resample(
    image_HWC: NDArray[np.uint8],
    labels_HW: NDArray[np.uint16],
    ys: NDArray[np.float64],
    xs: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Sample image (bilinear, mirrored beyond its edge) and labels (nearest, 0 beyond) on a grid.

    Args:
        image_HWC: uint8 (H, W, 3).
        labels_HW: uint16 (H, W).
        ys, xs: pixel positions of the output's rows and columns; 0 is the centre of the first pixel.

    Returns:
        float32 (len(ys), len(xs), 3) in 0..255 and uint16 (len(ys), len(xs)).
    """
    height, width = labels_HW.shape
    y0, x0 = np.floor(ys).astype(np.int64), np.floor(xs).astype(np.int64)
    wy = (ys - y0).astype(np.float32)[:, None, None]
    wx = (xs - x0).astype(np.float32)[None, :, None]
    x_left, x_right = _mirror(x0, width), _mirror(x0 + 1, width)
    first = min(x_left.min(), x_right.min())
    window = image_HWC[:, first : max(x_left.max(), x_right.max()) + 1]
    top = window.take(_mirror(y0, height), axis=0).astype(np.float32)
    bottom = window.take(_mirror(y0 + 1, height), axis=0).astype(np.float32)
    rows = top + (bottom - top) * wy
    left, right = rows.take(x_left - first, axis=1), rows.take(x_right - first, axis=1)
    image = left + (right - left) * wx

    ny, nx = np.floor(ys + 0.5).astype(np.int64), np.floor(xs + 0.5).astype(np.int64)
    labels = labels_HW[np.clip(ny, 0, height - 1)][:, np.clip(nx, 0, width - 1)]
    inside = ((ny >= 0) & (ny < height))[:, None] & ((nx >= 0) & (nx < width))[None, :]
    return image, np.where(inside, labels, np.uint16(0))


def _mirror(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Fold positions into 0..length-1, the edge pixel repeated (numpy's ``symmetric``)."""
    folded = positions % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def _turn(
    image_SSC: NDArray[np.float32],
    labels_SS: NDArray[np.uint16],
    rng: np.random.Generator,
    *,
    any_orientation: bool,
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    mirrored, quarters = bool(rng.integers(2)), int(rng.integers(4))
    if mirrored:
        image_SSC, labels_SS = image_SSC[:, ::-1], labels_SS[:, ::-1]
    if any_orientation:
        image_SSC, labels_SS = np.rot90(image_SSC, quarters), np.rot90(labels_SS, quarters)
    return image_SSC, labels_SS


def _jitter_colour(
    image_SSC: NDArray[np.float32], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Scale brightness, contrast and saturation, each by exp(u) with u uniform in -strength..strength."""
    gain, contrast, saturation = np.exp(rng.uniform(-strength, strength, size=3)).astype(np.float32)
    if strength == 0.0:
        return image_SSC
    mean = image_SSC.mean(dtype=np.float64).astype(np.float32)
    grey_SS1 = ((image_SSC[..., 0] + image_SSC[..., 1] + image_SSC[..., 2]) / 3)[..., None]
    factor = contrast * gain
    jittered_SSC: NDArray[np.float32] = image_SSC * (saturation * factor) + grey_SS1 * ((1 - saturation) * factor)
    jittered_SSC += mean * (gain - factor)
    np.clip(jittered_SSC, 0.0, 255.0, out=jittered_SSC)
    return jittered_SSC
