"""The row filters of PNG (PNG, third edition, W3C 2025, clause 9), undone and done.

A filtered row is its filter type and B bytes, each of them less a prediction from the byte one pixel to the left
(a), the one above (b) and the one above a (c). Label maps are flat: most filtered bytes are zero, so rows are gone
through in words of 8 bytes, and a word of zeros is a copy wherever the prediction provably is one.

H: rows, B: bytes of a row, N: bytes of all filtered rows. W: words of a row, the last one filled up with bytes
that are never read. In a word the first byte is the lowest, as on every machine that numba has wheels for.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel

NONE, SUB, UP, AVERAGE, PAETH = 0, 1, 2, 3, 4
WORD = 8
BYTE, ZERO = np.uint64(255), np.uint64(0)
SHIFT_8, SHIFT_16, SHIFT_32, SHIFT_56 = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(56)
# Bytes are added without a carry into the next one: seven bits of each, then the eighth alone.
LOW_BITS, HIGH_BITS = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
# A pixel of one or of two bytes, times this, is the pixel in every place of a word.
EVERY_BYTE, EVERY_PAIR = np.uint64(0x0101010101010101), np.uint64(0x0001000100010001)


@kernel
def added(one: np.uint64, other: np.uint64) -> np.uint64:
    """The sums of eight pairs of bytes, each modulo 256."""
    return ((one & LOW_BITS) + (other & LOW_BITS)) ^ ((one ^ other) & HIGH_BITS)


@kernel
def undo_sub(row_W: NDArray[np.uint64], shift: np.uint64, every: np.uint64) -> None:
    """The prediction is a: sums along the row, those within a word by doubling."""
    left = ZERO
    for i in range(row_W.size):
        word = row_W[i]
        if word == ZERO:
            row_W[i] = left
            continue
        if shift == SHIFT_56:
            word = added(word, word << SHIFT_8)
        word = added(word, word << SHIFT_16)
        word = added(word, word << SHIFT_32)
        word = added(word, left)
        row_W[i] = word
        left = (word >> shift) * every


@kernel
def undo_average(
    row_W: NDArray[np.uint64], above_W: NDArray[np.uint64], shift: np.uint64, every: np.uint64
) -> None:
    """The prediction is (a + b) // 2: over a word of zeros it is a when the word above is a in every place.

    Otherwise byte by byte; `done` is the last eight bytes of the row, so that a is at `shift` in it.
    """
    done = ZERO
    for i in range(row_W.size):
        word, above = row_W[i], above_W[i]
        if word != ZERO or above != (done >> shift) * every:
            for _ in range(WORD):
                byte = word + ((((done >> shift) & BYTE) + (above & BYTE)) >> np.uint64(1))
                done = (done >> SHIFT_8) | (byte << SHIFT_56)
                word >>= SHIFT_8
                above >>= SHIFT_8
        else:
            done = above
        row_W[i] = done


@kernel
def undo_paeth(row_W: NDArray[np.uint64], above_W: NDArray[np.uint64], shift: np.uint64, every: np.uint64) -> None:
    """The prediction is whichever of a, b, c is nearest to a + b - c, the first of them if several are.

    A word of zeros is the word above when a == c in front of it: a + b - c is b, so the byte becomes b, and a == c
    holds for the next one too. It is a in every place when the word above is c in every place: a + b - c is a.
    Otherwise byte by byte; `done` and `passed` are the last eight bytes of the row and of the one above it.
    """
    done, passed = ZERO, ZERO
    for i in range(row_W.size):
        word, above = row_W[i], above_W[i]
        left, above_left = (done >> shift) * every, (passed >> shift) * every
        if word == ZERO and left == above_left:
            done = above
        elif word == ZERO and above == above_left:
            done = left
        else:
            ahead = above
            for _ in range(WORD):
                a, b, c = (
                    np.int64((done >> shift) & BYTE),
                    np.int64(ahead & BYTE),
                    np.int64((passed >> shift) & BYTE),
                )
                to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                nearest = a if to_a <= to_b and to_a <= to_c else b if to_b <= to_c else c
                done = (done >> SHIFT_8) | ((word + np.uint64(nearest)) << SHIFT_56)
                passed = (passed >> SHIFT_8) | (np.uint64(b) << SHIFT_56)
                word >>= SHIFT_8
                ahead >>= SHIFT_8
        passed = above
        row_W[i] = done


@kernel
def unfilter(raw_N: NDArray[np.uint8], rows_HB: NDArray[np.uint8], pixel_bytes: int) -> int:
    """Undo the filters of H rows, N = H * (B + 1); `pixel_bytes` is 1 or 2.

    Returns H, or the first row whose filter type PNG doesn't know: rows from there on are left as they were.
    """
    height, row_bytes = rows_HB.shape
    num_words = (row_bytes + WORD - 1) // WORD
    row_W, above_W = np.zeros(num_words, np.uint64), np.zeros(num_words, np.uint64)
    row_B, above_B = row_W.view(np.uint8), above_W.view(np.uint8)
    shift = np.uint64(64 - 8 * pixel_bytes)
    every = EVERY_BYTE if pixel_bytes == 1 else EVERY_PAIR
    for y in range(height):
        start = y * (row_bytes + 1)
        kind = raw_N[start]
        start += 1
        if kind == NONE or (kind == UP and y == 0):
            for i in range(row_bytes):
                rows_HB[y, i] = raw_N[start + i]
            continue
        if kind == UP:
            for i in range(row_bytes):
                rows_HB[y, i] = raw_N[start + i] + rows_HB[y - 1, i]
            continue
        if kind > PAETH:
            return y
        for i in range(row_bytes):
            row_B[i] = raw_N[start + i]
        if kind == SUB:
            undo_sub(row_W, shift, every)
        else:
            if y > 0:
                for i in range(row_bytes):
                    above_B[i] = rows_HB[y - 1, i]
            if kind == AVERAGE:
                undo_average(row_W, above_W, shift, every)
            else:
                undo_paeth(row_W, above_W, shift, every)
        for i in range(row_bytes):
            rows_HB[y, i] = row_B[i]
    return int(height)


@kernel
def split_bytes(rows_HB: NDArray[np.uint8], depth: int, out_HS: NDArray[np.uint8]) -> None:
    """The samples of 1, 2 or 4 bits in rows of bytes, the highest bits first; S = 8 / depth * B.

    A loop for each depth: with its shifts written out it is compiled to vectors, 20 times as fast.
    """
    height, row_bytes = rows_HB.shape
    for y in range(height):
        if depth == 4:
            for i in range(row_bytes):
                out_HS[y, 2 * i] = rows_HB[y, i] >> 4
                out_HS[y, 2 * i + 1] = rows_HB[y, i] & 15
        elif depth == 2:
            for i in range(row_bytes):
                for k in range(4):
                    out_HS[y, 4 * i + k] = (rows_HB[y, i] >> (6 - 2 * k)) & 3
        else:
            for i in range(row_bytes):
                for k in range(8):
                    out_HS[y, 8 * i + k] = (rows_HB[y, i] >> (7 - k)) & 1


@kernel
def filter_up(rows_HB: NDArray[np.uint8], first: int, out_N: NDArray[np.uint8]) -> int:
    """Rows from `first` on, as many as out_N holds, each less the row above it and behind its filter type.

    Returns how many bytes that are, B + 1 a row.
    """
    height, row_bytes = rows_HB.shape
    num_rows = min(height - first, out_N.size // (row_bytes + 1))
    for k in range(num_rows):
        y = first + k
        start = k * (row_bytes + 1) + 1
        out_N[start - 1] = UP
        if y == 0:
            for i in range(row_bytes):
                out_N[start + i] = rows_HB[y, i]
        else:
            for i in range(row_bytes):
                out_N[start + i] = rows_HB[y, i] - rows_HB[y - 1, i]
    return int(num_rows * (row_bytes + 1))


def warm() -> None:
    """Compile every kernel. Bytes of a file can't be written, nor can some maps: numba sees types of their own."""
    rows_HB = np.zeros((5, 9), np.uint8)
    raw_N = np.frombuffer(b"".join(bytes([kind]) + bytes(9) for kind in range(5)), np.uint8)
    unfilter(raw_N, rows_HB, 1)
    split_bytes(rows_HB, 4, np.empty((5, 18), np.uint8))
    filter_up(rows_HB, 0, np.empty(50, np.uint8))
    filter_up(raw_N.reshape(5, 10), 0, np.empty(55, np.uint8))
