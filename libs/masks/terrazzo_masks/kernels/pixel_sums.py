"""Passes of the codec over all pixels: the checksum, and the map that a patch codes (docs/mask-format.md)."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import BoolMap, LabelMap
from terrazzo_masks.native import kernel


@kernel
def checksum(labels_HW: LabelMap) -> int:
    """Sum of (value + 1) * odd factor of the pixel's place, modulo 2 ** 32."""
    flat = labels_HW.reshape(-1)
    total = np.uint32(0)
    for i in range(flat.size):
        factor = np.uint32(np.uint32(i) * np.uint32(0x9E3779B1)) | np.uint32(1)
        total = np.uint32(total + np.uint32(np.uint32(flat[i]) + np.uint32(1)) * factor)
    return int(total)


@kernel
def count_changed(labels_HW: LabelMap, base_HW: NDArray[np.uint16], written: BoolMap) -> int:
    """How many pixels differ from the base; `written` (65536) is set at their values."""
    height, width = labels_HW.shape
    num = 0
    for y in range(height):
        for x in range(width):
            if labels_HW[y, x] != base_HW[y, x]:
                written[labels_HW[y, x]] = True
                num += 1
    return num


@kernel
def changes(labels_HW: LabelMap, base_HW: NDArray[np.uint16], marker: int, changes_HW: LabelMap) -> None:
    """The map of a patch: the value where the base differs, `marker` elsewhere.

    A gap between two changed pixels of a row that all have one value is written over with it: a stroke stays in
    one piece where the base had its class already.
    """
    height, width = labels_HW.shape
    for y in range(height):
        last = -1
        for x in range(width):
            value = labels_HW[y, x]
            if last >= 0 and labels_HW[y, last] != value:
                last = -1
            if value == base_HW[y, x]:
                changes_HW[y, x] = marker
                continue
            if last >= 0:
                changes_HW[y, last:x] = value
            changes_HW[y, x] = value
            last = x


@kernel
def apply_changes(changes_HW: LabelMap, base_HW: NDArray[np.uint16], marker: int) -> None:
    """Put the base's value where `marker` stands."""
    height, width = changes_HW.shape
    for y in range(height):
        for x in range(width):
            if changes_HW[y, x] == marker:
                changes_HW[y, x] = base_HW[y, x]


def warm() -> None:
    """Compile for both dtypes."""
    base_HW = np.zeros((3, 3), dtype=np.uint16)
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        labels_HW: LabelMap = np.eye(3).astype(dtype)
        checksum(labels_HW)
        count_changed(labels_HW, base_HW, np.zeros(65536, dtype=np.bool_))
        changes(labels_HW, base_HW, 7, labels_HW.copy())
        apply_changes(labels_HW.copy(), base_HW, 0)
