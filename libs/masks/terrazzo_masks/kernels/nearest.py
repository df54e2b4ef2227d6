"""The distance from each point of one list to the nearest of another.

Both lists are laid out by cells. For all points of one cell together the few others are found that can be nearest
to any of them; then each point looks through those alone.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean, reducing

CELL_SHIFT = 4  # cells of 16 x 16 pixels
BEYOND = 2**40  # farther than any row: its square is a number too
SLACK = 1 + 1e-9  # what is left out for good shall be farther by more than a rounding error


@kernel
def into_cells(
    y_P: NDArray[np.int32], x_P: NDArray[np.int32], top: int, left: int, num_across: int, num_down: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Points by cell, cells row by row from (top, left): (first of each cell and, last, their number; y; x)."""
    first_C2 = np.zeros(num_across * num_down + 2, np.int32)
    for p in range(y_P.size):
        first_C2[((y_P[p] - top) >> CELL_SHIFT) * num_across + ((x_P[p] - left) >> CELL_SHIFT) + 2] += 1
    for cell in range(2, first_C2.size):
        first_C2[cell] += first_C2[cell - 1]
    sorted_y_P, sorted_x_P = np.empty_like(y_P), np.empty_like(x_P)
    for p in range(y_P.size):
        cell = ((y_P[p] - top) >> CELL_SHIFT) * num_across + ((x_P[p] - left) >> CELL_SHIFT) + 1
        at = first_C2[cell]
        sorted_y_P[at], sorted_x_P[at] = y_P[p], x_P[p]
        first_C2[cell] = at + 1
    return first_C2, sorted_y_P, sorted_x_P


@lean
def outside(at: float, start: int, cell: int) -> float:
    """How far `at` lies outside the pixels of a cell; cell 0 begins at `start`."""
    first = start + (cell << CELL_SHIFT)
    return max(0.0, first - at, at - first - ((1 << CELL_SHIFT) - 1))


@lean
def nearest_to(
    y: float,
    x: float,
    grid: tuple[int, int, int, int],
    first_C: NDArray[np.int32],
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    step_y: float,
    step_x: float,
    nearest: int,
) -> tuple[float, int]:
    """(squared distance, point) of the nearest point to a place; `nearest` is a guess.

    Rows of cells are looked through from the nearest outwards, until those alone are too far.
    """
    top, left, num_across, num_down = grid
    best = ((y - y_P[nearest]) * step_y) ** 2 + ((x - x_P[nearest]) * step_x) ** 2
    below = min(max((int(y) - top) >> CELL_SHIFT, 0), num_down - 1)
    above = below - 1
    while True:
        # Of the two rows of cells that come next, below and above, the nearer one.
        to_below = outside(y, top, below) if below < num_down else float(BEYOND)
        to_above = outside(y, top, above) if above >= 0 else float(BEYOND)
        away = min(to_below, to_above) * step_y
        if away * away >= best:
            return best, nearest
        row = below
        if to_below <= to_above:
            below += 1
        else:
            row = above
            above -= 1
        reach = min(np.sqrt(best - away * away) / step_x + 1, float(BEYOND))
        lowest = max(0, (int(x - reach) - left) >> CELL_SHIFT)
        highest = min(num_across - 1, (int(x + reach) - left) >> CELL_SHIFT)
        if lowest > highest:
            continue
        for p in range(first_C[row * num_across + lowest], first_C[row * num_across + highest + 1]):
            square = ((y - y_P[p]) * step_y) ** 2 + ((x - x_P[p]) * step_x) ** 2
            if square < best:
                best, nearest = square, p


