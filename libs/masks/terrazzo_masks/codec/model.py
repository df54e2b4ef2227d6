"""Payloads of the methods `model` and `patch`: the range-coded decisions of the adaptive model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.codec.state import (
    BUSY,
    CODER_BITS,
    DECODING,
    FAILED,
    HISTORY,
    LOW,
    NUM_ROWS,
    PAD,
    POSITION,
    RANGE,
    Control,
    Model,
    new_state,
)
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import room, widened

# Maps are coded in strips of columns, one after the other: memory for a few rows stays bounded.
STRIP_PX = 1 << 16
BAND_PX = 1 << 18
NO_BASE_HW = np.zeros((1, 1), dtype=np.uint16)
CODER_BYTES = CODER_BITS // 8


def encode_model(
    labels_HW: LabelMap, dtype: np.dtype[Any], base_HW: NDArray[np.uint16] | None = None
) -> bytes | None:
    """Code a map whose values fit `dtype`; None when that takes more bytes than the raw pixels."""
    data = room("data", labels_HW.size * dtype.itemsize + 16, np.uint8)
    model = new_state(data, labels_HW.size, dtype, decoding=False, patch=base_HW is not None)
    _walk_strips(model, labels_HW, base_HW)
    control = model[0]
    if control[FAILED]:
        return None
    return data[: control[POSITION]].tobytes() + _last_bytes(control)


def decode_model(
    payload: bytes, labels_HW: LabelMap, dtype: np.dtype[Any], base_HW: NDArray[np.uint16] | None = None
) -> LabelMap:
    """Fill `labels_HW` with the map of `encode_model`, whose values fit `dtype`; returns it.

    Raises CorruptMask when the decisions are impossible, too few or too many.
    """
    data = np.frombuffer(bytearray(payload), dtype=np.uint8)
    model = new_state(data, labels_HW.size, dtype, decoding=True, patch=base_HW is not None)
    _walk_strips(model, labels_HW, base_HW)
    control = model[0]
    # The decoder reads some bytes ahead; the encoder leaves out as many of the last as it can.
    if control[FAILED] or not data.size <= control[POSITION] <= data.size + CODER_BYTES:
        raise CorruptMask(f"the {data.size} bytes of decisions do not describe a label map of {labels_HW.shape}")
    return labels_HW


def _walk_strips(model: Model, labels_HW: LabelMap, base_HW: NDArray[np.uint16] | None) -> None:
    """One strip after the other, in bands of rows that are widened to uint16: one kernel does for both dtypes."""
    from terrazzo_masks.kernels.label_model import walk

    control = model[0]
    height, width = labels_HW.shape
    for first in range(0, width, STRIP_PX):
        columns = slice(first, min(first + STRIP_PX, width))
        strip_px = columns.stop - first
        window = room("window", NUM_ROWS * (strip_px + 2 * PAD), np.uint16)
        window[:] = 0
        base_strip_HW = NO_BASE_HW if base_HW is None else np.ascontiguousarray(base_HW[:, columns])
        control[HISTORY], control[BUSY] = 0, 0
        band_rows = max(1, BAND_PX // strip_px)
        for top in range(0, height, band_rows):
            part_HW = labels_HW[top : top + band_rows, columns]
            band_HW = widened("band", part_HW)
            walk(model, band_HW, base_strip_HW, window, top)
            if control[FAILED]:
                return
            if control[DECODING] and band_HW is not part_HW:
                part_HW[:] = band_HW


def _last_bytes(control: Control) -> bytes:
    """The fewest bytes that, followed by zeros, name a number in the coder's interval."""
    low = int(control[LOW])
    end = min(low + int(control[RANGE]), 1 << CODER_BITS)
    for num in range(CODER_BYTES):
        unit = 1 << (CODER_BITS - 8 * num)
        number = -(-low // unit) * unit
        if number < end:
            return number.to_bytes(CODER_BYTES, "big")[:num]
    return low.to_bytes(CODER_BYTES, "big")
