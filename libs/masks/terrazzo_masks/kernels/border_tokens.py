"""The fast profile: where the borders of each row lie, told from those of the row above (docs/mask-format.md).

A *border* is a column whose value differs from that of the column before; column 0 always is one. Most borders of
a row continue one of the row above, moved by a few columns: a token of one byte. zstd packs the tokens afterwards.
T: tokens, E: extras (bytes that a token needs besides), B: borders of a row.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import inlined, lean

REST, SKIP, NEW, MOVED = 0, 1, 2, 3
MOVE_MAX = 31
NEW_BYTES_MAX = 5
CHUNK = 32

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
Bytes = NDArray[np.uint8]
Columns = NDArray[np.int32]
Values = NDArray[np.uint16]
Row = NDArray[np.uint8 | np.uint16]


@inlined
def is_repeated(here: Row, above: Row) -> bool:
    """True when both rows are equal."""
    for start in range(0, here.size, 256):
        differ = False
        for x in range(start, min(start + 256, here.size)):
            differ |= here[x] != above[x]
        if differ:
            return False
    return True


@inlined
def find_borders(here: Row, column_B: Columns, value_B: Values) -> Int:
    """Borders of a row; returns how many."""
    column_B[0], value_B[0] = 0, here[0]
    num = 1
    start = 1
    while start + CHUNK <= here.size:
        part, before = here[start : start + CHUNK], here[start - 1 : start - 1 + CHUNK]
        differ = False
        for k in range(CHUNK):
            differ |= part[k] != before[k]
        if differ:
            for x in range(start, start + CHUNK):
                if here[x] != here[x - 1]:
                    column_B[num], value_B[num] = x, here[x]
                    num += 1
        start += CHUNK
    for x in range(start, here.size):
        if here[x] != here[x - 1]:
            column_B[num], value_B[num] = x, here[x]
            num += 1
    return num


@lean
def put_new(out_E: Bytes, at: Int, gap: Int, value: Int, itemsize: Int) -> Int:
    """Append a gap (7 bits a byte, low first, the high bit says that more follow) and a value."""
    while gap >= 128:
        out_E[at] = gap & 127 | 128
        gap >>= 7
        at += 1
    out_E[at] = gap
    out_E[at + 1] = value & 255
    if itemsize == 2:
        out_E[at + 2] = value >> 8
    return at + 1 + itemsize


@lean
def encode_row(
    column_B: Columns,
    value_B: Values,
    num: Int,
    above_B: Columns,
    above_value_B: Values,
    num_above: Int,
    itemsize: Int,
    out_T: Bytes,
    out_E: Bytes,
    used: NDArray[np.int64],
) -> None:
    """Tokens of one row; `used` counts the bytes of both outputs, which have room."""
    same = 0
    while same < min(num, num_above):
        i, j = num - 1 - same, num_above - 1 - same
        if column_B[i] != above_B[j] or value_B[i] != above_value_B[j]:
            break
        same += 1
    at, extra = used[0], used[1]
    limit = num_above - same
    last: Int = -1
    j = 0
    for i in range(num - same):
        x, value = np.int64(column_B[i]), value_B[i]
        while True:
            while j < limit and above_B[j] <= last:
                j += 1
            move = x - above_B[j] if j < limit else 0
            if j < limit and above_value_B[j] == value and -MOVE_MAX <= move <= MOVE_MAX:
                out_T[at] = MOVED + (2 * move if move >= 0 else -2 * move - 1)
                j += 1
                at += 1
                break
            ahead = x - above_B[j + 1] if j + 1 < limit else MOVE_MAX + 1
            later = -MOVE_MAX <= ahead <= MOVE_MAX and above_value_B[j + 1] == value
            if j < limit and (move > MOVE_MAX or later):
                out_T[at] = SKIP
                j += 1
                at += 1
                continue
            out_T[at] = NEW
            at += 1
            extra = put_new(out_E, extra, x - last - 1, np.int64(value), itemsize)
            break
        last = x
    while j < limit and above_B[j] <= last:
        j += 1
    while j < limit:
        out_T[at] = SKIP
        at += 1
        j += 1
    out_T[at] = REST
    used[0], used[1] = at + 1, extra


@lean
def encode(
    labels_HW: LabelMap,
    out_T: Bytes,
    out_E: Bytes,
    used: NDArray[np.int64],
    column_2B: NDArray[np.int32],
    value_2B: NDArray[np.uint16],
) -> bool:
    """Tokens and extras behind the `used` bytes of each; False when there is no room for them.

    `column_2B` and `value_2B` (2, width + 1) are room to work in.
    """
    itemsize = labels_HW.itemsize
    num, here = 1, 0
    column_2B[0, 0], value_2B[0, 0] = 0, 0
    for y in range(labels_HW.shape[0]):
        if used[0] + 1 > out_T.size:
            return False
        if y > 0 and is_repeated(labels_HW[y], labels_HW[y - 1]):
            out_T[used[0]] = REST
            used[0] += 1
            continue
        num_above, above, here = num, here, 1 - here
        num = find_borders(labels_HW[y], column_2B[here], value_2B[here])
        if used[0] + num + num_above + 1 > out_T.size or used[1] + num * (NEW_BYTES_MAX + 2) > out_E.size:
            return False
        encode_row(
            column_2B[here],
            value_2B[here],
            num,
            column_2B[above],
            value_2B[above],
            num_above,
            itemsize,
            out_T,
            out_E,
            used,
        )
    return True


@lean
def take_new(data_E: Bytes, used: NDArray[np.int64], itemsize: Int) -> tuple[Int, Int]:
    """(gap, value) from the extras; gap -1 when they end or the gap is too long."""
    at = used[1]
    gap: Int = 0
    shift = 0
    while True:
        if at >= data_E.size or shift > 28:
            return -1, 0
        byte = np.int64(data_E[at])
        at += 1
        gap |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if at + itemsize > data_E.size:
        return -1, 0
    value = np.int64(data_E[at])
    if itemsize == 2:
        value |= np.int64(data_E[at + 1]) << 8
    used[1] = at + itemsize
    return gap, value


@lean
def decode_row(
    data_T: Bytes,
    data_E: Bytes,
    used: NDArray[np.int64],
    column_B: Columns,
    value_B: Values,
    above_B: Columns,
    above_value_B: Values,
    num_above: Int,
    width: Int,
    itemsize: Int,
) -> Int:
    """Borders of one row from its tokens; returns how many, -1 when the tokens are damaged."""
    num, last, j = 0, -1, 0
    value: Int
    while True:
        if used[0] >= data_T.size:
            return -1
        token = np.int64(data_T[used[0]])
        used[0] += 1
        while j < num_above and above_B[j] <= last:
            j += 1
        if token == REST:
            break
        if token == SKIP:
            j += 1
            continue
        if token == NEW:
            gap, value = take_new(data_E, used, itemsize)
            if gap < 0:
                return -1
            x = last + 1 + gap
        else:
            if j >= num_above:
                return -1
            move = (token - MOVED + 1) >> 1
            x = above_B[j] + (move if (token - MOVED) & 1 == 0 else -move)
            value = np.int64(above_value_B[j])
            j += 1
        if x <= last or x >= width:
            return -1
        column_B[num], value_B[num] = x, value
        num += 1
        last = x
    while j < num_above:
        column_B[num], value_B[num] = above_B[j], above_value_B[j]
        num += 1
        j += 1
    return num if num > 0 and column_B[0] == 0 else -1


@lean
def decode(
    data_T: Bytes,
    data_E: Bytes,
    used: NDArray[np.int64],
    labels_HW: LabelMap,
    column_2B: NDArray[np.int32],
    value_2B: NDArray[np.uint16],
) -> bool:
    """Fill `labels_HW` from the tokens behind the `used` ones; False when they are damaged. Room: see `encode`."""
    height, width = labels_HW.shape
    itemsize = labels_HW.itemsize
    num, here = 1, 0
    column_2B[0, 0], value_2B[0, 0] = 0, 0
    for y in range(height):
        if y > 0 and used[0] < data_T.size and data_T[used[0]] == REST:
            used[0] += 1
            here_W, above_W = labels_HW[y], labels_HW[y - 1]
            for x in range(width):
                here_W[x] = above_W[x]
            continue
        num_above, above, here = num, here, 1 - here
        num = decode_row(
            data_T,
            data_E,
            used,
            column_2B[here],
            value_2B[here],
            column_2B[above],
            value_2B[above],
            num_above,
            width,
            itemsize,
        )
        if num < 0:
            return False
        column_2B[here, num] = width
        for i in range(num):
            value = labels_HW.dtype.type(value_2B[here, i])
            labels_HW[y, column_2B[here, i] : column_2B[here, i + 1]] = value
    return True


def warm() -> None:
    """Compile for both dtypes, both ways."""
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        labels_HW: LabelMap = np.eye(5).astype(dtype)
        out_T, out_E = np.zeros(256, dtype=np.uint8), np.zeros(256, dtype=np.uint8)
        for code in (encode, decode):
            room = np.zeros((2, 6), dtype=np.int32), np.zeros((2, 6), dtype=np.uint16)
            used = np.zeros(2, dtype=np.int64)
            if code is encode:
                encode(labels_HW, out_T, out_E, used, *room)
            else:
                decode(out_T, out_E, used, labels_HW, *room)
