"""Boundary points of a label map's classes, as lists.

A list of points is sorted by rows, and by columns within a row. Runs are those of `runs`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean


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
def mark_below(
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_R: NDArray[np.int32],
    y: int,
    below: int,
    left: int,
    flag_W: NDArray[np.uint8],
) -> None:
    """Flag the columns where rows y and `below` differ, and `left` more columns before each stretch of them."""
    width = flag_W.size
    run, end = row_H1[y], row_H1[y + 1]
    other, other_end = row_H1[below], row_H1[below + 1]
    x = 0
    while x < width:
        run_until = start_R[run + 1] if run + 1 < end else width
        other_until = start_R[other + 1] if other + 1 < other_end else width
        until = min(run_until, other_until)
        if place_R[run] != place_R[other]:
            for flagged in range(max(0, x - left), until):
                flag_W[flagged] = 1
        run += run_until == until
        other += other_until == until
        x = until


@lean
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
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_R: NDArray[np.int32],
    width: int,
    num_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Pixels with a 4-neighbour of another class, or at the image's border: (first of each class (K+1,), y, x)."""
    height = row_H1.size - 1
    flag_W8 = np.zeros((width + 7) // 8 * 8, np.uint8)
    flag_W, words = flag_W8[:width], flag_W8.view(np.uint64)
    place_P, y_P, x_P = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    num = 0
    for y in range(height):
        mark_changes(row_H1, start_R, y, True, flag_W)
        flag_W[0] = flag_W[width - 1] = 1
        if y == 0 or y == height - 1:
            flag_W[:] = 1
        else:
            mark_below(row_H1, start_R, place_R, y, y - 1, 0, flag_W)
            mark_below(row_H1, start_R, place_R, y, y + 1, 0, flag_W)
        if num + width >= place_P.size:
            place_P, y_P, x_P = grown(place_P, width), grown(y_P, width), grown(x_P, width)
        run, end = row_H1[y], row_H1[y + 1]
        for word in range(words.size):
            if words[word] == 0:
                continue
            flags = words[word]
            while flags != 0:
                x = 8 * word + first_byte(flags)
                flags &= flags - np.uint64(1)
                run = run_until(start_R, run, end, x)
                place_P[num], y_P[num], x_P[num] = place_R[run], y, x
                num += place_R[run] < num_classes
            words[word] = 0
    return by_class(place_P, y_P, x_P, num, num_classes)


@kernel
def window_points(
    row_H1: NDArray[np.int64],
    start_R: NDArray[np.int32],
    place_R: NDArray[np.int32],
    width: int,
    num_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Upper left pixels of the 2 x 2 windows that hold a class and something else, for each of their classes.

    (first of each class (K+1,), y, x). At the right and lower border a window ends with the image.
    """
    height = row_H1.size - 1
    flag_W8 = np.zeros((width + 7) // 8 * 8, np.uint8)
    flag_W, words = flag_W8[:width], flag_W8.view(np.uint64)
    place_P, y_P, x_P = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    num = 0
    for y in range(height):
        below = min(y + 1, height - 1)
        mark_changes(row_H1, start_R, y, False, flag_W)
        if below > y:
            mark_changes(row_H1, start_R, below, False, flag_W)
            mark_below(row_H1, start_R, place_R, y, below, 1, flag_W)
        if num + 4 * width >= place_P.size:
            place_P, y_P, x_P = grown(place_P, 4 * width), grown(y_P, 4 * width), grown(x_P, 4 * width)
        run, end, other, other_end = row_H1[y], row_H1[y + 1], row_H1[below], row_H1[below + 1]
        for word in range(words.size):
            if words[word] == 0:
                continue
            flags = words[word]
            while flags != 0:
                x = 8 * word + first_byte(flags)
                flags &= flags - np.uint64(1)
                run, other = run_until(start_R, run, end, x), run_until(start_R, other, other_end, x)
                a, c = place_R[run], place_R[other]
                b = place_R[run + 1] if run + 1 < end and start_R[run + 1] == x + 1 else a
                d = place_R[other + 1] if other + 1 < other_end and start_R[other + 1] == x + 1 else c
                # Each class once.
                place_P[num], y_P[num], x_P[num] = a, y, x
                num += a < num_classes
                place_P[num], y_P[num], x_P[num] = b, y, x
                num += (b < num_classes) & (b != a)
                if c == a and d == b:
                    continue
                place_P[num], y_P[num], x_P[num] = c, y, x
                num += (c < num_classes) & (c != a) & (c != b)
                place_P[num], y_P[num], x_P[num] = d, y, x
                num += (d < num_classes) & (d != a) & (d != b) & (d != c)
            words[word] = 0
    return by_class(place_P, y_P, x_P, num, num_classes)


@lean
def first_byte(flags: np.uint64) -> int:
    """The lowest byte that is 1, of eight that are 0 or 1."""
    ones = np.uint64(0x0101010101010101)
    below = (flags & (~flags + np.uint64(1))) - np.uint64(1)
    return int(((below & ones) * ones) >> np.uint64(56))


@lean
def run_until(start_R: NDArray[np.int32], run: int, end: int, x: int) -> int:
    """The run of column x, or the row's last: `run` or one after it, before `end`."""
    while run + 1 < end and start_R[run + 1] <= x:
        run += 1
    return run


def warm() -> None:
    row_H1, start_R, place_of = np.array([0, 1]), np.zeros(1, np.int32), np.zeros(65536, np.int64)
    for dtype in (np.uint8, np.uint16):
        place_R = places_of_runs(np.zeros((1, 1), dtype), row_H1, start_R, place_of)
    window_points(row_H1, start_R, place_R, 1, 1)
    border_points(row_H1, start_R, place_R, 1, 1)
