"""Axis-aligned boxes in pixels."""

from typing import NamedTuple

import numpy as np

from terrazzo_masks.labels import BoolMap, require_mask


class Box(NamedTuple):
    """First row `y`, first column `x`, and size, in pixels."""

    y: int
    x: int
    height: int
    width: int


def tight_box(mask_HW: BoolMap) -> Box | None:
    """The smallest box that holds every True pixel of a bool array (H, W); None when there is none."""
    require_mask(mask_HW)
    rows = np.flatnonzero(mask_HW.any(axis=1))
    if rows.size == 0:
        return None
    cols = np.flatnonzero(mask_HW.any(axis=0))
    y, x = int(rows[0]), int(cols[0])
    return Box(y, x, int(rows[-1]) - y + 1, int(cols[-1]) - x + 1)
