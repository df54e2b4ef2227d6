"""Shapes painted one over the other into a label map; what one covers of earlier ones is counted and reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats.exchange import Report
from terrazzo_masks.geometry import Polygon, rasterize
from terrazzo_masks.labels import BoolMap, LabelMap, dtype_for

COORDINATE_MAX = 2**24
Points = NDArray[np.float64]


class Painting:
    """An unlabelled map (height, width) that shapes are painted into, in order; the later one counts."""

    def __init__(self, height: int, width: int, place: str, report: Report) -> None:
        self.labels_HW: LabelMap = np.zeros((height, width), np.uint8)
        self._place = place
        self._report = report

    def polygon(self, rings: Sequence[Points], class_id: int, where: str) -> None:
        """Paint the pixels whose centre is inside by the even-odd rule; rings are (V, 2) of (x, y) in pixels from
        the corner. Raises CorruptMask for a ring that is none."""
        for ring_V2 in rings:
            if len(ring_V2) < 3:
                raise CorruptMask(f"{where}: a polygon has three or more points, not {len(ring_V2)}")
            if not np.isfinite(ring_V2).all() or np.abs(ring_V2).max() > COORDINATE_MAX:
                raise CorruptMask(f"{where}: a coordinate is not a number up to {COORDINATE_MAX}")
        height, width = self.labels_HW.shape
        # The polygon's own box alone: a thousand small polygons of a large picture cost what they cover.
        every_V2 = np.concatenate(rings)
        left, top = np.clip(np.floor(every_V2.min(axis=0)).astype(int), 0, (width, height))
        right, bottom = np.clip(np.ceil(every_V2.max(axis=0)).astype(int), 0, (width, height))
        if right <= left or bottom <= top:
            return
        moved = [tuple((x, y) for x, y in (ring_V2 - (left, top)).tolist()) for ring_V2 in rings]
        shape = Polygon(1, moved[0], tuple(moved[1:]))
        inside_HW = rasterize([shape], int(bottom - top), int(right - left), np.uint8) == 1
        self.mask(inside_HW, int(top), int(left), class_id, where)

    def mask(self, inside_HW: BoolMap, y: int, x: int, class_id: int, where: str) -> None:
        """Paint a mask whose first pixel is at (y, x). Raises CorruptMask when it leaves the picture."""
        height, width = inside_HW.shape
        if min(y, x) < 0 or y + height > self.labels_HW.shape[0] or x + width > self.labels_HW.shape[1]:
            raise CorruptMask(
                f"{where}: a mask of {height} x {width} at row {y}, column {x} leaves the picture of "
                f"{self.labels_HW.shape[0]} x {self.labels_HW.shape[1]}"
            )
        self.labels_HW = self.labels_HW.astype(
            np.promote_types(self.labels_HW.dtype, dtype_for(class_id)), copy=False
        )
        target_HW = self.labels_HW[y : y + height, x : x + width]
        num_covered = int(np.count_nonzero(target_HW[inside_HW]))
        if num_covered:
            self._report.lost(
                self._place, f"{where} lies over {num_covered} pixels of earlier ones: the later class counts"
            )
        target_HW[inside_HW] = class_id
