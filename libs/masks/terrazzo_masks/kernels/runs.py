"""Runs of equal pixels in the rows of a label map, and the connected regions that they join into.

A run is a longest stretch of one class in a row. `start_R` holds the first column of each, row by row;
`row_H1[y]` is the first run of row y, and `row_H1[H]` how many there are. What holds for regions is worked out on
runs, which are few, rather than on pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def find_runs(labels_HW: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(row_H1, start_R) of a C-contiguous label map."""
    height, width = labels_HW.shape
    row_H1 = np.zeros(height + 1, np.int64)
    start_R = np.empty(height + 4 * width + 64, np.int32)
    differs = np.zeros((width + 7) // 8 * 8, np.uint8)
    words = differs.view(np.uint64)
    num = 0
    for y in range(height):
        row = labels_HW[y]
        if num + width >= start_R.size:
            larger_R = np.empty(2 * start_R.size + width, np.int32)
            larger_R[:num] = start_R[:num]
            start_R = larger_R
        for x in range(1, width):
            differs[x] = row[x] != row[x - 1]
        start_R[num] = 0
        num += 1
        for word in range(words.size):
            if words[word] != 0:
                for x in range(8 * word, 8 * word + 8):
                    start_R[num] = x
                    num += differs[x]
        row_H1[y + 1] = num
    return row_H1, start_R[:num].copy()


@kernel
def root_of(parent_R: NDArray[np.int32], run: int) -> int:
    """The first run of the region, halving the way there for whoever asks next."""
    while parent_R[run] != run:
        parent_R[run] = parent_R[parent_R[run]]
        run = parent_R[run]
    return run


@kernel
def join_runs(
    labels_HW: NDArray[Any], row_H1: NDArray[np.int64], start_R: NDArray[np.int32], reach: int
) -> tuple[NDArray[np.int32], int]:
    """(region of each run, how many regions): numbered from 0 in the order of their first pixels.

    `reach` is 0 where regions join across sides (4-connected), 1 where across corners too (8-connected).
    """
    height, width = labels_HW.shape
    parent_R = np.arange(start_R.size).astype(np.int32)
    for y in range(1, height):
        above, above_end = row_H1[y - 1], row_H1[y]
        for run in range(row_H1[y], row_H1[y + 1]):
            start = start_R[run]
            end = start_R[run + 1] if run + 1 < row_H1[y + 1] else width
            label = labels_HW[y, start]
            # Runs above that reach `start` - reach; the last one looked at may reach into the next run too.
            while above + 1 < above_end and start_R[above + 1] <= start - reach:
                above += 1
            other = above
            while other < above_end and start_R[other] < end + reach:
                if labels_HW[y - 1, start_R[other]] == label:
                    first, second = root_of(parent_R, other), root_of(parent_R, run)
                    parent_R[max(first, second)] = min(first, second)
                other += 1
    region_R = np.empty(start_R.size, np.int32)
    num = 0
    for run in range(start_R.size):
        if parent_R[run] == run:
            region_R[run] = num
            num += 1
        else:
            region_R[run] = region_R[root_of(parent_R, run)]
    return region_R, num


@kernel
def paint_runs(
    region_HW: NDArray[np.int32],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    region_R: NDArray[np.int32],
) -> None:
    """Write the region of each run into its pixels."""
    height, width = region_HW.shape
    for y in range(height):
        for run in range(row_H1[y], row_H1[y + 1]):
            end = start_R[run + 1] if run + 1 < row_H1[y + 1] else width
            region_HW[y, start_R[run] : end] = region_R[run]


@kernel
def measure_regions(
    labels_HW: NDArray[Any],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    region_R: NDArray[np.int32],
    figures_N8: NDArray[np.int64],
) -> None:
    """Of each region: class, area, first row, first column, row and column after the last, lowest and highest
    class beside it (4-neighbours; 65536 and -1: the whole map is the region)."""
    height, width = labels_HW.shape
    figures_N8[:, 1] = 0
    figures_N8[:, 2] = -1
    figures_N8[:, 3] = width
    figures_N8[:, 5] = 0
    figures_N8[:, 6] = 65536
    figures_N8[:, 7] = -1
    for y in range(height):
        above, above_end = (row_H1[y - 1], row_H1[y]) if y else (0, 0)
        for run in range(row_H1[y], row_H1[y + 1]):
            start = start_R[run]
            last_of_row = run + 1 == row_H1[y + 1]
            end = width if last_of_row else start_R[run + 1]
            region, label = region_R[run], int(labels_HW[y, start])
            row = figures_N8[region]
            row[0] = label
            row[1] += end - start
            row[2] = y if row[2] < 0 else row[2]
            row[3] = min(row[3], start)
            row[4] = y + 1
            row[5] = max(row[5], end)
            if not last_of_row:
                beside(figures_N8, region, label, region_R[run + 1], int(labels_HW[y, end]))
            while above + 1 < above_end and start_R[above + 1] <= start:
                above += 1
            other = above
            while other < above_end and start_R[other] < end:
                if region_R[other] != region:
                    beside(figures_N8, region, label, region_R[other], int(labels_HW[y - 1, start_R[other]]))
                other += 1


@kernel
def beside(figures_N8: NDArray[np.int64], first: int, first_label: int, second: int, second_label: int) -> None:
    """Two regions touch: each is told the other's class."""
    figures_N8[first, 6] = min(figures_N8[first, 6], second_label)
    figures_N8[first, 7] = max(figures_N8[first, 7], second_label)
    figures_N8[second, 6] = min(figures_N8[second, 6], first_label)
    figures_N8[second, 7] = max(figures_N8[second, 7], first_label)


@kernel
def find_wide(
    labels_HW: NDArray[Any],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    region_R: NDArray[np.int32],
    asked_N: NDArray[np.bool_],
    side: int,
    wide_N: NDArray[np.bool_],
) -> None:
    """Set `wide_N` of the asked regions into which a square of `side` pixels fits."""
    height, width = labels_HW.shape
    for y in range(height - side + 1):
        for run in range(row_H1[y], row_H1[y + 1]):
            region = region_R[run]
            if not asked_N[region] or wide_N[region]:
                continue
            end = start_R[run + 1] if run + 1 < row_H1[y + 1] else width
            label = labels_HW[y, start_R[run]]
            x = start_R[run]
            while x + side <= end:
                fits = True
                for dy in range(1, side):
                    for dx in range(side):
                        fits &= labels_HW[y + dy, x + dx] == label
                if fits:
                    wide_N[region] = True
                    break
                x += 1


def warm() -> None:
    for dtype in (np.uint8, np.uint16):
        labels_HW = np.eye(3, dtype=dtype)
        row_H1, start_R = find_runs(labels_HW)
        region_R, num = join_runs(labels_HW, row_H1, start_R, 1)
        paint_runs(np.zeros((3, 3), np.int32), row_H1, start_R, region_R)
        measure_regions(labels_HW, row_H1, start_R, region_R, np.zeros((num, 8), np.int64))
        chosen_N = np.ones(num, np.bool_)
        find_wide(labels_HW, row_H1, start_R, region_R, chosen_N, 2, ~chosen_N)
