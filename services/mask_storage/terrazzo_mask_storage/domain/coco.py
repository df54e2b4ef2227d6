"""COCO's run-length code for a mask (cocodataset/cocoapi, common/maskApi.c: rleToString, rleFrString).

Runs go down the columns, first the zeros (may be 0 long), then ones, and so on. As text each run is written in
groups of five bits plus 48, lowest first, a sixth bit says that more follow; from the fourth run on it is the
difference to the run two before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def runs_of(mask_HW: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a bool mask (H, W), column by column, zeros first."""
    flat = mask_HW.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def mask_of(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask (H, W) of run lengths. Raises ValueError unless they are not negative and sum to H * W."""
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"the runs sum to {sum(runs)}, the mask has {height} x {width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, np.asarray(runs, dtype=np.int64)).reshape((height, width), order="F")


def to_text(runs: Sequence[int]) -> str:
    out = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            group = value & 31
            value >>= 5
            more = value != -1 if group & 16 else value != 0
            out.append((group | 32 if more else group) + 48)
            if not more:
                break
    return out.decode("ascii")


def from_text(text: str) -> list[int]:
    """Raises ValueError for text that is no run-length code."""
    runs: list[int] = []
    value = shift = 0
    for char in text:
        group = ord(char) - 48
        if not 0 <= group < 64 or shift > 40:
            raise ValueError(f"{char!r} has no place in a run-length code")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        value = shift = 0
    if shift:
        raise ValueError("the run-length code is cut short")
    return runs
