"""Boundary points of a label map's classes, as lists.

A list of points is sorted by rows, and by columns within a row. Where a pixel differs from its neighbours is found
for a whole row at once; what classes meet there is asked of the few pixels that do.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean

Found = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]


@kernel
def grown(values: NDArray[np.int32], room: int) -> NDArray[np.int32]:
    larger = np.empty(2 * values.size + room, np.int32)
    larger[: values.size] = values
    return larger


@kernel
def by_class(
    place_P: NDArray[np.int32], y_P: NDArray[np.int32], x_P: NDArray[np.int32], num: int, num_classes: int
) -> Found:
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


@lean
def flag_borders(
    row_W: NDArray[Any], above_W: NDArray[Any], below_W: NDArray[Any], flag_W: NDArray[np.uint8]
) -> None:
    """Flag the pixels of a row that differ from a 4-neighbour, and the row's ends."""
    last = row_W.size - 1
    for x in range(1, last):
        label = row_W[x]
        flag_W[x] = (
            (label != row_W[x - 1]) | (label != row_W[x + 1]) | (label != above_W[x]) | (label != below_W[x])
        )
    flag_W[0] = flag_W[last] = 1


@lean
def flag_windows(row_W: NDArray[Any], below_W: NDArray[Any], flag_W: NDArray[np.uint8]) -> None:
    """Flag the upper left pixels of the 2 x 2 windows that are not of one id; the last has but two pixels."""
    last = row_W.size - 1
    for x in range(last):
        label = row_W[x]
        flag_W[x] = (label != row_W[x + 1]) | (label != below_W[x]) | (label != below_W[x + 1])
    flag_W[last] = row_W[last] != below_W[last]


@kernel
def border_points(labels_HW: NDArray[Any], place_of: NDArray[np.int64], num_classes: int) -> Found:
    """Pixels with a 4-neighbour of another class, or at the image's border: (first of each class (K+1,), y, x)."""
    height, width = labels_HW.shape
    flag_W8 = np.zeros((width + 7) // 8 * 8, np.uint8)
    flag_W, words = flag_W8[:width], flag_W8.view(np.uint64)
    place_P, y_P, x_P = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    num = 0
    for y in range(height):
        row_W = labels_HW[y]
        if y == 0 or y == height - 1:
            flag_W[:] = 1
        else:
            flag_borders(row_W, labels_HW[y - 1], labels_HW[y + 1], flag_W)
        if num + width >= place_P.size:
            place_P, y_P, x_P = grown(place_P, width), grown(y_P, width), grown(x_P, width)
        for word in range(words.size):
            flags = words[word]
            while flags != 0:
                x = 8 * word + first_byte(flags)
                flags &= flags - np.uint64(1)
                place = place_of[row_W[x]]
                place_P[num], y_P[num], x_P[num] = place, y, x
                num += place < num_classes
    return by_class(place_P, y_P, x_P, num, num_classes)


@lean
def add_windows(
    words: NDArray[np.uint64],
    y: int,
    row_W: NDArray[Any],
    below_W: NDArray[Any],
    place_of: NDArray[np.int64],
    num_classes: int,
    place_P: NDArray[np.int32],
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    num: int,
) -> int:
    """Append the flagged windows of a row, once for each class; returns how many points there are then."""
    last = row_W.size - 1
    for word in range(words.size):
        flags = words[word]
        while flags != 0:
            x = 8 * word + first_byte(flags)
            flags &= flags - np.uint64(1)
            right = min(x + 1, last)
            a, b, c, d = place_of[row_W[x]], place_of[row_W[right]], place_of[below_W[x]], place_of[below_W[right]]
            place_P[num], y_P[num], x_P[num] = a, y, x
            num += a < num_classes
            place_P[num], y_P[num], x_P[num] = b, y, x
            num += (b < num_classes) & (b != a)
            place_P[num], y_P[num], x_P[num] = c, y, x
            num += (c < num_classes) & (c != a) & (c != b)
            place_P[num], y_P[num], x_P[num] = d, y, x
            num += (d < num_classes) & (d != a) & (d != b) & (d != c)
    return num


@kernel
def window_points(labels_HW: NDArray[Any], place_of: NDArray[np.int64], num_classes: int) -> Found:
    """Upper left pixels of the 2 x 2 windows that hold a class and something else, for each of their classes.

    (first of each class (K+1,), y, x). At the right and lower border a window ends with the image.
    """
    height, width = labels_HW.shape
    flag_W8 = np.zeros((width + 7) // 8 * 8, np.uint8)
    flag_W, words = flag_W8[:width], flag_W8.view(np.uint64)
    place_P, y_P, x_P = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    num = 0
    for y in range(height):
        row_W, below_W = labels_HW[y], labels_HW[min(y + 1, height - 1)]
        flag_windows(row_W, below_W, flag_W)
        if num + 4 * width >= place_P.size:
            place_P, y_P, x_P = grown(place_P, 4 * width), grown(y_P, 4 * width), grown(x_P, 4 * width)
        num = add_windows(words, y, row_W, below_W, place_of, num_classes, place_P, y_P, x_P, num)
    return by_class(place_P, y_P, x_P, num, num_classes)


@lean
def first_byte(flags: np.uint64) -> int:
    """The lowest byte that is 1, of eight that are 0 or 1."""
    ones = np.uint64(0x0101010101010101)
    below = (flags & (~flags + np.uint64(1))) - np.uint64(1)
    return int(((below & ones) * ones) >> np.uint64(56))


def warm() -> None:
    place_of = np.zeros(65536, np.int64)
    for dtype in (np.uint8, np.uint16):
        labels_HW = np.zeros((1, 1), dtype)
        window_points(labels_HW, place_of, 1)
        border_points(labels_HW, place_of, 1)
