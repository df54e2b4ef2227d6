"""A painter's canvas that keeps colour and class together, so that masks are exact by construction.

Axes: H rows, W columns, C = 3 colour channels (R, G, B). Colours are float32 in 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Points = Sequence[tuple[float, float]]


class Region(NamedTuple):
    """A shape clipped to the canvas: `mask_HW` sits with its top left corner at row `y`, column `x`."""

    y: int
    x: int
    mask_HW: NDArray[np.bool_]


class Canvas:
    """Albedo, light and class of every pixel while a scene is painted from back to front.

    `labels_HW` uint8 class values; `albedo_HWC` float32 0..1; `light_HW` float32 factor (1 = full light).
    Albedo and label are written under one and the same mask; light never changes a label (a shadow on a
    road is road).
    """

    def __init__(self, height_px: int, width_px: int, rng: np.random.Generator) -> None:
        self.height_px, self.width_px = height_px, width_px
        self.albedo_HWC: NDArray[np.float32] = np.zeros((height_px, width_px, 3), np.float32)
        self.labels_HW: NDArray[np.uint8] = np.zeros((height_px, width_px), np.uint8)
        self.light_HW: NDArray[np.float32] = np.ones((height_px, width_px), np.float32)
        self._grain_HW: NDArray[np.float32] = rng.standard_normal((height_px, width_px), dtype=np.float32)
        self._mottle_HW: NDArray[np.float32] = smooth_noise(rng, height_px, width_px, height_px / 32)

    def polygon(self, points_xy: Points) -> Region | None:
        """The pixels inside a polygon of (x, y) corners; None when nothing of it is on the canvas."""
        import cv2

        corners = np.rint(np.asarray(points_xy, dtype=np.float64)).astype(np.int32)
        x0, y0 = np.maximum(corners.min(axis=0), 0)
        x1, y1 = np.minimum(corners.max(axis=0) + 1, (self.width_px, self.height_px))
        if x1 <= x0 or y1 <= y0:
            return None
        mask_HW = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask_HW, [corners], 1, offset=(-int(x0), -int(y0)))
        return Region(int(y0), int(x0), mask_HW.astype(bool))

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float) -> Region | None:
        """The pixels inside an upright ellipse; None when nothing of it is on the canvas."""
        x0, x1 = max(0, round(x - radius_x)), min(self.width_px, round(x + radius_x) + 1)
        y0, y1 = max(0, round(y - radius_y)), min(self.height_px, round(y + radius_y) + 1)
        if x1 <= x0 or y1 <= y0:
            return None
        rows_H1 = (np.arange(y0, y1)[:, None] - y) / max(radius_y, 0.5)
        columns_1W = (np.arange(x0, x1)[None, :] - x) / max(radius_x, 0.5)
        return Region(y0, x0, np.asarray(rows_H1**2 + columns_1W**2 <= 1.0))

    def box(self, x: float, y: float, width: float, height: float) -> Region | None:
        """The pixels of an upright rectangle, at least one pixel wide and high."""
        x0, y0 = round(x), round(y)
        x1, y1 = max(x0 + 1, round(x + width)), max(y0 + 1, round(y + height))
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, self.width_px), min(y1, self.height_px)
        if x1 <= x0 or y1 <= y0:
            return None
        return Region(y0, x0, np.ones((y1 - y0, x1 - x0), bool))

    def paint(
        self, region: Region | None, value: int, colour: Colour, *, grain: float = 0.02, mottle: float = 0.03
    ) -> None:
        """Give the region's pixels a class and a textured colour.

        `grain` and `mottle` are the standard deviations (0..1 units of brightness) of its fine and its
        coarse texture: the two together, more than the colour, are what tells the classes apart.
        """
        if region is None:
            return
        y, x, mask_HW = region
        rows, columns = slice(y, y + mask_HW.shape[0]), slice(x, x + mask_HW.shape[1])
        texture_HW = grain * self._grain_HW[rows, columns] + mottle * self._mottle_HW[rows, columns]
        patch_HWC = np.asarray(colour, np.float32) * (1.0 + 2.0 * texture_HW[..., None])
        np.copyto(self.albedo_HWC[rows, columns], patch_HWC, where=mask_HW[..., None])
        self.labels_HW[rows, columns][mask_HW] = value
        # A shadow cast on what is now hidden does not fall on what hides it.
        self.light_HW[rows, columns][mask_HW] = 1.0

    def tint(self, region: Region | None, pattern_HW: NDArray[np.float32] | float) -> None:
        """Multiply the albedo inside a region by a pattern of the region's size; classes stay."""
        if region is None:
            return
        y, x, mask_HW = region
        rows, columns = slice(y, y + mask_HW.shape[0]), slice(x, x + mask_HW.shape[1])
        factor_HW = np.where(mask_HW, np.float32(1) * pattern_HW, np.float32(1)).astype(np.float32)
        self.albedo_HWC[rows, columns] *= factor_HW[..., None]

    def shade(self, region: Region | None, factor: float) -> None:
        """Multiply the light that falls on a region; classes stay."""
        if region is not None:
            y, x, mask_HW = region
            self.light_HW[y : y + mask_HW.shape[0], x : x + mask_HW.shape[1]][mask_HW] *= np.float32(factor)


def smooth_noise(rng: np.random.Generator, height_px: int, width_px: int, scale_px: float) -> NDArray[np.float32]:
    """Noise (H, W) float32 of mean 0 and standard deviation about 1 whose features are `scale_px` wide."""
    import cv2

    rows = max(2, round(height_px / max(scale_px, 1.0)) + 1)
    columns = max(2, round(width_px / max(scale_px, 1.0)) + 1)
    coarse_HW = rng.standard_normal((rows, columns), dtype=np.float32)
    noise_HW = cv2.resize(coarse_HW, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(noise_HW / max(float(noise_HW.std()), 1e-6), dtype=np.float32)
