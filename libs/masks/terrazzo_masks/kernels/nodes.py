"""Bytes of manifest nodes: the body after the header (docs/storage-format.md), both ways."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.kernels.numbers import read_number, write_number
from terrazzo_masks.native import kernel, lean

# What `parse_body` found wrong, in the order of the format; 0 is sound.
SOUND, CUT_SHORT, NUMBER, TABLE, KINDS, UNIFORM, PRESENCE, PIXELS, UNUSED, LEFT_OVER = range(10)
MAX_IDS = 65536


@kernel
def read_ids(data: NDArray[np.uint8], at: int) -> tuple[int, int, NDArray[np.int32]]:
    """(status, place, ids_K): the table of classes."""
    none_K = np.empty(0, np.int32)
    k, at = read_number(data, at)
    if at < 0:
        return NUMBER, at, none_K
    if k < 1 or k > MAX_IDS:
        return TABLE, at, none_K
    if k > data.size - at:
        return CUT_SHORT, at, none_K
    ids_K = np.empty(k, np.int32)
    last = -1
    for i in range(k):
        step, at = read_number(data, at)
        if at < 0:
            return NUMBER, at, none_K
        if step >= MAX_IDS or last + 1 + step >= MAX_IDS:
            return TABLE, at, none_K
        last = last + 1 + step
        ids_K[i] = last
    return SOUND, at, ids_K


@kernel
def place_of(ids_K: NDArray[np.int32], class_id: int) -> int:
    """Where an id is in a table that has it."""
    low, high = 0, ids_K.size - 1
    while low < high:
        middle = (low + high) // 2
        if ids_K[middle] < class_id:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def count_mixed(uniform_N: NDArray[np.int32]) -> int:
    """How many children are not of one class."""
    num_mixed = 0
    for i in range(uniform_N.size):
        num_mixed += uniform_N[i] < 0
    return num_mixed


@kernel
def read_kinds(
    data: NDArray[np.uint8], at: int, ids_K: NDArray[np.int32], uniform_N: NDArray[np.int32]
) -> tuple[int, int]:
    """(status, place) after the kinds and the classes of the children of one class; fills `uniform_N`."""
    n = uniform_N.size
    kinds_at = at
    at += (n + 7) // 8
    if at > data.size:
        return CUT_SHORT, at
    if n % 8 and data[at - 1] >> (n % 8):
        return KINDS, at
    for i in range(n):
        if (data[kinds_at + i // 8] >> (i % 8)) & 1:
            uniform_N[i] = -1
            continue
        place, at = read_number(data, at)
        if at < 0:
            return NUMBER, at
        if place >= ids_K.size:
            return UNIFORM, at
        uniform_N[i] = ids_K[place]
    return SOUND, at


@kernel
def read_pixels(
    data: NDArray[np.uint8], row_at: int, at: int, area: int, counts_K: NDArray[np.int64]
) -> tuple[int, int]:
    """(status, place) after the counts of one mixed child, whose presence bits are at `row_at`; fills
    `counts_K`."""
    k = counts_K.size
    if k % 8 and data[row_at + (k + 7) // 8 - 1] >> (k % 8):
        return PRESENCE, row_at
    first = -1
    num_present = 0
    rest = area
    for j in range(k):
        if not (data[row_at + j // 8] >> (j % 8)) & 1:
            continue
        num_present += 1
        if first < 0:
            first = j
            continue
        pixels, at = read_number(data, at)
        if at < 0:
            return NUMBER, at
        if pixels < 1 or pixels >= rest:
            return PIXELS, at
        counts_K[j] = pixels
        rest -= pixels
    if num_present < 2:
        return PRESENCE, row_at
    counts_K[first] = rest
    return SOUND, at


@kernel
def parse_body(
    data: NDArray[np.uint8], at: int, areas_N: NDArray[np.int64]
) -> tuple[int, int, NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64]]:
    """(status, place, ids_K, uniform_N, digests_N32, counts_NK) of a node whose children have `areas_N` pixels.

    `uniform_N` is a class id or -1; `place` is where reading ended. The arrays are whole when the status is SOUND.
    """
    n = areas_N.size
    uniform_N = np.full(n, -1, np.int32)
    digests = np.zeros((n, 32), np.uint8)
    none = np.empty((0, 0), np.int64)
    status, at, ids_K = read_ids(data, at)
    if status != SOUND:
        return status, at, ids_K, uniform_N, digests, none
    status, at = read_kinds(data, at, ids_K, uniform_N)
    if status != SOUND:
        return status, at, ids_K, uniform_N, digests, none
    k = ids_K.size
    num_mixed = count_mixed(uniform_N)
    row_bytes = (k + 7) // 8
    presence_at = at + 32 * num_mixed
    cursor = presence_at + row_bytes * num_mixed
    if cursor > data.size:
        return CUT_SHORT, at, ids_K, uniform_N, digests, none
    counts = np.zeros((n, k), np.int64)
    mixed = 0
    for i in range(n):
        if uniform_N[i] >= 0:
            counts[i, place_of(ids_K, uniform_N[i])] = areas_N[i]
            continue
        for byte in range(32):
            digests[i, byte] = data[at + 32 * mixed + byte]
        status, cursor = read_pixels(data, presence_at + row_bytes * mixed, cursor, areas_N[i], counts[i])
        if status != SOUND:
            return status, cursor, ids_K, uniform_N, digests, none
        mixed += 1
    if cursor != data.size:
        return LEFT_OVER, cursor, ids_K, uniform_N, digests, none
    for j in range(k):
        num_pixels = 0
        for i in range(n):
            num_pixels += counts[i, j]
        if num_pixels == 0:
            return UNUSED, cursor, ids_K, uniform_N, digests, none
    return SOUND, cursor, ids_K, uniform_N, digests, counts


@lean
def only_tile(data: NDArray[np.uint8], at: int) -> tuple[int, int, int]:
    """(height, width, place of its digest) of a root whose sizes are at `at`, if it is of one mixed tile.

    Place -1 for any other. Of the rest only so much is read as it takes.
    """
    height, at = read_number(data, at)
    width, at = read_number(data, at) if at >= 0 else (0, at)
    tile_px, at = read_number(data, at) if at >= 0 else (0, at)
    if at < 0 or max(height, width) > tile_px:
        return height, width, -1
    num_ids, at = read_number(data, at)
    while num_ids > 0 and at >= 0:
        _, at = read_number(data, at)
        num_ids -= 1
    if at < 0 or at + 33 > data.size or data[at] != 1:
        return height, width, -1
    return height, width, at + 1


@kernel
def write_body(
    ids_K: NDArray[np.int32],
    uniform_N: NDArray[np.int32],
    digests: NDArray[np.uint8],
    counts: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """The body of a node, from arrays as `parse_body` returns them."""
    n, k = counts.shape
    row_bytes = (k + 7) // 8
    num_mixed = count_mixed(uniform_N)
    num_counts = 0
    for i in range(n):
        for j in range(k):
            num_counts += counts[i, j] > 0
    out = np.zeros(3 + 3 * k + (n + 7) // 8 + 3 * n + num_mixed * (32 + row_bytes) + 9 * num_counts, np.uint8)
    at = write_number(out, 0, k)
    last = -1
    for i in range(k):
        at = write_number(out, at, int(ids_K[i]) - last - 1)
        last = int(ids_K[i])
    kinds_at = at
    at += (n + 7) // 8
    for i in range(n):
        if uniform_N[i] < 0:
            out[kinds_at + i // 8] |= np.uint8(1 << (i % 8))
        else:
            at = write_number(out, at, place_of(ids_K, uniform_N[i]))
    presence_at = at + 32 * num_mixed
    cursor = presence_at + row_bytes * num_mixed
    mixed = 0
    for i in range(n):
        if uniform_N[i] >= 0:
            continue
        for byte in range(32):
            out[at + 32 * mixed + byte] = digests[i, byte]
        first = True
        for j in range(k):
            if counts[i, j] > 0:
                out[presence_at + row_bytes * mixed + j // 8] |= np.uint8(1 << (j % 8))
                if not first:
                    cursor = write_number(out, cursor, counts[i, j])
                first = False
        mixed += 1
    return out[:cursor]


def warm() -> None:
    ids_K, uniform_N = np.array([1, 2], np.int32), np.array([-1], np.int32)
    body = write_body(ids_K, uniform_N, np.zeros((1, 32), np.uint8), np.array([[3, 5]], np.int64))
    data = np.frombuffer(body.tobytes(), np.uint8)
    parse_body(data, 0, np.array([8], np.int64))
    only_tile(data, 0)
