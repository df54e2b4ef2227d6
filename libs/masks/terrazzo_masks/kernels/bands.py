"""Inner boundary bands of two label maps, all classes in one pass.

A pixel is inside its region, and not in the band, where the (2d+1) x (2d+1) square around it is of its class. In a
row that is a run of 2d+1 pixels: a core holds the pixels d or more from the ends of their run. Down the rows it is
2d+1 rows whose cores agree. From row to row few columns change, so only those are looked at: `since` says since
which row a column is in a core of one class, the band is left 2d rows later if that still holds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean

NONE = -1


@kernel
def places_of_runs(
    labels_HW: NDArray[Any], row_H1: NDArray[np.int64], start_R: NDArray[np.int32], place_of: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The place of each run's class."""
    place_R = np.empty(start_R.size, np.int32)
    for y in range(labels_HW.shape[0]):
        for run in range(row_H1[y], row_H1[y + 1]):
            place_R[run] = place_of[labels_HW[y, start_R[run]]]
    return place_R


@lean
def core_at(
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_R: NDArray[np.int32],
    y: int,
    run: int,
    distance: int,
    width: int,
) -> tuple[int, int, int, int]:
    """(first run from `run` on in row y that has a core, its first column, the one after its last, its place).

    The core begins and ends with the row where there is none any more."""
    while run < row_H1[y + 1]:
        first = start_R[run] + distance
        end = (start_R[run + 1] if run + 1 < row_H1[y + 1] else width) - distance
        if first < end:
            return run, first, end, place_R[run]
        run += 1
    return run, width, width, NONE


@lean
def go_on(
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_R: NDArray[np.int32],
    y: int,
    distance: int,
    leaving: bool,
    since_W: NDArray[np.int32],
    band_W: NDArray[np.uint8],
) -> None:
    """Where the cores of rows y - 1 and y differ the band begins anew, since row y; or, when `leaving`, it ends
    there, where y is still the row since which the column is in one core."""
    width = since_W.size
    run, first, end, place = core_at(row_H1, start_R, place_R, y, row_H1[y], distance, width)
    before = max(0, y - 1)
    old_run = row_H1[before] if y else row_H1[1]  # above the first row there is no core
    old_run, old_first, old_end, old_place = core_at(row_H1, start_R, place_R, before, old_run, distance, width)
    x = 0
    while x < width:
        inside, was_inside = first <= x, old_first <= x
        until = min(end if inside else first, old_end if was_inside else old_first)
        if inside != was_inside or (inside and place != old_place):
            if not leaving:
                for column in range(x, until):
                    since_W[column] = y
                    band_W[column] = 1
            elif inside:
                for column in range(x, until):
                    if since_W[column] == y:
                        band_W[column] = 0
        x = until
        if x >= end and x < width:
            run, first, end, place = core_at(row_H1, start_R, place_R, y, run + 1, distance, width)
        if x >= old_end and x < width:
            old_run, old_first, old_end, old_place = core_at(
                row_H1, start_R, place_R, before, old_run + 1, distance, width
            )


@lean
def sum_of_bytes(word: np.uint64) -> int:
    pairs = (word & np.uint64(0x00FF00FF00FF00FF)) + ((word >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF))
    return int((pairs * np.uint64(0x0001000100010001)) >> np.uint64(48))


