"""Masks in COCO's run-length code: all classes of a label map at once, and back. Exact against pycocotools.

for coded in encode(labels_HW):  coded.class_id, coded.counts, coded.area, coded.bbox
canvas_HW = canvas(height, width); paint(canvas_HW, counts, class_id)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import BoolMap, LabelMap, dtype_for, require_labels, require_mask


@dataclass(frozen=True)
class CodedMask:
    """One class's pixels: `counts` is COCO's compressed text, `bbox` is (x, y, width, height) in pixels."""

    class_id: int
    counts: str
    area: int
    bbox: tuple[int, int, int, int]


def encode(labels_HW: LabelMap) -> list[CodedMask]:
    """The masks of all classes but 0, by class id."""
    from terrazzo_masks.kernels import rle as kernels

    require_labels(labels_HW)
    flat_N = _columns(labels_HW)
    num_slots = int(labels_HW.max()) + 1
    area_S = np.zeros(num_slots, np.int64)
    box_S4 = np.zeros((num_slots, 4), np.int64)
    kernels.measure_classes(flat_N, labels_HW.shape[0], area_S, box_S4)
    length_S = np.zeros(num_slots, np.int64)
    nothing_B = np.zeros(0, np.uint8)
    kernels.code_classes(flat_N, length_S, nothing_B, False)
    start_S = np.concatenate([[0], np.cumsum(length_S)[:-1]]).astype(np.int64)
    out_B = np.empty(int(length_S.sum()), np.uint8)
    end_S = start_S.copy()
    kernels.code_classes(flat_N, end_S, out_B, True)
    text = out_B.tobytes().decode("ascii")
    coded = []
    for class_id in np.flatnonzero(area_S[1:]) + 1:
        top, left, bottom, right = (int(v) for v in box_S4[class_id])
        coded.append(
            CodedMask(
                int(class_id),
                text[int(start_S[class_id]) : int(end_S[class_id])],
                int(area_S[class_id]),
                (left, top, right - left + 1, bottom - top + 1),
            )
        )
    return coded


def encode_mask(mask_HW: BoolMap) -> CodedMask | None:
    """One bool mask, as class 1; None when no pixel is set."""
    coded = encode(require_mask(mask_HW).view(np.uint8))
    return coded[0] if coded else None


def canvas(height: int, width: int, class_id_max: int = 65534) -> LabelMap:
    """An empty label map that `paint` can work on: its columns lie one after the other in memory."""
    empty_HW: LabelMap = np.zeros((height, width), dtype_for(class_id_max), order="F")
    return empty_HW


def paint(canvas_HW: LabelMap, counts: str | bytes | Sequence[int], class_id: int) -> int:
    """Set a coded mask's pixels of a `canvas` to `class_id`; returns how many of them held another class before.

    Raises CorruptMask for counts that are no code, or not of this size: nothing is painted then.
    """
    from terrazzo_masks.kernels import rle as kernels

    run_R = _checked(counts, *canvas_HW.shape)
    return int(kernels.paint_runs(run_R, canvas_HW.T.reshape(-1), class_id))


def decode(counts: str | bytes | Sequence[int], height: int, width: int) -> BoolMap:
    """The mask (H, W) of a text or a list of runs. Raises CorruptMask."""
    empty_HW = canvas(height, width, 1)
    paint(empty_HW, counts, 1)
    return np.ascontiguousarray(empty_HW).view(np.bool_)


def runs_of(mask_HW: BoolMap) -> list[int]:
    """Run lengths of a bool mask (H, W), column by column, zeros first: COCO's uncompressed counts."""
    flat_N = require_mask(mask_HW).ravel(order="F")
    edges = np.concatenate([[0], np.flatnonzero(flat_N[1:] != flat_N[:-1]) + 1, [flat_N.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat_N[0] else runs


def to_text(runs: Sequence[int]) -> str:
    """The compressed text of run lengths."""
    from terrazzo_masks.kernels import rle as kernels

    run_R = np.asarray(runs, dtype=np.int64)
    out_B = np.empty(13 * run_R.size, np.uint8)
    return out_B[: kernels.text_of_runs(run_R, out_B)].tobytes().decode("ascii")


def from_text(text: str | bytes) -> list[int]:
    """The run lengths of a compressed text. Raises CorruptMask for text that is no run-length code."""
    runs: list[int] = _parsed(text).tolist()
    return runs


def _columns(labels_HW: LabelMap) -> LabelMap:
    """The pixels column by column, as one axis."""
    if labels_HW.flags.f_contiguous:
        return labels_HW.T.reshape(-1)
    import cv2

    # Some five times as fast as numpy's copy of a transpose.
    columns_WH: Any = cv2.transpose(np.ascontiguousarray(labels_HW))
    flat_N: LabelMap = columns_WH.reshape(-1)
    return flat_N


def _parsed(text: str | bytes) -> NDArray[np.int64]:
    from terrazzo_masks.kernels import rle as kernels

    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise CorruptMask(f"{text[error.start]!r} has no place in a run-length code") from error
    run_R = np.empty(len(data), np.int64)
    num, problem, at = kernels.parse_text(np.frombuffer(data, np.uint8), run_R)
    if problem == kernels.BAD_CHAR:
        raise CorruptMask(f"{chr(data[at])!r} (at {at}) has no place in a run-length code")
    if problem == kernels.CUT_SHORT:
        raise CorruptMask("the run-length code is cut short")
    return run_R[:num]


def _checked(counts: str | bytes | Sequence[int], height: int, width: int) -> NDArray[np.int64]:
    from terrazzo_masks.kernels import rle as kernels

    if isinstance(counts, str | bytes):
        run_R = _parsed(counts)
    else:
        try:
            if any(isinstance(run, bool) or not isinstance(run, int) for run in counts):
                raise CorruptMask("'counts' is neither text nor a list of whole numbers")
            run_R = np.asarray(counts, dtype=np.int64).reshape(-1)
        except OverflowError as error:
            raise CorruptMask(f"a run of 'counts' is out of range: {error}") from error
    problem, total = kernels.check_runs(run_R, height * width)
    if problem == kernels.NEGATIVE:
        raise CorruptMask("a run of 'counts' is negative")
    if problem == kernels.WRONG_SUM:
        whole = int(run_R.sum()) if run_R.size < 2**20 and abs(run_R).max(initial=0) < 2**42 else total
        raise CorruptMask(f"the runs sum to {whole}, the mask has {height} x {width} pixels")
    return run_R
