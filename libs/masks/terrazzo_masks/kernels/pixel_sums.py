"""Passes of the codec over all pixels: the checksum, and the map that a patch codes (docs/mask-format.md)."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import BoolMap, LabelMap
from terrazzo_masks.native import lean

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
Wide = NDArray[np.uint16]


@lean
def checksum(labels_HW: LabelMap) -> int:
    """Sum of (value + 1) * odd factor of the pixel's place, modulo 2 ** 32."""
    flat = labels_HW.reshape(-1)
    total = np.uint32(0)
    for i in range(flat.size):
        factor = np.uint32(np.uint32(i) * np.uint32(0x9E3779B1)) | np.uint32(1)
        total = np.uint32(total + np.uint32(np.uint32(flat[i]) + np.uint32(1)) * factor)
    return int(total)


@lean
def changes(labels_HW: Wide, base_HW: Wide, written: BoolMap, changes_HW: Wide) -> tuple[Int, Int]:
    """Fill the map of a patch: the value where the base differs, else a marker; (pixels that differ, marker).

    The marker is the lowest value that no pixel that differs has, -1 when there is none. `written` has an entry
    for each value, False at first. A gap between two changed pixels of a row that all have one value is written
    over with it: a stroke stays in one piece where the base had its class already.
    """
    height, width = labels_HW.shape
    num = 0
    for y in range(height):
        here, base = labels_HW[y], base_HW[y]
        for x in range(width):
            if here[x] != base[x]:
                written[here[x]] = True
                num += 1
    marker = 0
    while marker < written.size and written[marker]:
        marker += 1
    if marker == written.size:
        return num, -1
    for y in range(height):
        here, base, out = labels_HW[y], base_HW[y], changes_HW[y]
        last = -1
        for x in range(width):
            value = here[x]
            if last >= 0 and here[last] != value:
                last = -1
            if value == base[x]:
                out[x] = marker
                continue
            if last >= 0:
                for k in range(last, x):
                    out[k] = value
            out[x] = value
            last = x
    return num, marker


def warm() -> None:
    """Compile for both dtypes."""
    wide_HW = np.eye(3, dtype=np.uint16)
    changes(wide_HW, wide_HW, np.zeros(256, dtype=np.bool_), wide_HW.copy())
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        labels_HW: LabelMap = np.eye(3).astype(dtype)
        checksum(labels_HW)
