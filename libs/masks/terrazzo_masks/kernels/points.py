"""Boundary points of a label map's classes as lists, and the distance from each point of one list to another list.

A list of points is sorted by rows, and by columns within a row.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def mark_below(
    labels_HW: NDArray[Any],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    y: int,
    below: int,
    left: int,
    flag_W: NDArray[np.uint8],
) -> None:
    """Flag the columns where rows y and `below` differ, and `left` more columns before each stretch of them."""
    width = labels_HW.shape[1]
    run, end = row_H1[y], row_H1[y + 1]
    other, other_end = row_H1[below], row_H1[below + 1]
    x = 0
    while x < width:
        run_until = start_R[run + 1] if run + 1 < end else width
        other_until = start_R[other + 1] if other + 1 < other_end else width
        until = min(run_until, other_until)
        if labels_HW[y, x] != labels_HW[below, x]:
            flag_W[max(0, x - left) : until] = 1
        run += run_until == until
        other += other_until == until
        x = until


@kernel
def mark_changes(
    row_H1: NDArray[np.int64], start_R: NDArray[np.int32], y: int, both_sides: bool, flag_W: NDArray[np.uint8]
) -> None:
    """Flag the last column before each change in row y, and the first after it if asked for."""
    for run in range(row_H1[y] + 1, row_H1[y + 1]):
        flag_W[start_R[run] - 1] = 1
        if both_sides:
            flag_W[start_R[run]] = 1


@kernel
def grown(values: NDArray[np.int32], room: int) -> NDArray[np.int32]:
    larger = np.empty(2 * values.size + room, np.int32)
    larger[: values.size] = values
    return larger


@kernel
def by_class(
    place_P: NDArray[np.int32], y_P: NDArray[np.int32], x_P: NDArray[np.int32], num: int, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """The first `num` points class by class, each class in the order given: (first of each class, y, x)."""
    first_K1 = np.zeros(num_classes + 2, np.int64)
    for p in range(num):
        first_K1[place_P[p] + 2] += 1
    for k in range(2, num_classes + 2):
        first_K1[k] += first_K1[k - 1]
    sorted_y_P, sorted_x_P = np.empty(num, np.int32), np.empty(num, np.int32)
    for p in range(num):
        at = first_K1[place_P[p] + 1]
        sorted_y_P[at], sorted_x_P[at] = y_P[p], x_P[p]
        first_K1[place_P[p] + 1] = at + 1
    return first_K1[: num_classes + 1].copy(), sorted_y_P, sorted_x_P


@kernel
def border_points(
    labels_HW: NDArray[Any],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_of: NDArray[np.int64],
    num_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Pixels with a 4-neighbour of another class, or at the image's border: (first of each class (K+1,), y, x)."""
    height, width = labels_HW.shape
    flag_W8 = np.zeros((width + 7) // 8 * 8, np.uint8)
    flag_W = flag_W8[:width]
    words = flag_W8.view(np.uint64)
    place_P, y_P, x_P = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    num = 0
    for y in range(height):
        mark_changes(row_H1, start_R, y, True, flag_W)
        flag_W[0] = flag_W[width - 1] = 1
        if y == 0 or y == height - 1:
            flag_W[:] = 1
        else:
            mark_below(labels_HW, row_H1, start_R, y, y - 1, 0, flag_W)
            mark_below(labels_HW, row_H1, start_R, y, y + 1, 0, flag_W)
        if num + width > place_P.size:
            place_P, y_P, x_P = grown(place_P, width), grown(y_P, width), grown(x_P, width)
        for word in range(words.size):
            if words[word] == 0:
                continue
            for x in range(8 * word, min(width, 8 * word + 8)):
                place = place_of[labels_HW[y, x]]
                if flag_W[x] and place < num_classes:
                    place_P[num], y_P[num], x_P[num] = place, y, x
                    num += 1
            words[word] = 0
    return by_class(place_P, y_P, x_P, num, num_classes)


@kernel
def window_points(
    labels_HW: NDArray[Any],
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_of: NDArray[np.int64],
    num_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Upper left pixels of the 2 x 2 windows that hold a class and something else, for each of their classes.

    (first of each class (K+1,), y, x). At the right and lower border a window ends with the image.
    """
    height, width = labels_HW.shape
    flag_W8 = np.zeros((width + 7) // 8 * 8, np.uint8)
    flag_W = flag_W8[:width]
    words = flag_W8.view(np.uint64)
    place_P, y_P, x_P = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    num = 0
    for y in range(height):
        below = min(y + 1, height - 1)
        mark_changes(row_H1, start_R, y, False, flag_W)
        if below > y:
            mark_changes(row_H1, start_R, below, False, flag_W)
            mark_below(labels_HW, row_H1, start_R, y, below, 1, flag_W)
        if num + 4 * width > place_P.size:
            place_P, y_P, x_P = grown(place_P, 4 * width), grown(y_P, 4 * width), grown(x_P, 4 * width)
        for word in range(words.size):
            if words[word] == 0:
                continue
            for x in range(8 * word, min(width, 8 * word + 8)):
                if not flag_W[x]:
                    continue
                right = min(x + 1, width - 1)
                a, b = place_of[labels_HW[y, x]], place_of[labels_HW[y, right]]
                c, d = place_of[labels_HW[below, x]], place_of[labels_HW[below, right]]
                # Each class once.
                for place in (a, b if b != a else num_classes, c if c not in (a, b) else num_classes):
                    if place < num_classes:
                        place_P[num], y_P[num], x_P[num] = place, y, x
                        num += 1
                if d < num_classes and d not in (a, b, c):
                    place_P[num], y_P[num], x_P[num] = d, y, x
                    num += 1
            words[word] = 0
    return by_class(place_P, y_P, x_P, num, num_classes)


@kernel
def first_of_rows(y_P: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each row from that of the first point to that of the last begins, and, last, the number of points."""
    first_R1 = np.zeros(y_P[-1] - y_P[0] + 2, np.int64)
    for p in range(y_P.size):
        first_R1[y_P[p] - y_P[0] + 1] += 1
    for row in range(first_R1.size - 1):
        first_R1[row + 1] += first_R1[row]
    return first_R1


@kernel
def nearest_of_row(x: int, first: int, end: int, at: int, x_P: NDArray[np.int32]) -> tuple[int, int]:
    """(the point of a row that is nearest to column x, the first at or right of x or else the last).

    The row has the points from `first` to `end`; the search begins at `at`."""
    while at + 1 < end and x_P[at] < x:
        at += 1
    while at > first and x_P[at - 1] >= x:
        at -= 1
    nearest = at
    if at > first and abs(x - x_P[at - 1]) < abs(x - x_P[at]):
        nearest = at - 1
    return nearest, at


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


@kernel
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
    The second list has a point. Rows are looked at from the nearest outwards, until they alone are too far. Where
    that takes long for a row of points, what is left of it is read from the envelope of the second list's columns.
    """
    top, bottom, left = y_P[0], y_P[-1], int(np.min(x_P))
    num_columns = int(np.max(x_P)) - left + 1
    first_R1 = first_of_rows(y_P)
    cursor_R = first_R1[:-1].copy()  # where each row was last looked into: the next point is looked for nearby
    first_X, next_P = np.empty(0, np.int32), np.empty(0, np.int32)
    passed_X, hull_X3 = np.empty(0, np.int32), np.empty((0, 3))
    last, num_passed, work, row_of_work = 0, 0, 0, -1
    q = 0
    while q < y_Q.size:
        y, x = y_Q[q], x_Q[q]
        if y != row_of_work:
            work, row_of_work = 0, y
        best = min(limit, ((y - y_P[last]) * step_y) ** 2 + ((x - x_P[last]) * step_x) ** 2)
        away = max(0, max(top - y, y - bottom))
        while best > enough and (away * step_y) ** 2 < best and (y - away >= top or y + away <= bottom):
            for side in range(2 if away else 1):
                row = (y - away if side == 0 else y + away) - top
                if 0 <= row <= bottom - top and first_R1[row] < first_R1[row + 1]:
                    start = cursor_R[row]
                    near, cursor_R[row] = nearest_of_row(x, first_R1[row], first_R1[row + 1], start, x_P)
                    work += 1 + abs(cursor_R[row] - start)
                    square = (away * step_y) ** 2 + ((x - x_P[near]) * step_x) ** 2
                    if square < best:
                        best, last = square, near
            away += 1
            work += 1
        square_Q[q] = best
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
    row_H1, start_R, place_of = np.array([0, 1]), np.zeros(1, np.int32), np.zeros(65536, np.int64)
    for dtype in (np.uint8, np.uint16):
        labels_HW = np.zeros((1, 1), dtype)
        window_points(labels_HW, row_H1, start_R, place_of, 1)
        _, y_P, x_P = border_points(labels_HW, row_H1, start_R, place_of, 1)
        nearest_squares(y_P, x_P, y_P, x_P, 1.0, 1.0, np.inf, 0.0, np.zeros(1))
