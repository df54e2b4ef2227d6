"""Sliding windows: an image of any size through a model that takes limited, stride-aligned input.

The image is covered by overlapping windows of one size. Each window's class probabilities (softmax of
its logits) are averaged with weights that fall off linearly towards the window's edge, where a
convolutional network sees least context (the overlap-tile strategy of Ronneberger et al. 2015, U-Net,
section 2, with blending). The weights are normalised per pixel, so a pointwise model gives the same
windowed as whole. Where the image is no multiple of the stride it is mirrored beyond its edges, the
edge pixel included, so an image of one pixel has a mirror image too.

Rows are handed out as soon as no later window covers them: what is held is one band of windows, not the
image. Legend: N windows in a batch, K classes, C colour channels, H x W pixels of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_inference.domain.errors import BadOutput

Floats: TypeAlias = NDArray[np.float32]
Predict: TypeAlias = Callable[[Floats], Floats]
"""images_NCHW float32 RGB 0..255 -> logits_NKHW float32."""


@dataclass(frozen=True)
class WindowGrid:
    """Where the windows lie: every (top, left) of `tops` x `lefts`, all `height_px` x `width_px`."""

    image_height_px: int
    image_width_px: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    height_px: int
    width_px: int

    @property
    def num_windows(self) -> int:
        return len(self.tops) * len(self.lefts)


@dataclass(frozen=True)
class Band:
    """Finished rows: `probabilities_KHW` float32, sums to 1 over K, of image rows top..top+H."""

    top: int
    probabilities_KHW: Floats


def plan(height_px: int, width_px: int, *, tile_px: int, overlap_px: int, stride_px: int) -> WindowGrid:
    """The windows of an image of `height_px` x `width_px`.

    As few windows as `tile_px` allows, overlapping by `overlap_px` or more. Their sides are multiples of
    `stride_px`, at most `tile_px` rounded up to one, and no longer than needed: 520 pixels are covered
    by two windows of 320, not of 512. A side shorter than a tile has one window, which may reach over
    the edge by less than a stride.

    Raises ValueError for an image without pixels, or when 0 <= overlap_px < tile_px does not hold.
    """
    if height_px < 1 or width_px < 1:
        raise ValueError(f"an image of {height_px} x {width_px} pixels has nothing to predict")
    if stride_px < 1 or not 0 <= overlap_px < tile_px:
        raise ValueError(
            f"tile_px {tile_px}, overlap_px {overlap_px}, stride_px {stride_px}: the overlap must be in "
            "0..tile_px - 1, the stride 1 or more"
        )
    tops, tall_px = _starts(height_px, tile_px, overlap_px, stride_px)
    lefts, wide_px = _starts(width_px, tile_px, overlap_px, stride_px)
    return WindowGrid(height_px, width_px, tops, lefts, tall_px, wide_px)


def _starts(length: int, tile_px: int, overlap_px: int, stride_px: int) -> tuple[tuple[int, ...], int]:
    """Starts of the windows along an axis, and their common size."""
    count = 1 if length <= tile_px else math.ceil((length - overlap_px) / (tile_px - overlap_px))
    size = math.ceil((length + (count - 1) * overlap_px) / count / stride_px) * stride_px
    if count == 1 or size >= length:
        return (0,), math.ceil(length / stride_px) * stride_px
    return tuple(round(i * (length - size) / (count - 1)) for i in range(count)), size


def slide(
    image_HWC: NDArray[np.uint8], predict: Predict, grid: WindowGrid, *, windows_per_batch: int = 4
) -> Iterator[Band]:
    """Predict an image window by window; yield its rows from top to bottom, each once.

    `image_HWC` is uint8 RGB of the grid's size. `predict` gets float32 batches of at most
    `windows_per_batch` windows of one row of the grid. Holds K x window height x image width floats.

    Raises BadOutput when `predict` answers with another shape than its input's, or not finite.
    """
    assert image_HWC.shape[:2] == (grid.image_height_px, grid.image_width_px)
    rows_H = _normalised_weights(grid.tops, grid.height_px)
    columns_W = _normalised_weights(grid.lefts, grid.width_px)
    band_KHW: Floats | None = None
    for row, top in enumerate(grid.tops):
        for first in range(0, len(grid.lefts), windows_per_batch):
            lefts = grid.lefts[first : first + windows_per_batch]
            batch_NCHW = np.stack([_window(image_HWC, grid, top, left) for left in lefts])
            probabilities_NKHW = softmax(_checked(predict(batch_NCHW), batch_NCHW))
            if band_KHW is None:
                band_KHW = np.zeros(
                    (probabilities_NKHW.shape[1], grid.height_px, _covered(grid.lefts, grid.width_px)), np.float32
                )
            for index, left in enumerate(lefts):
                weights_HW = rows_H[row][:, None] * columns_W[first + index][None, :]
                band_KHW[:, :, left : left + grid.width_px] += probabilities_NKHW[index] * weights_HW
        assert band_KHW is not None
        is_last = row == len(grid.tops) - 1
        done = (grid.image_height_px if is_last else grid.tops[row + 1]) - top
        yield Band(top, band_KHW[:, :done, : grid.image_width_px].copy())
        if not is_last:
            kept = grid.height_px - done
            band_KHW[:, :kept] = band_KHW[:, done:].copy()
            band_KHW[:, kept:] = 0.0


def softmax(logits_NKHW: Floats) -> Floats:
    """Probabilities over axis 1, float32, each sum 1. Overwrites its input."""
    logits_NKHW -= logits_NKHW.max(axis=1, keepdims=True)
    np.exp(logits_NKHW, out=logits_NKHW)
    logits_NKHW /= logits_NKHW.sum(axis=1, keepdims=True)
    return logits_NKHW


def _window(image_HWC: NDArray[np.uint8], grid: WindowGrid, top: int, left: int) -> Floats:
    """One window as float32 (C, H, W), mirrored where it reaches over the image's lower or right edge."""
    part_HWC = image_HWC[top : top + grid.height_px, left : left + grid.width_px]
    below = grid.height_px - part_HWC.shape[0]
    beside = grid.width_px - part_HWC.shape[1]
    if below or beside:
        part_HWC = np.pad(part_HWC, ((0, below), (0, beside), (0, 0)), mode="symmetric")
    return part_HWC.transpose(2, 0, 1).astype(np.float32)


def _checked(logits_NKHW: Floats, batch_NCHW: Floats) -> Floats:
    if (
        logits_NKHW.ndim != 4
        or logits_NKHW.shape[0] != batch_NCHW.shape[0]
        or (logits_NKHW.shape[2:] != batch_NCHW.shape[2:])
    ):
        raise BadOutput(
            f"the model answered an input of {batch_NCHW.shape} with logits of {logits_NKHW.shape}; they must "
            "have its batch, height and width"
        )
    if not np.isfinite(logits_NKHW).all():
        raise BadOutput("the model answered with logits that are not finite (NaN or infinity)")
    return np.array(logits_NKHW, dtype=np.float32)  # a copy: softmax overwrites it


def _covered(starts: tuple[int, ...], size: int) -> int:
    return starts[-1] + size


def _normalised_weights(starts: tuple[int, ...], size: int) -> list[Floats]:
    """For each window along an axis its weights (size,), which sum to 1 over the windows at each pixel."""
    positions = np.arange(size, dtype=np.float64) + 0.5
    tent = np.minimum(positions, size - positions) / size
    total = np.zeros(_covered(starts, size))
    for start in starts:
        total[start : start + size] += tent
    return [(tent / total[start : start + size]).astype(np.float32) for start in starts]
