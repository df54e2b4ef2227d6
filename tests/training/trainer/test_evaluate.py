"""Sliding windows and the figures that follow from confusion counts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import ArraySource
from terrazzo_training.trainer.evaluate import evaluate, measures, predict, windows
from terrazzo_training.trainer.networks import Segmenter
from terrazzo_training.trainer.processes import Processes

Make = Callable[..., RunConfig]
_ALONE = Processes(rank=0, world=1, device=torch.device("cpu"))


class Pointwise(nn.Module):
    """Class = the brightest of three channels: a model whose answer cannot depend on windows."""

    stride_px, embedding_dim, class_layer = 32, 1, "scale"

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image * self.scale, image.mean(dim=(1, 2, 3))[:, None]


class _Plain(nn.Module):
    """A segmenter without normalisation around ``Pointwise``."""

    stride_px = 32

    def __init__(self) -> None:
        super().__init__()
        self.inner = Pointwise()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = self.inner(image)
        return logits, embedding


@pytest.mark.parametrize(("height", "width"), [(70, 50), (200, 333), (129, 64), (1, 1)])
def test_windows_change_nothing_for_a_pointwise_model(make_config: Make, height: int, width: int) -> None:
    image_HWC = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    config = make_config(eval_tile_px=96, eval_overlap_px=32)
    predicted_HW = predict(cast(Segmenter, _Plain()), image_HWC, config)
    assert np.array_equal(predicted_HW, image_HWC.argmax(axis=2))


@pytest.mark.parametrize("length", [1, 64, 255, 256, 257, 520, 1388, 4000])
@pytest.mark.parametrize(("tile_px", "overlap_px"), [(256, 64), (512, 0), (512, 128)])
def test_windows_cover_the_axis_and_overlap_enough(length: int, tile_px: int, overlap_px: int) -> None:
    starts, size = windows(length, tile_px, overlap_px, 32)
    assert size % 32 == 0
    assert size <= tile_px
    assert starts[0] == 0
    assert starts[-1] + size >= length
    assert all(b - a <= size - overlap_px for a, b in pairwise(starts))
    assert len(starts) == 1 or starts[-1] + size == length


def test_figures_of_a_small_confusion_by_hand(make_config: Make) -> None:
    tree = ClassTree.of(make_config().classes)  # leaves 1 ground, 2 disc, 3 bar; inner 10 thing
    counts = np.array([[50, 0, 0], [10, 20, 10], [0, 0, 0], [2, 5, 3]])
    figures = measures(counts, tree)
    assert figures["iou_per_class"] == {"1": 50 / 60, "2": 20 / 40, "3": 0.0}
    assert figures["miou"] == pytest.approx((50 / 60 + 20 / 40) / 2)  # no pixel of the truth is a bar
    assert figures["pixel_accuracy"] == 70 / 90
    root = figures["levels"][0]
    assert root["iou_per_class"] == {"1": 50 / 62, "10": 38 / 50}
    assert root["pixel_accuracy"] == 88 / 100
    assert figures["levels"][1]["iou_per_class"] == figures["iou_per_class"]


def test_a_class_that_nobody_saw_has_no_figure(make_config: Make) -> None:
    figures = measures(np.diag([5, 5, 0, 0])[:, :3], ClassTree.of(make_config().classes))
    assert figures["iou_per_class"]["3"] is None
    assert figures["miou"] == 1.0
    empty = measures(np.zeros((4, 3), dtype=np.int64), ClassTree.of(make_config().classes))
    assert empty["miou"] is None


def test_unlabelled_pixels_of_the_truth_do_not_count(make_config: Make) -> None:
    image_HWC = np.zeros((40, 40, 3), dtype=np.uint8)
    image_HWC[..., 0] = 200  # predicted: channel 0, class 1
    labels_HW = np.zeros((40, 40), dtype=np.uint16)
    labels_HW[:10] = 1
    figures = evaluate(
        cast(Segmenter, _Plain()), ArraySource(["a"], [image_HWC], [labels_HW]),
        ClassTree.of(make_config().classes), make_config(), _ALONE,
    )  # fmt: skip
    assert figures["num_pixels"] == 400
    assert figures["miou"] == 1.0
