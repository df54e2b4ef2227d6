"""COCO's run-length code (cocodataset/cocoapi, common/maskApi.c: rleEncode, rleToString, rleFrString).

Runs go down the columns, first the zeros (0 long when the first pixel is set), then ones, and so on. As text each
run is groups of five bits plus 48, lowest first, a sixth bit says that more follow; from the fourth run on it is
the difference to the run two before. All classes of a label map are coded in one walk over its runs of one class.

A map is given as flat_N: its pixels column by column (Fortran order). S: class ids 0..max, R: runs, B: bytes.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import kernel

# What parse_text and check_runs found; the texts are in formats/rle.py.
SOUND, BAD_CHAR, CUT_SHORT, NEGATIVE, WRONG_SUM = 0, 1, 2, 3, 4
SHIFT_MAX = 40


@kernel
def put_run(value: int, out_B: NDArray[np.uint8], at: int, writing: bool) -> int:
    """Write one number as text (only count when not `writing`); returns the place behind it."""
    more = True
    while more:
        group = value & 31
        value >>= 5
        more = value != -1 if group & 16 else value != 0
        if writing:
            out_B[at] = (group | 32 if more else group) + 48
        at += 1
    return at


@kernel
def code_run(
    class_id: int,
    run: int,
    num_S: NDArray[np.int64],
    last_S2: NDArray[np.int64],
    at_S: NDArray[np.int64],
    out_B: NDArray[np.uint8],
    writing: bool,
) -> None:
    """Append a run to the text of a class. last_S2: its last run, and the one before."""
    value = run - last_S2[class_id, 1] if num_S[class_id] > 2 else run
    at_S[class_id] = put_run(value, out_B, at_S[class_id], writing)
    last_S2[class_id, 1] = last_S2[class_id, 0]
    last_S2[class_id, 0] = run
    num_S[class_id] += 1


@kernel
def code_classes(flat_N: LabelMap, at_S: NDArray[np.int64], out_B: NDArray[np.uint8], writing: bool) -> None:
    """The text of every class but 0; at_S: where each class's text starts in, and then ends at.

    With `writing` false nothing is written and at_S counts: a second call with the starts made of that writes.
    """
    num_slots = at_S.size
    num_S = np.zeros(num_slots, np.int64)
    last_S2 = np.zeros((num_slots, 2), np.int64)
    edge_S = np.zeros(num_slots, np.int64)
    num_pixels = flat_N.size
    start = 0
    while start < num_pixels:
        class_id = flat_N[start]
        end = start + 1
        while end < num_pixels and flat_N[end] == class_id:
            end += 1
        if class_id != 0:
            code_run(class_id, start - edge_S[class_id], num_S, last_S2, at_S, out_B, writing)
            code_run(class_id, end - start, num_S, last_S2, at_S, out_B, writing)
            edge_S[class_id] = end
        start = end
    for class_id in range(1, num_slots):
        if num_S[class_id] > 0 and edge_S[class_id] < num_pixels:
            code_run(class_id, num_pixels - edge_S[class_id], num_S, last_S2, at_S, out_B, writing)


@kernel
def measure_classes(flat_N: LabelMap, height: int, area_S: NDArray[np.int64], box_S4: NDArray[np.int64]) -> None:
    """Pixels of each class, and its box (first row, first column, last row, last column)."""
    num_pixels = flat_N.size
    start = 0
    while start < num_pixels:
        class_id = flat_N[start]
        end = start + 1
        while end < num_pixels and flat_N[end] == class_id:
            end += 1
        first_col, last_col = start // height, (end - 1) // height
        top, bottom = start - first_col * height, end - 1 - last_col * height
        if first_col != last_col:
            top, bottom = 0, height - 1
        if area_S[class_id] == 0:
            box_S4[class_id, 0], box_S4[class_id, 1] = top, first_col
            box_S4[class_id, 2] = bottom
        else:
            box_S4[class_id, 0] = min(box_S4[class_id, 0], top)
            box_S4[class_id, 2] = max(box_S4[class_id, 2], bottom)
        box_S4[class_id, 3] = last_col
        area_S[class_id] += end - start
        start = end


@kernel
def text_of_runs(run_R: NDArray[np.int64], out_B: NDArray[np.uint8]) -> int:
    """The text of run lengths; returns its length. out_B holds 13 bytes a run."""
    at = 0
    for i in range(run_R.size):
        value = run_R[i] - run_R[i - 2] if i > 2 else run_R[i]
        at = put_run(value, out_B, at, True)
    return at


@kernel
def parse_text(text_B: NDArray[np.uint8], run_R: NDArray[np.int64]) -> tuple[int, int, int]:
    """(number of runs, what is wrong, where) of a text; run_R has a place for each byte."""
    num = 0
    value = np.int64(0)
    shift = 0
    for i in range(text_B.size):
        group = np.int64(text_B[i]) - 48
        if group < 0 or group > 63 or shift > SHIFT_MAX:
            return num, BAD_CHAR, i
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= np.int64(1) << shift
        if num > 2:
            value += run_R[num - 2]
        run_R[num] = value
        num += 1
        value = np.int64(0)
        shift = 0
    return num, CUT_SHORT if shift else SOUND, text_B.size


@kernel
def check_runs(run_R: NDArray[np.int64], num_pixels: int) -> tuple[int, np.int64]:
    """(what is wrong, the sum so far) of run lengths for a mask of `num_pixels`."""
    total = np.int64(0)
    for i in range(run_R.size):
        if run_R[i] < 0:
            return NEGATIVE, total
        # A sum that is too large ends here: it can't overflow.
        total += run_R[i]
        if total > num_pixels:
            return WRONG_SUM, total
    return SOUND if total == num_pixels else WRONG_SUM, total


@kernel
def paint_runs(run_R: NDArray[np.int64], flat_N: LabelMap, class_id: int) -> int:
    """Set the pixels of the ones to `class_id`; returns how many held another class. The runs were checked."""
    at = 0
    num_covered = 0
    for i in range(run_R.size):
        end = min(at + run_R[i], flat_N.size)
        if i & 1:
            for j in range(at, end):
                if flat_N[j] != 0 and flat_N[j] != class_id:
                    num_covered += 1
                flat_N[j] = class_id
        at = end
    return num_covered


def warm() -> None:
    run_R = np.array([1, 1], np.int64)
    out_B = np.zeros(26, np.uint8)
    text_of_runs(run_R, out_B)
    parse_text(out_B[:2], np.zeros(2, np.int64))
    check_runs(run_R, 2)
    flats: tuple[LabelMap, ...] = (np.array([0, 1], np.uint8), np.array([0, 1], np.uint16))
    for flat_N in flats:
        code_classes(flat_N, np.zeros(2, np.int64), out_B, True)
        measure_classes(flat_N, 2, np.zeros(2, np.int64), np.zeros((2, 4), np.int64))
        paint_runs(run_R, flat_N, 1)
