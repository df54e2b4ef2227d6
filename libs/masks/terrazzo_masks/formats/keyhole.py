"""Polygons with holes as one ring, for formats whose polygons know no holes.

Each hole is joined to the outline by a bridge that is walked there and back. The two ways cancel under the
even-odd and the non-zero rule alike, so that whoever fills the ring gets the polygon to the pixel.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.geometry import Polygon

RingPoints: TypeAlias = NDArray[np.float64]
# Cells of the distance table that is looked at in one go: memory stays bounded for outlines of any length.
_CELLS_MAX = 2**20


def keyholed(polygon: Polygon) -> RingPoints:
    """The vertices (x, y) of one closed ring, float64 (V, 2), the first not repeated at the end.

    Exterior and holes run in opposite directions (as `outlines.polygons` gives them).
    """
    ring_V2 = np.asarray(polygon.exterior, dtype=np.float64)
    # From the left: a hole is joined to what lies to its left or to the outline, so that bridges stay short.
    for hole in sorted(polygon.holes, key=min):
        hole_V2 = np.asarray(hole, dtype=np.float64)
        at, start = _nearest(ring_V2, hole_V2)
        around_V2 = np.concatenate([hole_V2[start:], hole_V2[: start + 1]])
        ring_V2 = np.concatenate([ring_V2[: at + 1], around_V2, ring_V2[at:]])
    return ring_V2


def _nearest(ring_V2: RingPoints, hole_V2: RingPoints) -> tuple[int, int]:
    """(vertex of the ring, vertex of the hole) that lie nearest to each other; the first ones among equals."""
    best, place = np.inf, (0, 0)
    step = max(1, _CELLS_MAX // len(hole_V2))
    for first in range(0, len(ring_V2), step):
        apart_RV = np.abs(ring_V2[first : first + step, None, :] - hole_V2[None, :, :]).sum(axis=2)
        cell = int(apart_RV.argmin())
        if apart_RV.flat[cell] < best:
            best = float(apart_RV.flat[cell])
            place = first + cell // len(hole_V2), cell % len(hole_V2)
    return place
