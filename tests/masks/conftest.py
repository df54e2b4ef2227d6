"""What the tests of the mask library share: a store of parts and made-up scenes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.tiles import MemoryParts


class Scenes:
    """Round objects of several classes on a background of class 1, and annotators who trace them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def discs(self, height: int, width: int, num_classes: int = 4, num_discs: int = 25) -> LabelMap:
        truth_HW = np.ones((height, width), dtype=np.uint8)
        for _ in range(num_discs):
            centre = int(self.rng.integers(0, width)), int(self.rng.integers(0, height))
            class_id = int(self.rng.integers(2, num_classes + 1))
            cv2.circle(truth_HW, centre, int(self.rng.integers(4, 30)), class_id, -1)
        return truth_HW

    def traced(self, truth_HW: LabelMap, error_px: float) -> LabelMap:
        """The truth with its boundaries smoothly displaced by about `error_px` pixels."""
        y, x = np.mgrid[: truth_HW.shape[0], : truth_HW.shape[1]].astype(np.float32)
        noise = self.rng.normal(size=(2, *truth_HW.shape)).astype(np.float32)
        dy, dx = (cv2.GaussianBlur(n, (0, 0), 5) * np.float32(18 * error_px) for n in noise)
        traced_HW: LabelMap = cv2.remap(
            truth_HW, x + dx, y + dy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.uint8)
        return traced_HW

    def spam(self, truth_HW: LabelMap) -> LabelMap:
        """Classes at random, pixel by pixel."""
        return self.rng.choice(np.unique(truth_HW), truth_HW.shape).astype(np.uint8)


@pytest.fixture
def parts() -> MemoryParts:
    return MemoryParts()


@pytest.fixture
def scenes() -> Scenes:
    return Scenes(seed=7)
