"""From class probabilities to what is kept: the label map, its uncertainty, the image's embedding.

Legend: K classes, H x W pixels, N windows, D length of an embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_inference.domain.windows import Band

LabelMap: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class ClassSummary:
    """Over the pixels that were given this class: their share of the image, mean entropy and margin, 0..1."""

    class_id: int
    share: float
    entropy: float
    margin: float


@dataclass(frozen=True)
class Summary:
    """A predicted image. `classes` lists the classes that occur, by id; the means are over all pixels."""

    labels_HW: LabelMap
    entropy_mean: float
    margin_mean: float
    classes: tuple[ClassSummary, ...]


class Summarizer:
    """Takes the bands of one image and adds them up; holds the label map only.

    `class_ids` are the ids of the model's channels, in order. The label map is uint8 where all ids fit,
    else uint16. Entropy is that of the class distribution over log K (0: certain, 1: all equal);
    margin is the first probability minus the second (1: certain, 0: a tie). A tie goes to the first channel.
    """

    def __init__(self, height_px: int, width_px: int, class_ids: tuple[int, ...]) -> None:
        self._id_of_K = _smallest(class_ids)
        self._labels_HW: LabelMap = np.zeros((height_px, width_px), dtype=self._id_of_K.dtype)
        self._pixels_K = np.zeros(len(class_ids), dtype=np.int64)
        self._entropy_K = np.zeros(len(class_ids))
        self._margin_K = np.zeros(len(class_ids))

    def add(self, band: Band) -> None:
        probabilities_KHW = band.probabilities_KHW
        num_classes, height, width = probabilities_KHW.shape
        winner_HW, margin_HW = _winner_and_margin(probabilities_KHW)
        entropy_HW = _entropy(probabilities_KHW)
        self._labels_HW[band.top : band.top + height, :width] = self._id_of_K[winner_HW]
        flat = winner_HW.ravel()
        self._pixels_K += np.bincount(flat, minlength=num_classes)
        self._entropy_K += np.bincount(flat, weights=entropy_HW.ravel(), minlength=num_classes)
        self._margin_K += np.bincount(flat, weights=margin_HW.ravel(), minlength=num_classes)

    def finish(self) -> Summary:
        num_pixels = int(self._pixels_K.sum())
        assert num_pixels == self._labels_HW.size, "every row is added once"
        classes = [
            ClassSummary(
                class_id=int(self._id_of_K[k]),
                share=_share(self._pixels_K[k] / num_pixels),
                entropy=_share(self._entropy_K[k] / self._pixels_K[k]),
                margin=_share(self._margin_K[k] / self._pixels_K[k]),
            )
            for k in np.flatnonzero(self._pixels_K)
        ]
        return Summary(
            labels_HW=self._labels_HW,
            entropy_mean=_share(self._entropy_K.sum() / num_pixels),
            margin_mean=_share(self._margin_K.sum() / num_pixels),
            classes=tuple(sorted(classes, key=lambda c: c.class_id)),
        )


def _smallest(class_ids: tuple[int, ...]) -> LabelMap:
    if max(class_ids) <= 255:
        return np.array(class_ids, dtype=np.uint8)
    return np.array(class_ids, dtype=np.uint16)


def _winner_and_margin(probabilities_KHW: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The most probable channel of each pixel, and by how much. One pass over the channels, no sorting."""
    winner_HW = np.zeros(probabilities_KHW.shape[1:], dtype=np.intp)
    first_HW = probabilities_KHW[0].copy()
    second_HW = np.zeros_like(first_HW)
    for channel in range(1, len(probabilities_KHW)):
        current_HW = probabilities_KHW[channel]
        better_HW = current_HW > first_HW
        np.maximum(second_HW, np.minimum(current_HW, first_HW), out=second_HW)
        np.maximum(first_HW, current_HW, out=first_HW)
        winner_HW[better_HW] = channel
    return winner_HW, first_HW - second_HW


def _entropy(probabilities_KHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy over log K, float32 (H, W); 0 for a model of one class, which can't be uncertain."""
    num_classes = len(probabilities_KHW)
    if num_classes == 1:
        return np.zeros(probabilities_KHW.shape[1:], dtype=np.float32)
    entropy_HW: NDArray[np.float32] = np.zeros(probabilities_KHW.shape[1:], dtype=np.float32)
    for probability_HW in probabilities_KHW:
        logarithm_HW = np.log(np.maximum(probability_HW, np.float32(1e-30)))
        np.subtract(entropy_HW, probability_HW * logarithm_HW, out=entropy_HW)
    np.divide(entropy_HW, np.float32(math.log(num_classes)), out=entropy_HW)
    return entropy_HW


def _share(value: float) -> float:
    """Rounding may lead a hair outside 0..1."""
    return min(1.0, max(0.0, float(value)))


def image_embedding(embeddings_ND: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean over all windows of an image, scaled to length 1; float32 (D,). All zeros stay zeros."""
    mean_D = np.concatenate(embeddings_ND).mean(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(mean_D))
    unit_D: NDArray[np.float32] = (mean_D / norm if norm > 0.0 else mean_D).astype(np.float32)
    return unit_D
