"""What changed between two label maps: pixels by (old id, new id), and where."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def slot_of(keys_S: NDArray[np.int64], key: int) -> int:
    """The place of a key in an open-addressed table of a power-of-two size: where it is, or where it goes (-1)."""
    mask = keys_S.size - 1
    at = (key * 0x9E3779B1 >> 7) & mask
    while keys_S[at] != -1 and keys_S[at] != key:
        at = (at + 1) & mask
    return at


@kernel
def pair_counts(
    old_W: NDArray[np.uint64],
    new_W: NDArray[np.uint64],
    bits: int,
    old_R: NDArray[np.uint16],
    new_R: NDArray[np.uint16],
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(keys old << 16 | new, pixels of each, [top, bottom, left, right] of what changed).

    Pixels of `bits` bits lie in the words, lowest first; those left over are in `old_R` and `new_R`. `bottom`
    is -1 if nothing changed.
    """
    keys_S = np.full(256, -1, np.int64)
    pixels_S = np.zeros(256, np.int64)
    num_keys = 0
    top, bottom, left, right = -1, -1, width, -1
    y, row_start = 0, 0
    per_word = 64 // bits
    low = np.uint64((1 << bits) - 1)
    for i in range(old_W.size + 1):
        is_rest = i == old_W.size
        if not is_rest and old_W[i] == new_W[i]:
            continue
        for part in range(old_R.size if is_rest else per_word):
            if is_rest:
                before, after = int(old_R[part]), int(new_R[part])
            else:
                shift = np.uint64(bits * part)
                before, after = int((old_W[i] >> shift) & low), int((new_W[i] >> shift) & low)
            if before == after:
                continue
            place = i * per_word + part
            if place - row_start >= width:
                y = place // width
                row_start = y * width
            top = y if top < 0 else top
            bottom = y
            left, right = min(left, place - row_start), max(right, place - row_start)
            key = before << 16 | after
            at = slot_of(keys_S, key)
            if keys_S[at] == -1:
                keys_S[at] = key
                num_keys += 1
            pixels_S[at] += 1
            if 2 * num_keys > keys_S.size:
                keys_S, pixels_S = grown(keys_S, pixels_S)
    limits = np.array([top, bottom, left, right], np.int64)
    return keys_S[keys_S != -1], pixels_S[keys_S != -1], limits


@kernel
def grown(keys_S: NDArray[np.int64], pixels_S: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The table with four times the places."""
    larger_S = np.full(keys_S.size * 4, -1, np.int64)
    larger_pixels_S = np.zeros(keys_S.size * 4, np.int64)
    for i in range(keys_S.size):
        if keys_S[i] != -1:
            at = slot_of(larger_S, keys_S[i])
            larger_S[at] = keys_S[i]
            larger_pixels_S[at] = pixels_S[i]
    return larger_S, larger_pixels_S


def warm() -> None:
    words_W, rest_R = np.zeros(1, np.uint64), np.zeros(1, np.uint16)
    pair_counts(words_W, words_W, 8, rest_R, rest_R, 1)
