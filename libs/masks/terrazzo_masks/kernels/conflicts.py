"""Regions from runs: boxes of what touches, also across the borders of tiles."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def root_of(parent_N: NDArray[np.int64], i: int) -> int:
    """The region that run `i` belongs to, the way there made shorter."""
    while parent_N[i] != i:
        parent_N[i] = parent_N[parent_N[i]]
        i = parent_N[i]
    return i


@kernel
def boxes_of_runs(runs_N3: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M, 4) y, x, height, width of the 8-connected regions, in the order of their first runs.

    A run is (y, first x, x after the last); runs are sorted by y, then x, and do not overlap.
    """
    n = runs_N3.shape[0]
    parent_N = np.arange(n)
    above = 0
    for i in range(n):
        y, start, stop = runs_N3[i, 0], runs_N3[i, 1], runs_N3[i, 2]
        if i > 0 and runs_N3[i - 1, 0] == y and runs_N3[i - 1, 2] == start:
            parent_N[i] = root_of(parent_N, i - 1)
        while above < i and (
            runs_N3[above, 0] < y - 1 or (runs_N3[above, 0] == y - 1 and runs_N3[above, 2] < start)
        ):
            above += 1
        j = above
        while j < i and runs_N3[j, 0] == y - 1 and runs_N3[j, 1] <= stop:
            first, second = root_of(parent_N, i), root_of(parent_N, j)
            parent_N[max(first, second)] = min(first, second)
            j += 1
    box_N = np.full(n, -1, np.int64)
    boxes_M4 = np.zeros((n, 4), np.int64)
    num_boxes = 0
    for i in range(n):
        y, start, stop = runs_N3[i, 0], runs_N3[i, 1], runs_N3[i, 2]
        region = root_of(parent_N, i)
        box = box_N[region]
        if box < 0:
            box = num_boxes
            box_N[region] = box
            boxes_M4[box, 0], boxes_M4[box, 1], boxes_M4[box, 3] = y, start, stop - start
            num_boxes += 1
        right = max(boxes_M4[box, 1] + boxes_M4[box, 3], stop)
        boxes_M4[box, 1] = min(boxes_M4[box, 1], start)
        boxes_M4[box, 2], boxes_M4[box, 3] = y + 1 - boxes_M4[box, 0], right - boxes_M4[box, 1]
    return boxes_M4[:num_boxes]


def warm() -> None:
    boxes_of_runs(np.array([[0, 0, 1]], np.int64))
