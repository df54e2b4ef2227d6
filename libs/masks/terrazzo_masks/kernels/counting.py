"""Pixels per class of one tile, eight bytes at a time where they are of one class."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def count_bytes(words_W: NDArray[np.uint64], rest_P: NDArray[np.uint8], counts_K: NDArray[np.int64]) -> None:
    """Add the pixels of `words_W` (8 in each) and `rest_P` to the 256 counts."""
    last = np.uint64(0)
    run = 0
    for i in range(words_W.size):
        word = words_W[i]
        if word == last:
            run += 1
            continue
        counts_K[last & np.uint64(255)] += 8 * run
        run = 0
        value = word & np.uint64(255)
        if word == value * np.uint64(0x0101010101010101):
            last = word
            run = 1
            continue
        for part in range(8):
            counts_K[(word >> np.uint64(8 * part)) & np.uint64(255)] += 1
    counts_K[last & np.uint64(255)] += 8 * run
    for i in range(rest_P.size):
        counts_K[rest_P[i]] += 1


@kernel
def count_pairs_of_bytes(
    words_W: NDArray[np.uint64], rest_P: NDArray[np.uint16], counts_K: NDArray[np.int64]
) -> None:
    """Add the pixels of `words_W` (4 in each) and `rest_P` to the 65536 counts."""
    last = np.uint64(0)
    run = 0
    for i in range(words_W.size):
        word = words_W[i]
        if word == last:
            run += 1
            continue
        counts_K[last & np.uint64(65535)] += 4 * run
        run = 0
        value = word & np.uint64(65535)
        if word == value * np.uint64(0x0001000100010001):
            last = word
            run = 1
            continue
        for part in range(4):
            counts_K[(word >> np.uint64(16 * part)) & np.uint64(65535)] += 1
    counts_K[last & np.uint64(65535)] += 4 * run
    for i in range(rest_P.size):
        counts_K[rest_P[i]] += 1


def warm() -> None:
    words_W = np.zeros(1, np.uint64)
    count_bytes(words_W, np.zeros(1, np.uint8), np.zeros(256, np.int64))
    count_pairs_of_bytes(words_W, np.zeros(1, np.uint16), np.zeros(65536, np.int64))
