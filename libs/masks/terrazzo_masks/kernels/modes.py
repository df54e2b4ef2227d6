"""The class that stands for a block of pixels: its mode, or a thin class that would vanish otherwise."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def longer(rows_N3: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows, and room for as many again."""
    longer_N3 = np.empty((2 * rows_N3.shape[0], 3), np.int64)
    for i in range(rows_N3.shape[0]):
        for j in range(3):
            longer_N3[i, j] = rows_N3[i, j]
    return longer_N3


@kernel
def modes_of_pixels(
    labels_HW: NDArray[np.uint16], factor: int, rank_I: NDArray[np.int64], num_ids: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """(mode of each block of `factor` x `factor` pixels, (N, 3) row, column, class of those that may be thin).

    `rank_I` is the rarity of each id below `num_ids`: the higher, the rarer in the whole map.
    """
    height, width = labels_HW.shape
    rows, cols = (height + factor - 1) // factor, (width + factor - 1) // factor
    mode_HW = np.empty((rows, cols), np.uint16)
    thin_N3 = np.empty((64, 3), np.int64)
    num_thin = 0
    pixels_I = np.zeros(num_ids, np.int64)
    seen_P = np.empty(min(num_ids, factor * factor), np.int64)
    for row in range(rows):
        y0, y1 = row * factor, min(height, (row + 1) * factor)
        for col in range(cols):
            x0, x1 = col * factor, min(width, (col + 1) * factor)
            num_seen = 0
            last = int(labels_HW[y0, x0])
            run = 0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    value = int(labels_HW[y, x])
                    if value == last:
                        run += 1
                        continue
                    if pixels_I[last] == 0:
                        seen_P[num_seen] = last
                        num_seen += 1
                    pixels_I[last] += run
                    last, run = value, 1
            if pixels_I[last] == 0:
                seen_P[num_seen] = last
                num_seen += 1
            pixels_I[last] += run
            mode = last
            for i in range(num_seen):
                value = seen_P[i]
                more = pixels_I[value] - pixels_I[mode]
                if more > 0 or (more == 0 and rank_I[value] > rank_I[mode]):
                    mode = value
            mode_HW[row, col] = mode
            area = (y1 - y0) * (x1 - x0)
            for i in range(num_seen):
                value = seen_P[i]
                if value != 0 and value != mode and pixels_I[value] * factor >= area:
                    if num_thin == thin_N3.shape[0]:
                        thin_N3 = longer(thin_N3)
                    thin_N3[num_thin, 0], thin_N3[num_thin, 1], thin_N3[num_thin, 2] = row, col, value
                    num_thin += 1
                pixels_I[value] = 0
    return mode_HW, thin_N3[:num_thin]


@kernel
def show_thin(
    out_HW: NDArray[np.uint16], mode_HW: NDArray[np.uint16], thin_N3: NDArray[np.int64], rank_I: NDArray[np.int64]
) -> None:
    """Give a block to the rarest of its thin classes that is the mode of none of the 3 x 3 blocks around."""
    rows, cols = mode_HW.shape
    taken_HW = np.full((rows, cols), -1, np.int64)
    for i in range(thin_N3.shape[0]):
        row, col, value = thin_N3[i, 0], thin_N3[i, 1], thin_N3[i, 2]
        if rank_I[value] <= taken_HW[row, col]:
            continue
        nearby = False
        for y in range(max(0, row - 1), min(rows, row + 2)):
            for x in range(max(0, col - 1), min(cols, col + 2)):
                nearby = nearby or mode_HW[y, x] == value
        if not nearby:
            out_HW[row, col] = value
            taken_HW[row, col] = rank_I[value]


def warm() -> None:
    rank_I = np.zeros(256, np.int64)
    mode_HW, thin_N3 = modes_of_pixels(np.zeros((2, 2), np.uint16), 2, rank_I, 256)
    show_thin(mode_HW, mode_HW, thin_N3, rank_I)
