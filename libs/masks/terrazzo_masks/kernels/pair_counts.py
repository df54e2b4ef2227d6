"""Pixels by (true class, predicted class), a machine word of pixels at a time where both maps are of one class.

Ids below 256 are counted in a table under the ids themselves (no look-up per pixel), others under their place in
the list of classes.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel


@kernel
def count_pairs_in_bytes(
    truth_W: NDArray[np.uint64], pred_W: NDArray[np.uint64], counts_I: NDArray[np.int64]
) -> None:
    """Add the pixels of two maps of bytes, 8 in each word, to 65536 counts under true id << 8 | predicted id."""
    low, spread = np.uint64(255), np.uint64(0x0101010101010101)
    even, eight, pair = np.uint64(0x00FF00FF00FF00FF), np.uint64(8), np.uint64(65535)
    truth_run, pred_run = np.uint64(0), np.uint64(0)
    run = 0
    for i in range(truth_W.size):
        truth, pred = truth_W[i], pred_W[i]
        if truth == truth_run and pred == pred_run:
            run += 1
            continue
        counts_I[(truth_run & low) << eight | (pred_run & low)] += 8 * run
        run = 0
        if truth == (truth & low) * spread and pred == (pred & low) * spread:
            truth_run, pred_run = truth, pred
            run = 1
            continue
        # Two words that hold four pairs each, rather than eight times two bytes.
        evens = (truth & even) << eight | (pred & even)
        odds = (truth & ~even) | (pred & ~even) >> eight
        for part in range(4):
            shift = np.uint64(16 * part)
            counts_I[(evens >> shift) & pair] += 1
            counts_I[(odds >> shift) & pair] += 1
    counts_I[(truth_run & low) << eight | (pred_run & low)] += 8 * run


@kernel
def count_pairs_in_shorts(
    truth_W: NDArray[np.uint64],
    pred_W: NDArray[np.uint64],
    place_of: NDArray[np.int64],
    counts_I: NDArray[np.int64],
    counts_PP: NDArray[np.int64],
) -> None:
    """Add the pixels of two maps of 16 bits, 4 in each word: to the counts by id, as above, where all eight ids of
    the two words are below 256, and to the counts by place else (`place_of` has 65536 entries)."""
    low, spread, high = np.uint64(65535), np.uint64(0x0001000100010001), np.uint64(0xFF00FF00FF00FF00)
    truth_run, pred_run = np.uint64(0), np.uint64(0)
    run = 0
    for i in range(truth_W.size):
        truth, pred = truth_W[i], pred_W[i]
        if truth == truth_run and pred == pred_run:
            run += 1
            continue
        counts_PP[place_of[truth_run & low], place_of[pred_run & low]] += 4 * run
        run = 0
        if truth == (truth & low) * spread and pred == (pred & low) * spread:
            truth_run, pred_run = truth, pred
            run = 1
            continue
        if (truth | pred) & high == np.uint64(0):
            pairs = truth << np.uint64(8) | pred
            for part in range(4):
                counts_I[(pairs >> np.uint64(16 * part)) & low] += 1
            continue
        for part in range(4):
            shift = np.uint64(16 * part)
            counts_PP[place_of[(truth >> shift) & low], place_of[(pred >> shift) & low]] += 1
    counts_PP[place_of[truth_run & low], place_of[pred_run & low]] += 4 * run


def warm() -> None:
    words_W, counts_I = np.zeros(1, np.uint64), np.zeros(65536, np.int64)
    count_pairs_in_bytes(words_W, words_W, counts_I)
    count_pairs_in_shorts(words_W, words_W, np.zeros(65536, np.int64), counts_I, np.zeros((1, 1), np.int64))
