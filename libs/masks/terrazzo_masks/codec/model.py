"""Payloads of the methods `model` and `patch`: the range-coded decisions of the adaptive model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.codec.state import (
    BUSY,
    DECODING,
    FAILED,
    HIGH,
    HISTORY,
    LOW,
    NUM_ROWS,
    PAD,
    POSITION,
    WORD,
    Control,
    new_state,
)
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap

# Maps are coded in strips of columns, one after the other: memory for a few rows stays bounded.
STRIP_PX = 1 << 16
BAND_PX = 1 << 18
MARKER_BYTES = 2
NO_BASE_HW = np.zeros((1, 1), dtype=np.uint16)


def encode_model(labels_HW: LabelMap, base_HW: NDArray[np.uint16] | None = None) -> bytes | None:
    """Code a C-contiguous, writable map; None when that would take more bytes than the raw pixels."""
    data = np.empty(labels_HW.nbytes + 16, dtype=np.uint8)
    control, table = new_state(data, labels_HW.dtype, decoding=False, patch=base_HW is not None)
    _walk_strips(control, table, data, labels_HW, base_HW)
    if control[FAILED]:
        return None
    return data[: control[POSITION]].tobytes() + _last_bytes(control)


def decode_model(
    payload: bytes, shape: tuple[int, int], dtype: np.dtype[Any], base_HW: NDArray[np.uint16] | None = None
) -> LabelMap:
    """The map of `encode_model`. Raises CorruptMask when the decisions are impossible, too few or too many."""
    data = np.frombuffer(bytearray(payload), dtype=np.uint8)
    labels_HW: LabelMap = np.empty(shape, dtype=dtype)
    control, table = new_state(data, dtype, decoding=True, patch=base_HW is not None)
    _walk_strips(control, table, data, labels_HW, base_HW)
    # The decoder reads four bytes ahead; the encoder leaves out as many of the last four as it can.
    if control[FAILED] or not data.size <= control[POSITION] <= data.size + 4:
        raise CorruptMask(f"the {data.size} bytes of decisions do not describe a label map of {shape}")
    return labels_HW


def _walk_strips(
    control: Control,
    table: NDArray[np.int32],
    data: NDArray[np.uint8],
    labels_HW: LabelMap,
    base_HW: NDArray[np.uint16] | None,
) -> None:
    """One strip after the other, in bands of rows that are widened to uint16: one kernel does for both dtypes."""
    from terrazzo_masks.kernels.label_model import walk

    height, width = labels_HW.shape
    for first in range(0, width, STRIP_PX):
        columns = slice(first, min(first + STRIP_PX, width))
        strip_px = columns.stop - first
        window = np.zeros(NUM_ROWS * (strip_px + 2 * PAD), dtype=np.uint16)
        base_strip_HW = NO_BASE_HW if base_HW is None else np.ascontiguousarray(base_HW[:, columns])
        control[HISTORY], control[BUSY] = 0, 0
        band_rows = max(1, BAND_PX // strip_px)
        for top in range(0, height, band_rows):
            band_HW = labels_HW[top : top + band_rows, columns].astype(np.uint16)
            walk(control, table, data, band_HW, base_strip_HW, window, top)
            if control[FAILED]:
                return
            if control[DECODING]:
                labels_HW[top : top + band_rows, columns] = band_HW


def _last_bytes(control: Control) -> bytes:
    """The fewest bytes that, followed by zeros, name a number in the coder's interval."""
    low, high = int(control[LOW]), int(control[HIGH])
    for num in range(4):
        unit = 1 << (32 - 8 * num)
        number = -(-low // unit) * unit
        if number <= min(high, WORD):
            return number.to_bytes(4, "big")[:num]
    return low.to_bytes(4, "big")