@lean
def count_both(
    truth_words: NDArray[np.uint64], pred_words: NDArray[np.uint64], first: int, end: int
) -> tuple[int, int, int]:
    """(columns from `first` to `end` in the first band, in the second, in both); 8 columns at a time."""
    num_true, num_pred, num_both = 0, 0, 0
    word, word_last = first >> 3, (end - 1) >> 3
    mask = ~np.uint64(0) << np.uint64(8 * (first & 7))  # of the first word the columns from `first` on
    to_end = ~np.uint64(0) >> np.uint64(8 * (7 - ((end - 1) & 7)))
    while word <= word_last:
        until = min(word_last, word + 254)  # each byte of a sum of 255 words is below 256
        sum_true, sum_pred, sum_both = np.uint64(0), np.uint64(0), np.uint64(0)
        if word < until:
            truth, pred = truth_words[word] & mask, pred_words[word] & mask
            sum_true, sum_pred, sum_both = truth, pred, truth & pred
            mask = ~np.uint64(0)
            for i in range(word + 1, until):
                sum_true += truth_words[i]
                sum_pred += pred_words[i]
                sum_both += truth_words[i] & pred_words[i]
        last_mask = mask & to_end if until == word_last else mask
        truth, pred = truth_words[until] & last_mask, pred_words[until] & last_mask
        num_true += sum_of_bytes(sum_true + truth)
        num_pred += sum_of_bytes(sum_pred + pred)
        num_both += sum_of_bytes(sum_both + (truth & pred))
        mask = ~np.uint64(0)
        word = until + 1
    return num_true, num_pred, num_both


@kernel
def count_bands(
    truth_row_H1: NDArray[np.int64],
    truth_start_R: NDArray[np.int32],
    truth_place_R: NDArray[np.int32],
    pred_row_H1: NDArray[np.int64],
    pred_start_R: NDArray[np.int32],
    pred_place_R: NDArray[np.int32],
    width: int,
    distance: int,
    counts_K3: NDArray[np.int64],
) -> None:
    """Add to the counts of each class the pixels in truth's band, in the prediction's band, and in both.

    The place of a run is its class's row in `counts_K3`.
    """
    height = truth_row_H1.size - 1
    truth_since_W, pred_since_W = np.zeros(width, np.int32), np.zeros(width, np.int32)
    truth_band_W8, pred_band_W8 = np.ones((width + 7) // 8 * 8, np.uint8), np.ones((width + 7) // 8 * 8, np.uint8)
    truth_words, pred_words = truth_band_W8.view(np.uint64), pred_band_W8.view(np.uint64)
    for below in range(height + distance):
        # Row `below` is the last that the squares around row y reach, `above` the first.
        y, above = below - distance, below - 2 * distance
        if below < height:
            go_on(truth_row_H1, truth_start_R, truth_place_R, below, distance, False, truth_since_W, truth_band_W8)
            go_on(pred_row_H1, pred_start_R, pred_place_R, below, distance, False, pred_since_W, pred_band_W8)
            if above >= 0:
                go_on(
                    truth_row_H1, truth_start_R, truth_place_R, above, distance, True, truth_since_W, truth_band_W8
                )
                go_on(pred_row_H1, pred_start_R, pred_place_R, above, distance, True, pred_since_W, pred_band_W8)
        elif below == height:
            truth_band_W8[:] = 1
            pred_band_W8[:] = 1
        if y < 0:
            continue
        run, run_end = truth_row_H1[y], truth_row_H1[y + 1]
        other, other_end = pred_row_H1[y], pred_row_H1[y + 1]
        x = 0
        while x < width:
            run_until = truth_start_R[run + 1] if run + 1 < run_end else width
            other_until = pred_start_R[other + 1] if other + 1 < other_end else width
            until = min(run_until, other_until)
            place, other_place = truth_place_R[run], pred_place_R[other]
            num_true, num_pred, num_both = count_both(truth_words, pred_words, x, until)
            counts_K3[place, 0] += num_true
            counts_K3[other_place, 1] += num_pred
            if place == other_place:
                counts_K3[place, 2] += num_both
            run += run_until == until
            other += other_until == until
            x = until


def warm() -> None:
    row_H1, start_R, place_of = np.array([0, 1]), np.zeros(1, np.int32), np.zeros(65536, np.int64)
    for dtype in (np.uint8, np.uint16):
        place_R = places_of_runs(np.zeros((1, 1), dtype), row_H1, start_R, place_of)
    count_bands(row_H1, start_R, place_R, row_H1, start_R, place_R, 1, 1, np.zeros((1, 3), np.int64))
