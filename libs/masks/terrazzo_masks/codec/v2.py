"""Reading the decisions of format version 2, in all else the same as version 3: `model` and `patch` payloads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.codec.v2_state import BUSY, FAILED, HISTORY, NUM_ROWS, PAD, POSITION, new_state
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap

VERSION = 2
STRIP_PX = 1 << 16
BAND_PX = 1 << 18
NO_BASE_HW = np.zeros((1, 1), dtype=np.uint16)


def decode_model(
    payload: bytes, labels_HW: LabelMap, dtype: np.dtype[Any], base_HW: NDArray[np.uint16] | None = None
) -> LabelMap:
    """Fill `labels_HW` with the map that version 2 packed, whose values fit `dtype`; returns it.

    Raises CorruptMask when the decisions are impossible, too few or too many.
    """
    from terrazzo_masks.kernels.label_model_v2 import walk

    data = np.frombuffer(bytearray(payload), dtype=np.uint8)
    model = new_state(data, dtype, patch=base_HW is not None)
    control = model[0]
    height, width = labels_HW.shape
    for first in range(0, width, STRIP_PX):
        columns = slice(first, min(first + STRIP_PX, width))
        strip_px = columns.stop - first
        window = np.zeros(NUM_ROWS * (strip_px + 2 * PAD), dtype=np.uint16)
        base_strip_HW = NO_BASE_HW if base_HW is None else np.ascontiguousarray(base_HW[:, columns])
        control[HISTORY], control[BUSY] = 0, 0
        band_rows = max(1, BAND_PX // strip_px)
        for top in range(0, height, band_rows):
            band_HW = np.empty((min(band_rows, height - top), strip_px), dtype=np.uint16)
            walk(model, band_HW, base_strip_HW, window, top)
            if control[FAILED]:
                break
            labels_HW[top : top + band_rows, columns] = band_HW
    # The decoder reads four bytes ahead; the encoder left out as many of the last four as it could.
    if control[FAILED] or not data.size <= control[POSITION] <= data.size + 4:
        raise CorruptMask(f"the {data.size} bytes of decisions do not describe a label map of {labels_HW.shape}")
    return labels_HW
