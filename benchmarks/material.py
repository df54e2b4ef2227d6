"""Label maps to measure on: real ones where they are found, and the scene generator's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LabelMap = NDArray[Any]


@lru_cache(maxsize=8)
def scenes(num: int, height: int = 1024, width: int = 2048, first_seed: int = 0) -> tuple[LabelMap, ...]:
    """Generated street scenes, uint8 (H, W), some ten classes."""
    from terrazzo.simulation.scenes import generate_scene

    return tuple(generate_scene(seed, height, width).labels_HW for seed in range(first_seed, first_seed + num))


def many_classes(height: int = 1024, width: int = 2048, num_classes: int = 34, seed: int = 0) -> LabelMap:
    """A scene whose regions are given `num_classes` class ids: each connected region draws one."""
    from terrazzo_masks.geometry import label_components

    (labels_HW,) = scenes(1, height, width, first_seed=seed + 1_000)
    component_HW, class_N = label_components(labels_HW)
    ids_N = np.random.default_rng(seed).integers(1, num_classes + 1, class_N.size).astype(np.uint8)
    spread_HW: LabelMap = ids_N[component_HW]
    return spread_HW


def folder(path: Path, num_max: int | None = None) -> dict[str, LabelMap]:
    """Index PNGs of a folder by name, in order of name."""
    return {file.stem: np.asarray(Image.open(file)) for file in sorted(path.glob("*.png"))[:num_max]}


def corrected(labels_HW: LabelMap, seed: int, share: float = 0.02, reach_px: int = 3) -> LabelMap:
    """What a second annotator might draw: borders wobble by up to `reach_px`, a few patches are wrong."""
    rng = np.random.default_rng(seed)
    height, width = labels_HW.shape
    coarse = rng.integers(-reach_px, reach_px + 1, (2, height // 16 + 2, width // 16 + 2))
    shift = np.repeat(np.repeat(coarse, 16, axis=1), 16, axis=2)[:, :height, :width]
    rows = np.clip(np.arange(height)[:, None] + shift[0], 0, height - 1)
    cols = np.clip(np.arange(width)[None, :] + shift[1], 0, width - 1)
    moved_HW: LabelMap = labels_HW[rows, cols]
    ids = np.unique(labels_HW)
    for _ in range(max(1, int(share * height * width / 1024))):
        y, x = int(rng.integers(0, max(1, height - 32))), int(rng.integers(0, max(1, width - 32)))
        moved_HW[y : y + 32, x : x + 32] = rng.choice(ids)
    return moved_HW
