"""Payloads of the method `runs`: a brush stroke, row by row, in about a byte a row (docs/mask-format.md).

A fifth of the time of the model, for some ten bytes more. Of larger changes bytes count more: the model has them.
"""

import numpy as np

from terrazzo_masks.boxes import Box
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import room, widened

# The model would save less than it takes to find out: some 60 rows of a stroke.
RUNS_BYTES_MAX = 64


def encode_runs(labels_HW: LabelMap, base_HW: LabelMap, box: Box) -> tuple[bytes | None, int]:
    """(payload, pixels in runs) of what differs in `box`; None where it takes more than RUNS_BYTES_MAX."""
    from terrazzo_masks.kernels import patch_runs

    top, left, height, width = box
    part = np.s_[top : top + height, left : left + width]
    here_HW, there_HW = widened("labels", labels_HW[part]), widened("base", base_HW[part])
    out = room("runs", RUNS_BYTES_MAX + patch_runs.SLACK_BYTES, np.uint8)
    num_bytes, num_pixels = patch_runs.encode_runs(here_HW, there_HW, top, left, labels_HW.itemsize, out)
    return (out[:num_bytes].tobytes() if num_bytes >= 0 else None), num_pixels


def decode_runs(payload: bytes, labels_HW: LabelMap, base_HW: LabelMap) -> LabelMap:
    """Fill `labels_HW` from the payload and the base of the same shape; returns it.

    Raises CorruptMask for every other payload.
    """
    from terrazzo_masks.kernels.patch_runs import draw_runs

    labels_HW[:] = base_HW
    if not draw_runs(np.frombuffer(bytearray(payload), dtype=np.uint8), labels_HW):
        raise CorruptMask(f"the {len(payload)} bytes of a patch are no runs in a map of {labels_HW.shape}")
    return labels_HW
