"""Calibration undoes as much of the class weights as serves mIoU, and never looks at held-out samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from terrazzo_training.trainer.calibrate import TAUS, calibrate
from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import ClassSpec, RunConfig
from terrazzo_training.trainer.data import ArraySource
from terrazzo_training.trainer.evaluate import predict
from terrazzo_training.trainer.networks import Segmenter
from terrazzo_training.trainer.processes import Processes
from terrazzo_training.trainer.run import run

Make = Callable[..., RunConfig]
_ALONE = Processes(rank=0, world=1, device=torch.device("cpu"))
_TREE = ClassTree.of((ClassSpec(1, "common"), ClassSpec(2, "rare")))


class Weighted(nn.Module):
    """Answers with probabilities in proportion to w_c p(c | x); p(rare | x) = red / 255, known exactly."""

    stride_px, embedding_dim, class_layer = 32, 1, "classify"

    def __init__(self, weights_K: np.ndarray) -> None:
        super().__init__()
        self.classify = nn.Conv2d(2, 2, 1)
        with torch.no_grad():
            self.classify.weight.copy_(torch.eye(2)[:, :, None, None])
            self.classify.bias.copy_(torch.from_numpy(np.log(weights_K)))  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        rare = (image[:, :1] / 255.0).clamp(1e-4, 1 - 1e-4)
        return self.classify(torch.log(torch.cat([1 - rare, rare], dim=1))), image.mean(dim=(1, 2, 3))[:, None]


def scene(count: int) -> ArraySource:
    """Images whose red channel is the true probability of the rare class, and labels drawn from it."""
    rng = np.random.default_rng(3)
    red_NHW = rng.choice([10, 40, 90, 230], p=[0.6, 0.2, 0.15, 0.05], size=(count, 64, 64))
    images = [np.repeat(red_HW[..., None], 3, axis=2).astype(np.uint8) for red_HW in red_NHW]
    labels = [(1 + (rng.random(red_HW.shape) < red_HW / 255.0)).astype(np.uint16) for red_HW in red_NHW]
    return ArraySource([f"s{i}" for i in range(count)], images, labels)


@pytest.mark.parametrize("strength", [1.0, 4.0, 30.0])
def test_the_chosen_tau_is_the_best_of_all_for_miou(make_config: Make, strength: float) -> None:
    weights_K = np.array([1.0, strength])
    source, config = scene(4), make_config()
    model = cast(Segmenter, Weighted(weights_K))
    tau = calibrate(model, source, _TREE, weights_K, config, _ALONE)
    chosen = _miou(model, source, config)
    for other in TAUS:
        moved = Weighted(weights_K ** (1.0 - other))
        assert chosen >= _miou(cast(Segmenter, moved), source, config) - 1e-3
    if strength == 1.0:
        assert tau == 0.0
    if strength == 30.0:
        assert tau > 0.0


def _miou(model: Segmenter, source: ArraySource, config: RunConfig) -> float:
    truth = np.concatenate([source.labels(i).ravel() - 1 for i in range(len(source))])
    found = np.concatenate([predict(model, source.image(i), config).ravel() for i in range(len(source))])
    return float(
        np.mean([((truth == k) & (found == k)).sum() / ((truth == k) | (found == k)).sum() for k in (0, 1)])
    )


def test_equal_weights_leave_the_model_as_it_is(make_config: Make) -> None:
    model = cast(Segmenter, Weighted(np.array([1.0, 30.0])))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert calibrate(model, scene(2), _TREE, np.ones(2), make_config(), _ALONE) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_run_says_its_tau_and_exports_the_calibrated_model(
    make_config: Make, tmp_path: Path, shapes: ArraySource
) -> None:
    config = make_config(epochs=1, steps_per_epoch=2)
    run(config, shapes, None, out=tmp_path, processes=_ALONE, emit=lambda _: None, stop=Event())
    assert json.loads((tmp_path / "metrics.json").read_text())["calibration_tau"] in TAUS
