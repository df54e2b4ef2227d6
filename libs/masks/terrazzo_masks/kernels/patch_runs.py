"""A stroke as runs of one value, row by row (docs/mask-format.md, method 4): written, and read onto its base."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.kernels.numbers import read_number, write_number
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import lean

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
Bytes = NDArray[np.uint8]
Wide = NDArray[np.uint16]
# A row in one byte: the run of the row before, of the same value, with its two ends moved by -8..7 columns.
MOVED_LEAST, MOVED_MOST = -8, 7
TOLD = 0  # the byte of a row whose runs are told one by one; as a move it would be -8, -8
SIDE_MAX = 2**32 - 1  # as a header says it; sums of a few numbers up to it fit 64 bits
# Room that may be needed behind the last byte that is looked at: two numbers and a value.
SLACK_BYTES = 16


@lean
def encode_runs(labels_HW: Wide, base_HW: Wide, top: Int, left: Int, itemsize: Int, out: Bytes) -> tuple[Int, Int]:
    """Write what differs in a box at (top, left); (bytes, pixels in runs), -1 bytes where `out` is too short.

    A run goes from a pixel that differs to one that differs and has one value throughout. The last SLACK_BYTES
    of `out` stay free.
    """
    height, width = labels_HW.shape
    at = write_number(out, write_number(out, 0, top), left)
    at = write_number(out, write_number(out, at, height), width)
    start, end, num_pixels = 0, 0, 0
    value: Int = -1
    for y in range(height):
        here, base = labels_HW[y], base_HW[y]
        first = next_change(here, base, 0)
        stop = width
        while stop > first and here[stop - 1] == base[stop - 1]:
            stop -= 1
        moved, grown = first - start, stop - end
        if (
            first < width
            and MOVED_LEAST <= moved <= MOVED_MOST
            and MOVED_LEAST <= grown <= MOVED_MOST
            and (moved > MOVED_LEAST or grown > MOVED_LEAST)
            and is_all(here[first:stop], value)
        ):
            out[at] = (moved - MOVED_LEAST) << 4 | (grown - MOVED_LEAST)
            at += 1
            start, end = first, stop
            num_pixels += end - start
        else:
            out[at] = TOLD
            at = write_number(out, at + 1, num_runs(here, base))
            told = 0
            while at <= out.size - SLACK_BYTES:
                first = next_change(here, base, told)
                if first == width:
                    break
                start, end, value = first, run_end(here, base, first), np.int64(here[first])
                at = write_number(out, write_number(out, at, start - told), end - start - 1)
                out[at] = value & 255
                if itemsize == 2:
                    out[at + 1] = value >> 8
                at += itemsize
                num_pixels += end - start
                told = end
        if at > out.size - SLACK_BYTES:
            return -1, num_pixels
    return at, num_pixels


@lean
def is_all(row: Wide, value: Int) -> bool:
    """Whether every pixel has this value."""
    same = True
    for x in range(row.size):
        same &= row[x] == value
    return same


@lean
def next_change(here: Wide, base: Wide, x: Int) -> Int:
    """The first column from `x` on in which the rows differ, or their width."""
    while x < here.size and here[x] == base[x]:
        x += 1
    return x


@lean
def run_end(here: Wide, base: Wide, first: Int) -> Int:
    """Behind the last pixel that differs, of those that follow `first` with its value and no other between."""
    end = first + 1
    x = end
    while x < here.size and here[x] == here[first]:
        if here[x] != base[x]:
            end = x + 1
        x += 1
    return end


@lean
def num_runs(here: Wide, base: Wide) -> Int:
    """In how many runs a row differs."""
    num, x = 0, next_change(here, base, 0)
    while x < here.size:
        num += 1
        x = next_change(here, base, run_end(here, base, x))
    return num


@lean
def read_size(data: Bytes, at: Int) -> tuple[Int, Int]:
    """(number, place behind it), the place being -1 for what is no number or more than the side of a map."""
    number, at = read_number(data, at)
    return number, (at if number <= SIDE_MAX else -1)


@lean
def draw_runs(data: Bytes, labels_HW: LabelMap) -> bool:
    """Draw the runs onto the base, which is in `labels_HW`; False when they are no runs of a map of this size."""
    numbers = (0, 0, 0, 0)
    at = 0
    for _ in range(4):
        number, at = read_size(data, at)
        if at < 0:
            return False
        numbers = (numbers[1], numbers[2], numbers[3], number)
    top, left, height, width = numbers
    if top + height > labels_HW.shape[0] or left + width > labels_HW.shape[1] or (height == 0) != (width == 0):
        return False
    start: Int = 0
    end: Int = 0
    value: Int = -1
    for y in range(top, top + height):
        row = labels_HW[y, left : left + width]
        if at >= data.size:
            return False
        token = np.int64(data[at])
        at += 1
        if token == TOLD:
            start, end, value, at = draw_told(data, at, row, labels_HW.itemsize, start, end, value)
            if at < 0:
                return False
            continue
        start, end = start + (token >> 4) + MOVED_LEAST, end + (token & 15) + MOVED_LEAST
        if value < 0 or not 0 <= start < end <= width:
            return False
        fill(row[start:end], value)
    return at == data.size


@lean
def draw_told(
    data: Bytes, at: Int, row: LabelMap, itemsize: Int, start: Int, end: Int, value: Int
) -> tuple[Int, Int, Int, Int]:
    """Draw the runs of a row that are told one by one: the last run's start, end and value, and the place behind.

    These stay as they are where there are no runs; the place is -1 when they do not fit the row, or bytes lack.
    """
    num, at = read_size(data, at)
    told = 0
    while num > 0 and at >= 0:
        gap, at = read_size(data, at)
        if at < 0:
            break
        more, at = read_size(data, at)
        if at < 0 or at + itemsize > data.size or told + gap + more >= row.size:
            return start, end, value, -1
        start, end = told + gap, told + gap + more + 1
        value = np.int64(data[at])
        if itemsize == 2:
            value |= np.int64(data[at + 1]) << 8
        at += itemsize
        fill(row[start:end], value)
        told = end
        num -= 1
    return start, end, value, at


@lean
def fill(row: LabelMap, value: Int) -> None:
    """Set every pixel: a loop that the compiler sees through, where a slice assignment takes a call."""
    for x in range(row.size):
        row[x] = value


def warm() -> None:
    """Compile for both dtypes."""
    out, wide_HW = np.zeros(64, np.uint8), np.eye(3, dtype=np.uint16)
    encode_runs(wide_HW, wide_HW, 0, 0, 1, out)
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        labels_HW: LabelMap = np.eye(3).astype(dtype)
        draw_runs(out, labels_HW)
