"""A small, learnable data set for the trainer's tests: coloured shapes on a noisy ground."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import ArraySource, Image, Labels

# thing (10) > disc (2), bar (3); ground (1); ids with gaps and not in channel order of the tree
CLASSES = [
    {"id": 10, "name": "thing", "parent_id": None},
    {"id": 2, "name": "disc", "parent_id": 10},
    {"id": 3, "name": "bar", "parent_id": 10},
    {"id": 1, "name": "ground", "parent_id": None},
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are rounded in the order of the threads; one thread makes them the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def make_config() -> Callable[..., RunConfig]:
    """``make_config(**fields)`` -> a tiny run: 2 epochs of 5 steps of 4 crops of 64 pixels."""

    def make(**fields: Any) -> RunConfig:
        base: dict[str, Any] = {
            "run_id": "run_test", "project_id": "prj_test", "commit_id": "c0ffee", "classes": CLASSES,
            "arch": "unet_small", "epochs": 2, "steps_per_epoch": 5, "batch_size": 4, "crop_px": 64,
            "num_workers": 0, "warmup_steps": 2, "learning_rate": 4e-3, "held_out_percent": 20,
        }  # fmt: skip
        return RunConfig.from_dict(base | fields)

    return make


def shapes_sample(seed: int, height: int = 72, width: int = 88) -> tuple[Image, Labels]:
    """Return an image uint8 (H, W, 3) and labels uint16 (H, W) with a disc, a bar and an unlabelled strip."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    labels_HW = np.full((height, width), 1, dtype=np.uint16)
    labels_HW[(ys - rng.integers(20, 50)) ** 2 + (xs - rng.integers(20, 60)) ** 2 < 144] = 2
    labels_HW[:, (top := int(rng.integers(5, 75))) : top + 6] = 3
    colours = np.zeros((11, 3))
    colours[[1, 2, 3]] = [[90, 100, 90], [200, 80, 60], [60, 70, 190]]
    image_HWC = colours[labels_HW] + rng.normal(0, 12, (height, width, 3))
    labels_HW[:4] = 0
    return np.clip(image_HWC, 0, 255).astype(np.uint8), labels_HW


@pytest.fixture(scope="session")
def shapes() -> ArraySource:
    """Twenty samples named shape-00 .. shape-19."""
    samples = [shapes_sample(seed) for seed in range(20)]
    return ArraySource([f"shape-{i:02}" for i in range(20)], [s[0] for s in samples], [s[1] for s in samples])


@pytest.fixture(scope="session")
def shapes_folder(shapes: ArraySource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same samples as files: ``images/*.png`` and ``labels/*.png``."""
    from PIL import Image as PilImage

    folder = tmp_path_factory.mktemp("shapes")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for index in range(len(shapes)):
        stem = shapes.sample_id(index)
        PilImage.fromarray(shapes.image(index)).save(folder / "images" / f"{stem}.png")
        PilImage.fromarray(shapes.labels(index).astype(np.uint8)).save(folder / "labels" / f"{stem}.png")
    return folder
