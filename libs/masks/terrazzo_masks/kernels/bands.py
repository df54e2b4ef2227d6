"""Inner boundary bands of two label maps, all classes in one pass.

A pixel is inside its region, and not in the band, where the (2d+1) x (2d+1) square around it is of its class. In a
row that is a run of 2d+1 pixels; down the rows it is 2d+1 rows whose runs agree. So each row needs the columns d
or more from the ends of their run, and each column the row since which it has been such a one, of the same class.

The loops along a row stand alone, on slices: so the compiler makes vector code of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def go_on(core_X: NDArray[np.int32], since_X: NDArray[np.int32], label: np.int32, y: np.int32) -> None:
    """These columns are of class `label` in row y."""
    for x in range(core_X.size):
        since_X[x] = since_X[x] if core_X[x] == label else y
    core_X[:] = label


@kernel
def mark_cores(
    labels_HW: NDArray[Any],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    y: int,
    distance: int,
    core_W: NDArray[np.int32],
    since_W: NDArray[np.int32],
) -> None:
    """Go on to row y: `core_W` is the class of the columns d or more from the ends of their run, -1 elsewhere;
    `since_W` the row since which it is that class."""
    width = core_W.size
    at = 0
    for run in range(row_H1[y], row_H1[y + 1]):
        first = start_R[run] + distance
        end = (start_R[run + 1] if run + 1 < row_H1[y + 1] else width) - distance
        if first < end:
            core_W[at:first] = -1
            go_on(core_W[first:end], since_W[first:end], np.int32(labels_HW[y, first]), np.int32(y))
            at = end
    core_W[at:] = -1


@kernel
def mark_band(
    core_W: NDArray[np.int32], since_W: NDArray[np.int32], since_max: np.int32, band_W: NDArray[np.uint8]
) -> None:
    """1 in the columns that have not been of one class since row `since_max`, 0 in the others."""
    for x in range(band_W.size):
        band_W[x] = (since_W[x] > since_max) | (core_W[x] < 0)


@kernel
def count_both(truth_band_X: NDArray[np.uint8], pred_band_X: NDArray[np.uint8]) -> tuple[int, int, int]:
    """(pixels in the first, in the second, in both)."""
    num_true, num_pred, num_both = 0, 0, 0
    for x in range(truth_band_X.size):
        num_true += truth_band_X[x]
        num_pred += pred_band_X[x]
        num_both += truth_band_X[x] & pred_band_X[x]
    return num_true, num_pred, num_both


@kernel
def count_bands(
    truth_HW: NDArray[Any],
    truth_row_H1: NDArray[np.int64],
    truth_start_R: NDArray[np.int32],
    pred_HW: NDArray[Any],
    pred_row_H1: NDArray[np.int64],
    pred_start_R: NDArray[np.int32],
    distance: int,
    place_of: NDArray[np.int64],
    counts_K3: NDArray[np.int64],
) -> None:
    """Add to the counts of each class the pixels in truth's band, in the prediction's band, and in both.

    `place_of` turns ids into rows of `counts_K3`.
    """
    height, width = truth_HW.shape
    truth_core_W, truth_since_W = np.full(width, -1, np.int32), np.zeros(width, np.int32)
    pred_core_W, pred_since_W = np.full(width, -1, np.int32), np.zeros(width, np.int32)
    truth_band_W, pred_band_W = np.ones(width, np.uint8), np.ones(width, np.uint8)
    for below in range(height + distance):
        # Row `below` is the last that the squares around row y reach.
        y = below - distance
        if below < height:
            mark_cores(truth_HW, truth_row_H1, truth_start_R, below, distance, truth_core_W, truth_since_W)
            mark_cores(pred_HW, pred_row_H1, pred_start_R, below, distance, pred_core_W, pred_since_W)
        if y < 0:
            continue
        if distance <= y and below < height:
            mark_band(truth_core_W, truth_since_W, np.int32(y - distance), truth_band_W)
            mark_band(pred_core_W, pred_since_W, np.int32(y - distance), pred_band_W)
        else:
            truth_band_W[:] = 1
            pred_band_W[:] = 1
        truth_run, truth_end = truth_row_H1[y], truth_row_H1[y + 1]
        pred_run, pred_end = pred_row_H1[y], pred_row_H1[y + 1]
        x = 0
        while x < width:
            truth_until = truth_start_R[truth_run + 1] if truth_run + 1 < truth_end else width
            pred_until = pred_start_R[pred_run + 1] if pred_run + 1 < pred_end else width
            until = min(truth_until, pred_until)
            true_place, pred_place = place_of[truth_HW[y, x]], place_of[pred_HW[y, x]]
            num_true, num_pred, num_both = count_both(truth_band_W[x:until], pred_band_W[x:until])
            counts_K3[true_place, 0] += num_true
            counts_K3[pred_place, 1] += num_pred
            if true_place == pred_place:
                counts_K3[true_place, 2] += num_both
            truth_run += truth_until == until
            pred_run += pred_until == until
            x = until


def warm() -> None:
    row_H1, start_R = np.array([0, 1]), np.zeros(1, np.int32)
    for dtype in (np.uint8, np.uint16):
        map_HW = np.zeros((1, 1), dtype)
        place_of, counts_K3 = np.zeros(65536, np.int64), np.zeros((1, 3), np.int64)
        count_bands(map_HW, row_H1, start_R, map_HW, row_H1, start_R, 1, place_of, counts_K3)
