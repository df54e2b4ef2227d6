"""What changed between two label maps: pixels by (old id, new id), and where."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import inlined, lean

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
# So many pixels are compared at once.
CHUNK = 64
NOT_YET = -1


@inlined
def differ(old_N: NDArray[Any], new_N: NDArray[Any]) -> bool:
    """Whether two rows of one length differ; looked at to the end, which vectors do faster than to stop."""
    found = False
    for k in range(old_N.size):
        found |= old_N[k] != new_N[k]
    return found


@lean
def slot_of(slots_S: NDArray[np.int32], keys_K: NDArray[np.int64], key: Int) -> Int:
    """The place of a key in an open-addressed table of a power-of-two size: where it is, or where it goes."""
    mask = slots_S.size - 1
    at = (key * 0x9E3779B1 >> 7) & mask
    while slots_S[at] != NOT_YET and keys_K[slots_S[at]] != key:
        at = (at + 1) & mask
    return at


@lean
def pair_counts(
    old_N: NDArray[np.uint8 | np.uint16],
    new_N: NDArray[np.uint8 | np.uint16],
    width: Int,
    keys_K: NDArray[np.int64],
    pixels_K: NDArray[np.int64],
    slots_S: NDArray[np.int32],
    limits: NDArray[np.int64],
) -> Int:
    """Count the pixels that differ of two maps, given in row-major order, by their key: old << 16 | new.

    Fills `keys_K` and `pixels_K`, and `limits` with the first and last row and column of them (top, bottom, left,
    right; bottom is -1 if none differs). `slots_S`, a power of two above K, is room to work in. Returns the number
    of keys, or -1 when there are more than K.
    """
    slots_S[:] = NOT_YET
    num_keys = 0
    slot: Int = 0
    last_key: Int = -1
    top, bottom, y, row_start = -1, -1, 0, 0
    left: Int = width
    right: Int = -1
    for start in range(0, old_N.size, CHUNK):
        end = min(start + CHUNK, old_N.size)
        if not differ(old_N[start:end], new_N[start:end]):
            continue
        for i in range(start, end):
            before, after = np.int64(old_N[i]), np.int64(new_N[i])
            if before == after:
                continue
            if i - row_start >= width:
                y = i // width
                row_start = y * width
            top = y if top < 0 else top
            bottom = y
            left, right = min(left, i - row_start), max(right, i - row_start)
            key = before << 16 | after
            if key != last_key:
                at = slot_of(slots_S, keys_K, key)
                if slots_S[at] == NOT_YET:
                    if num_keys == keys_K.size:
                        return -1
                    slots_S[at] = num_keys
                    keys_K[num_keys], pixels_K[num_keys] = key, 0
                    num_keys += 1
                slot, last_key = slots_S[at], key
            pixels_K[slot] += 1
    limits[0], limits[1], limits[2], limits[3] = top, bottom, left, right
    return num_keys


def warm() -> None:
    """Compile for both dtypes."""
    numbers, slots_S = np.zeros(4, np.int64), np.zeros(2, np.int32)
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        pixels_N = np.zeros(1, dtype)
        pair_counts(pixels_N, pixels_N, 1, numbers[:1], numbers[:1], slots_S, numbers)