@lean
def gather(
    y: float,
    x: float,
    half_y: float,
    half_x: float,
    grid: tuple[int, int, int, int],
    first_C: NDArray[np.int32],
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    step_y: float,
    step_x: float,
    best: float,
    nearest: int,
    y_C: NDArray[np.float64],
    x_C: NDArray[np.float64],
) -> int:
    """Copy those points that can be nearest to a place of the box `half_y`, `half_x` around (y, x); how many.

    `nearest` is the nearest to the box's centre. Another point is left out if even the corner of the box that lies
    farthest on its side is nearer to that one. How much nearer is a linear function over the box.
    """
    top, left, num_across, num_down = grid
    box_y, box_x = half_y * step_y, half_x * step_x
    farthest = (np.sqrt(best) + 2 * np.sqrt(box_y * box_y + box_x * box_x)) * SLACK
    reach_y, reach_x = min(farthest / step_y, float(BEYOND)) + 1, min(farthest / step_x, float(BEYOND)) + 1
    nearest_y, nearest_x = y_P[nearest], x_P[nearest]
    row_first = max(0, (int(y - reach_y) - top) >> CELL_SHIFT)
    row_last = min(num_down - 1, (int(y + reach_y) - top) >> CELL_SHIFT)
    col_first = max(0, (int(x - reach_x) - left) >> CELL_SHIFT)
    col_last = min(num_across - 1, (int(x + reach_x) - left) >> CELL_SHIFT)
    num = 0
    for row in range(row_first, row_last + 1):
        away = outside(y, top, row) * step_y
        if away > farthest:
            continue
        for p in range(first_C[row * num_across + col_first], first_C[row * num_across + col_last + 1]):
            across_y, across_x = (y - y_P[p]) * step_y, (x - x_P[p]) * step_x
            aside = box_y * abs(y_P[p] - nearest_y) * step_y + box_x * abs(x_P[p] - nearest_x) * step_x
            y_C[num], x_C[num] = y_P[p], x_P[p]
            num += across_y * across_y + across_x * across_x <= (best + 2 * aside) * SLACK
    return num


@reducing
def least_square(
    y: float,
    x: float,
    num: int,
    y_C: NDArray[np.float64],
    x_C: NDArray[np.float64],
    step_y: float,
    step_x: float,
) -> float:
    """The squared distance to the nearest of the first `num` points."""
    best = np.inf
    for i in range(num):
        down, across = (y - y_C[i]) * step_y, (x - x_C[i]) * step_x
        best = min(best, down * down + across * across)
    return best


@kernel
def nearest_squares(
    y_Q: NDArray[np.int32],
    x_Q: NDArray[np.int32],
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    step_y: float,
    step_x: float,
    square_Q: NDArray[np.float64],
) -> None:
    """Squared distances from the points of the first list to the nearest of the second, in any order.

    A pixel is `step_y` high and `step_x` wide. Both lists are sorted by rows, the second has a point.
    """
    left, top = int(np.min(x_P)), int(y_P[0])
    grid = (top, left, ((int(np.max(x_P)) - left) >> CELL_SHIFT) + 1, ((int(y_P[-1]) - top) >> CELL_SHIFT) + 1)
    first_C, y_P, x_P = into_cells(y_P, x_P, top, left, grid[2], grid[3])
    left, top = int(np.min(x_Q)), int(y_Q[0])
    num_across, num_down = ((int(np.max(x_Q)) - left) >> CELL_SHIFT) + 1, ((int(y_Q[-1]) - top) >> CELL_SHIFT) + 1
    first_D, y_Q, x_Q = into_cells(y_Q, x_Q, top, left, num_across, num_down)
    y_C, x_C = np.empty(y_P.size + 1), np.empty(y_P.size + 1)
    nearest = 0
    for cell in range(num_across * num_down):
        first, end = first_D[cell], first_D[cell + 1]
        if first == end:
            continue
        x_min, x_max = x_Q[first], x_Q[first]
        for q in range(first + 1, end):
            x_min, x_max = min(x_min, x_Q[q]), max(x_max, x_Q[q])
        y, x = (y_Q[first] + y_Q[end - 1]) / 2, (x_min + x_max) / 2
        half_y, half_x = (y_Q[end - 1] - y_Q[first]) / 2, (x_max - x_min) / 2
        best, nearest = nearest_to(y, x, grid, first_C, y_P, x_P, step_y, step_x, nearest)
        num = gather(y, x, half_y, half_x, grid, first_C, y_P, x_P, step_y, step_x, best, nearest, y_C, x_C)
        for q in range(first, end):
            square_Q[q] = least_square(float(y_Q[q]), float(x_Q[q]), num, y_C, x_C, step_y, step_x)


def warm() -> None:
    y_P, x_P = np.zeros(1, np.int32), np.zeros(1, np.int32)
    nearest_squares(y_P, x_P, y_P, x_P, 1.0, 1.0, np.zeros(1))
