"""The distance from each point of one list to the nearest of another.

A list of points is sorted by rows, and by columns within a row.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean

CELL_SHIFT = 4  # cells of 16 x 16 pixels
BEYOND = 2**40  # farther than any row: its square is a number too


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


@kernel
def link_columns(
    x_P: NDArray[np.int32], left: int, num_columns: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(first point of each column or -1, next point of the same column after each point or -1)."""
    first_X, next_P = np.full(num_columns, -1, np.int32), np.empty(x_P.size, np.int32)
    for p in range(x_P.size - 1, -1, -1):
        next_P[p] = first_X[x_P[p] - left]
        first_X[x_P[p] - left] = p
    return first_X, next_P


@lean
def envelope(
    y: int,
    left: int,
    y_P: NDArray[np.int32],
    passed_X: NDArray[np.int32],
    first_X: NDArray[np.int32],
    next_P: NDArray[np.int32],
    step_y: float,
    step_x: float,
    hull_X3: NDArray[np.float64],
) -> int:
    """The columns that are nearest to some place in row y, from left to right, and how many they are.

    Felzenszwalb and Huttenlocher (2012): each column's nearest point in the column makes a parabola over the row,
    `hull_X3` gets place, squared distance down the column, and from where on it is the lowest. `passed_X` is the
    last point of each column at or above row y.
    """
    num = 0
    for column in range(first_X.size):
        above = passed_X[column]
        below = next_P[above] if above >= 0 else first_X[column]
        if above < 0 and below < 0:
            continue
        away = y - y_P[above] if above >= 0 else y_P[below] - y
        if above >= 0 and below >= 0:
            away = min(away, y_P[below] - y)
        place, across = (left + column) * step_x, (away * step_y) ** 2
        start = -np.inf
        while num > 0:
            place_before, across_before = hull_X3[num - 1, 0], hull_X3[num - 1, 1]
            squares = (across + place * place) - (across_before + place_before * place_before)
            start = squares / (2 * (place - place_before))
            if start > hull_X3[num - 1, 2]:
                break
            num -= 1
            start = -np.inf
        hull_X3[num, 0], hull_X3[num, 1], hull_X3[num, 2] = place, across, start
        num += 1
    return num


@lean
def away_from_cells(y: int, top: int, row: int) -> int:
    """Rows from y to the nearest one of a row of cells."""
    start = top + (row << CELL_SHIFT)
    return max(0, start - y, y - start - (1 << CELL_SHIFT) + 1)


@lean
def nearest_in_cells(
    y: int,
    x: int,
    away: int,
    cell: int,
    num_across: int,
    first_C: NDArray[np.int32],
    left: int,
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    step_y: float,
    step_x: float,
    best: float,
    last: int,
) -> tuple[float, int, int]:
    """(smaller of `best` and the least squared distance in a row of cells, its point or `last`, points looked at).

    The row of `num_across` cells begins with `cell` at column `left`; its rows are `away` or more from y."""
    reach = int(np.sqrt(best - (away * step_y) ** 2) / step_x) + 1
    lowest = max(0, (x - reach - left) >> CELL_SHIFT)
    highest = min(num_across - 1, (x + reach - left) >> CELL_SHIFT)
    if lowest > highest:
        return best, last, 0
    first, end = first_C[cell + lowest], first_C[cell + highest + 1]
    for p in range(first, end):
        square = ((y - y_P[p]) * step_y) ** 2 + ((x - x_P[p]) * step_x) ** 2
        if square < best:
            best, last = square, p
    return best, last, end - first


@kernel
def nearest_squares(
    y_Q: NDArray[np.int32],
    x_Q: NDArray[np.int32],
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    step_y: float,
    step_x: float,
    limit: float,
    enough: float,
    square_Q: NDArray[np.float64],
) -> None:
    """Squared distance from each point of the first list to the nearest of the second, `limit` if none is nearer.

    A pixel is `step_y` high and `step_x` wide. A distance of up to `enough` may be that of any point so near.
    The second list has a point. Points are looked for by rows of cells, from the nearest outwards, until those
    alone are too far. Where that takes long for a row of points, what is left of it is read from the envelope of
    the second list's columns.
    """
    top, left = y_P[0], int(np.min(x_P))
    num_columns = int(np.max(x_P)) - left + 1
    num_across, num_down = ((num_columns - 1) >> CELL_SHIFT) + 1, ((y_P[-1] - top) >> CELL_SHIFT) + 1
    first_C, cell_y_P, cell_x_P = into_cells(y_P, x_P, top, left, num_across, num_down)
    first_X, next_P = np.empty(0, np.int32), np.empty(0, np.int32)
    passed_X, hull_X3 = np.empty(0, np.int32), np.empty((0, 3))
    # What was found last, and what was found last thereabouts in the row: most often nearly as near again.
    hint_X = np.zeros((int(np.max(x_Q)) >> CELL_SHIFT) + 1, np.int32)
    last, num_passed, work, row_of_work = 0, 0, 0, -1
    q = 0
    while q < y_Q.size:
        y, x = y_Q[q], x_Q[q]
        if y != row_of_work:
            work, row_of_work = 0, y
        best = ((y - cell_y_P[last]) * step_y) ** 2 + ((x - cell_x_P[last]) * step_x) ** 2
        if best <= enough:
            square_Q[q] = best
            q += 1
            continue
        hint = hint_X[x >> CELL_SHIFT]
        square = ((y - cell_y_P[hint]) * step_y) ** 2 + ((x - cell_x_P[hint]) * step_x) ** 2
        if square < best:
            best, last = square, hint
        best = min(limit, best)
        below = min(max((y - top) >> CELL_SHIFT, 0), num_down - 1)
        above = below - 1
        while best > enough:
            # Of the two rows of cells that come next, below and above, the nearer one.
            to_below = away_from_cells(y, top, below) if below < num_down else BEYOND
            to_above = away_from_cells(y, top, above) if above >= 0 else BEYOND
            away = min(to_below, to_above)
            if (away * step_y) ** 2 >= best:
                break
            row = below
            if to_below <= to_above:
                below += 1
            else:
                row = above
                above -= 1
            best, last, num = nearest_in_cells(
                y,
                x,
                away,
                row * num_across,
                num_across,
                first_C,
                left,
                cell_y_P,
                cell_x_P,
                step_y,
                step_x,
                best,
                last,
            )
            work += 2 + num
        square_Q[q] = best
        hint_X[x >> CELL_SHIFT] = last
        q += 1
        if work > 128 + num_columns and q < y_Q.size and y_Q[q] == y:
            if first_X.size == 0:
                first_X, next_P = link_columns(x_P, left, num_columns)
                passed_X, hull_X3 = np.full(num_columns, -1, np.int32), np.empty((num_columns, 3))
            while num_passed < y_P.size and y_P[num_passed] <= y:
                passed_X[x_P[num_passed] - left] = num_passed
                num_passed += 1
            num = envelope(int(y), left, y_P, passed_X, first_X, next_P, step_y, step_x, hull_X3)
            at = 0
            while q < y_Q.size and y_Q[q] == y:
                place = x_Q[q] * step_x
                while at + 1 < num and hull_X3[at + 1, 2] <= place:
                    at += 1
                square_Q[q] = min(limit, (place - hull_X3[at, 0]) ** 2 + hull_X3[at, 1])
                q += 1


def warm() -> None:
    y_P, x_P = np.zeros(1, np.int32), np.zeros(1, np.int32)
    nearest_squares(y_P, x_P, y_P, x_P, 1.0, 1.0, np.inf, 0.0, np.zeros(1))
