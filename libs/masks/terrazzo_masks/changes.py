"""What changed between two arrays of one place: how many pixels went from which class to which, and where."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import Box
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import room

# Pixels by (old class id, new class id).
Flow = dict[tuple[int, int], int]
# The same under one number, old << 16 | new, while they are summed up.
KeyedFlow = dict[int, int]
_KEYS = 256


class Change(NamedTuple):
    """Of one place: its changed pixels by (old << 16 | new), and the box around them in the map."""

    keys_N: NDArray[np.int64]
    pixels_N: NDArray[np.int64]
    box: Box

    def pairs(self) -> Iterable[tuple[int, int]]:
        """(key, pixels) of each."""
        return zip(self.keys_N.tolist(), self.pixels_N.tolist(), strict=True)


def change_between(old_HW: LabelMap, new_HW: LabelMap, y: int, x: int) -> Change | None:
    """What changed between two maps of one size whose first pixel is at (y, x); None when nothing did."""
    from terrazzo_masks.kernels.changes import pair_counts

    dtype = old_HW.dtype if old_HW.dtype == new_HW.dtype else np.dtype(np.uint16)
    old_N, new_N = _row_major(old_HW, dtype), _row_major(new_HW, dtype)
    limits = room("limits", 4, np.int64)
    num_keys, most = -1, _KEYS
    while num_keys < 0:
        keys_K, pixels_K = room("keys", most, np.int64), room("pixels", most, np.int64)
        slots_S = room("slots", 2 * most, np.int32)
        num_keys = pair_counts(old_N, new_N, old_HW.shape[1], keys_K, pixels_K, slots_S, limits)
        most *= 16
    if num_keys == 0:
        return None
    top, bottom, left, right = limits.tolist()
    box = Box(y + top, x + left, bottom - top + 1, right - left + 1)
    return Change(keys_K[:num_keys].copy(), pixels_K[:num_keys].copy(), box)


def _row_major(labels_HW: LabelMap, dtype: np.dtype[Any]) -> LabelMap:
    """The pixels in one row, as kernels are compiled for: contiguous and writable."""
    flat: LabelMap = np.ascontiguousarray(labels_HW, dtype=dtype).reshape(-1)
    return flat if flat.flags.writeable else flat.copy()


def uniform_change(old_id: int, new_id: int, box: Box) -> Change:
    """A box that was of one class and is now of another."""
    return Change(np.array([old_id << 16 | new_id]), np.array([box.height * box.width]), box)


def flow_of(total: Mapping[int, int]) -> Flow:
    """A flow by pairs of ids, in their rising order."""
    return {(key >> 16, key & 0xFFFF): pixels for key, pixels in sorted(total.items())}


def summed(changes: list[Change]) -> Flow:
    """One flow from many, by rising ids."""
    total: KeyedFlow = {}
    for change in changes:
        for key, pixels in change.pairs():
            total[key] = total.get(key, 0) + pixels
    return flow_of(total)


def around(changes: list[Change]) -> Box | None:
    """The smallest box around all changes."""
    if not changes:
        return None
    top, left = min(change.box.y for change in changes), min(change.box.x for change in changes)
    bottom = max(change.box.y + change.box.height for change in changes)
    right = max(change.box.x + change.box.width for change in changes)
    return Box(top, left, bottom - top, right - left)
