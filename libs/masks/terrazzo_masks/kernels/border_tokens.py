"""The fast profile: where the borders of each row lie, told from those of the row above (docs/mask-format.md).

A *border* is a column whose value differs from that of the column before; column 0 always is one. Most borders of
a row continue one of the row above, moved by a few columns: a token of one byte. zstd packs the tokens afterwards.

Kernels keep a border as one number, its column above its value's 16 bits, so that one subtraction compares both.
Behind the last border of a row stands END. Rows are searched in words of 8 bytes; in a word the first byte is the
lowest, as on every machine that numba has wheels for.

H: rows, T: tokens, E: extras (bytes that a token needs besides), B: borders of a row, W: words of a row,
N: pixels from a place on.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import inlined, lean

REST, SKIP, NEW, MOVED = 0, 1, 2, 3
MOVE_MAX = 31
NEW_BYTES_MAX = 5
COUNTS_BYTES = 8
WORD = 8
VALUE_BITS = 16
VALUE = (1 << VALUE_BITS) - 1
NEAR = MOVE_MAX << VALUE_BITS
# Greater than each border, and further from them than any moves.
END = 1 << 40
# A place in an array after `& PLACE` is known not to be negative: numba then need not look whether it counts from
# the end.
PLACE = (1 << 46) - 1
# Runs are painted in pieces of as many pixels: what goes over the end of a run is painted over by what follows.
PIECE = 64
# Pixels are copied in multiples of as many, for the same reason.
COPIED = 32
ZERO, ONE = np.uint64(0), np.uint64(1)
HIGH_BITS_8, HIGH_BITS_16 = np.uint64(0x8080808080808080), np.uint64(0x8000800080008000)
# The number of a lone bit, looked up by the six highest bits of its product with a de Bruijn sequence (Leiserson,
# Prokop and Randall, Using de Bruijn sequences to index a 1 in a computer word, 1998).
DE_BRUIJN, DE_BRUIJN_SHIFT = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
BIT = np.zeros(64, dtype=np.uint8)
for _bit in range(64):
    BIT[((int(DE_BRUIJN) << _bit) & (2**64 - 1)) >> int(DE_BRUIJN_SHIFT)] = _bit

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
Bytes = NDArray[np.uint8]
Borders = NDArray[np.int64]
Words = NDArray[np.uint64]


@inlined
def is_repeated(here_W: Words, above_W: Words) -> bool:
    """True when both rows are equal."""
    differ = ZERO
    for i in range(here_W.size):
        differ |= here_W[i] ^ above_W[i]
    return bool(differ == ZERO)


@inlined
def find_borders(here_W: Words, itemsize: Int, border_B: Borders, room_2W: Words) -> Int:
    """Borders of a row; returns how many.

    First what each pixel differs in from the one before, then the words that have such pixels, then those pixels:
    three plain loops, since where borders are is what a processor cannot guess.
    """
    differ_W, place_W = room_2W[0], room_2W[1]
    shift, back = np.uint64(8 * itemsize), np.uint64(64 - 8 * itemsize)
    mask = (ONE << shift) - ONE
    differ_W[0] = here_W[0] ^ (here_W[0] << shift | here_W[0] & mask)
    for i in range(1, here_W.size):
        differ_W[i] = here_W[i] ^ (here_W[i] << shift | here_W[i - 1] >> back)
    num_places = 0
    for i in range(here_W.size):
        place_W[num_places & PLACE] = i
        num_places += differ_W[i] != ZERO
    high = HIGH_BITS_8 if itemsize == 1 else HIGH_BITS_16
    to_column = np.uint64(3 if itemsize == 1 else 4)
    border_B[0] = np.int64(here_W[0] & mask)
    num: Int = 1
    for p in range(num_places):
        place = place_W[p]
        word, differ = here_W[place], differ_W[place]
        first = place << (np.uint64(6) - to_column)
        # The highest bit of each pixel that is not 0.
        flags = ((differ & ~high) + ~high | differ) & high
        while flags:
            bit = np.uint64(BIT[(flags & (~flags + ONE)) * DE_BRUIJN >> DE_BRUIJN_SHIFT])
            value = word >> (bit & ~(shift - ONE)) & mask
            border_B[num & PLACE] = np.int64(first + (bit >> to_column) << np.uint64(VALUE_BITS) | value)
            num += 1
            flags &= flags - ONE
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


@inlined
def is_move(apart: Int) -> bool:
    """True when two borders that are `apart` have one value and columns that a token can tell."""
    return bool(apart & VALUE == 0 and -NEAR <= apart <= NEAR)


@inlined
def encode_row(
    border_B: Borders,
    num: Int,
    above_B: Borders,
    num_above: Int,
    itemsize: Int,
    out_T: Bytes,
    at: Int,
    out_E: Bytes,
    extra: Int,
) -> tuple[Int, Int]:
    """Tokens of one row from `at` on, its extras from `extra` on; returns both places behind them.

    The outputs have room. Writes over `above_B`, which has room for two more.
    """
    while num > 0 and num_above > 0 and border_B[num - 1 & PLACE] == above_B[num_above - 1 & PLACE]:
        num -= 1
        num_above -= 1
    above_B[num_above & PLACE] = END
    above_B[num_above + 1 & PLACE] = END
    j = 0
    floor: Int = 0  # the least that a border in the next column can be
    for i in range(num):
        border = border_B[i]
        while above_B[j & PLACE] < floor:
            j += 1
        while True:
            above = above_B[j & PLACE]
            apart = border - above
            if is_move(apart):
                out_T[at & PLACE] = MOVED + (apart >> VALUE_BITS - 1 ^ apart >> 63)
                j += 1
                break
            move = (border >> VALUE_BITS) - (above >> VALUE_BITS)
            if move <= MOVE_MAX and not is_move(border - above_B[j + 1 & PLACE]):
                out_T[at & PLACE] = NEW
                extra = put_new(out_E, extra, border - floor >> VALUE_BITS, border & VALUE, itemsize)
                break
            out_T[at & PLACE] = SKIP
            at += 1
            j += 1
        at += 1
        floor = (border | VALUE) + 1
    while above_B[j & PLACE] < floor:
        j += 1
    while j < num_above:
        out_T[at & PLACE] = SKIP
        at += 1
        j += 1
    out_T[at & PLACE] = REST
    return at + 1, extra


@lean
def encode(
    words_HW: Words,
    num_told: int,
    itemsize: int,
    used: NDArray[np.int64],
    out_T: Bytes,
    out_E: Bytes,
    border_2B: Borders,
    room_2W: Words,
) -> bool:
    """Tokens and extras behind the `used` bytes of each; False when there is no room for them.

    `words_HW` are pixels of `itemsize` bytes; `num_told` is 1 when its first row is told already, the last of the
    rows above, else 0. `border_2B` (2, width + 2) and `room_2W` (2, words of a row) are room to work in.
    """
    num, here = 1, 0
    border_2B[0, 0] = 0
    if num_told:
        num = find_borders(words_HW[0], itemsize, border_2B[0], room_2W)
    at, extra = used[0], used[1]
    for y in range(num_told, words_HW.shape[0]):
        if at + 1 > out_T.size:
            return False
        if y > 0 and is_repeated(words_HW[y], words_HW[y - 1]):
            out_T[at & PLACE] = REST
            at += 1
            continue
        num_above, above, here = num, here, 1 - here
        num = find_borders(words_HW[y], itemsize, border_2B[here], room_2W)
        if at + num + num_above + 1 > out_T.size or extra + num * (NEW_BYTES_MAX + 2) > out_E.size:
            return False
        at, extra = encode_row(
            border_2B[here], num, border_2B[above], num_above, itemsize, out_T, at, out_E, extra
        )
    used[0], used[1] = at, extra
    return True


@inlined
def take_new(data_E: Bytes, at: Int, itemsize: Int) -> tuple[Int, Int]:
    """(place behind them, border that lies as far from column 0) of a gap and a value from the extras.

    Place -1 when the extras end or the gap is too long.
    """
    gap: Int = 0
    shift = 0
    byte: Int = 128
    while byte >= 128:
        if at >= data_E.size or shift > 28:
            return -1, 0
        byte = np.int64(data_E[at & PLACE])
        at += 1
        gap |= (byte & 127) << shift
        shift += 7
    if at + itemsize > data_E.size:
        return -1, 0
    value = np.int64(data_E[at & PLACE])
    if itemsize == 2:
        value |= np.int64(data_E[at + 1 & PLACE]) << 8
    return at + itemsize, gap << VALUE_BITS | value


@inlined
def paint(flat_N: NDArray[Any], start: Int, stop: Int, value: Int) -> None:
    """Give pixels from `start` to `stop` a value, and up to PIECE - 1 behind them any."""
    pixel = flat_N.dtype.type(value)
    last = min(stop, flat_N.size - PIECE + 1)
    while start < last:
        for k in range(PIECE):
            flat_N[(start & PLACE) + k] = pixel
        start += PIECE
    while start < stop:
        flat_N[start & PLACE] = pixel
        start += 1


@inlined
def copy_from_above(flat_N: NDArray[Any], start: Int, num_px: Int, width: Int) -> None:
    """Give pixels from `start` on the values of those above them, and up to COPIED - 1 behind them any."""
    if start + num_px + COPIED <= flat_N.size:
        num_px = num_px + COPIED - 1 & -COPIED
    here_N, above_N = flat_N[start & PLACE :], flat_N[start - width & PLACE :]
    for k in range(num_px & PLACE):
        here_N[k] = above_N[k]


@inlined
def decode_row(
    data_T: Bytes,
    at: Int,
    data_E: Bytes,
    extra: Int,
    border_B: Borders,
    above_B: Borders,
    flat_N: NDArray[Any],
    row: Int,
    width: Int,
    paints: Int,
) -> tuple[Int, Int]:
    """Borders of one row from its tokens, and its pixels if it `paints`, from place `row` of the map on.

    If it does not, `flat_N` says the size of a pixel and no more. Returns the places behind tokens and extras; -1
    when the tokens are damaged. What is behind the row in the map may be written over: it is not decoded yet. The
    first row is 0 where its tokens do not say otherwise.
    """
    num = j = 0
    floor: Int = 0  # the least that a border in the next column can be
    begun, value = row, 0
    while True:
        if at >= data_T.size:
            return -1, -1
        token = np.int64(data_T[at & PLACE])
        at += 1
        while above_B[j & PLACE] < floor:
            j += 1
        border = above_B[j & PLACE]
        if token >= MOVED:
            if border == END:
                return -1, -1
            border += (token - MOVED >> 1 ^ -(token - MOVED & 1)) << VALUE_BITS
            j += 1
        elif token == NEW:
            extra, border = take_new(data_E, extra, flat_N.itemsize)
            if extra < 0:
                return -1, -1
            border += floor
        elif token == SKIP:
            j += border != END
            continue
        else:
            break
        if border < floor or border >= width << VALUE_BITS:
            return -1, -1
        if paints:
            begins = row + (border >> VALUE_BITS)
            paint(flat_N, begun, begins, value)
            begun, value = begins, border & VALUE
        border_B[num & PLACE] = border
        num += 1
        floor = (border | VALUE) + 1
    if paints:
        begins = row + (width if border == END else border >> VALUE_BITS)
        paint(flat_N, begun, begins, value)
        if row > 0:
            copy_from_above(flat_N, begins, row + width - begins, width)
    while border != END:
        border_B[num & PLACE] = border
        num += 1
        j += 1
        border = above_B[j & PLACE]
    border_B[num & PLACE] = END
    return (at, extra) if border_B[0] <= VALUE else (-1, -1)


@lean
def decode(
    content: Bytes, num_tokens: int, used: NDArray[np.int64], labels_HW: LabelMap, border_2B: Borders
) -> bool:
    """Fill `labels_HW` from the tokens behind the `used` ones; False when they are damaged.

    `content`, read-only, is COUNTS_BYTES, then `num_tokens` tokens, then the extras. `border_2B` (2, width + 1) is
    room to work in.
    """
    height, width = labels_HW.shape
    flat_N = labels_HW.reshape(-1)
    data_T, data_E = content[COUNTS_BYTES : COUNTS_BYTES + num_tokens], content[COUNTS_BYTES + num_tokens :]
    at, extra = used[0], used[1]
    here = 0
    border_2B[0, 0], border_2B[0, 1] = 0, END
    flat_N[:width] = 0
    for y in range(height):
        if y > 0 and at < data_T.size and data_T[at & PLACE] == REST:
            at += 1
            copy_from_above(flat_N, y * width, width, width)
            continue
        above, here = here, 1 - here
        at, extra = decode_row(
            data_T, at, data_E, extra, border_2B[here], border_2B[above], flat_N, y * width, width, True
        )
        if at < 0:
            return False
    used[0], used[1] = at, extra
    return True


def warm() -> None:
    """Compile for both dtypes, both ways."""
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        labels_HW: LabelMap = np.eye(8).astype(dtype)
        out_T, out_E = np.zeros(256, dtype=np.uint8), np.zeros(256, dtype=np.uint8)
        border_2B, room_2W = np.zeros((2, 10), dtype=np.int64), np.zeros((2, 2), dtype=np.uint64)
        used = np.zeros(2, dtype=np.int64)
        encode(labels_HW.view(np.uint64), 0, dtype.itemsize, used, out_T, out_E, border_2B, room_2W)
        content = np.frombuffer(bytes(COUNTS_BYTES + labels_HW.shape[0]), dtype=np.uint8)
        decode(content, labels_HW.shape[0], np.zeros(2, dtype=np.int64), labels_HW, border_2B)
