"""Pixels by (true class, predicted class), a machine word of pixels at a time where both maps are of one class.

Ids below 256 are counted in a table under the ids themselves (no look-up per pixel), others under their place in
the list of classes.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean

BLOCK = 256  # words: what two maps have of them, and their lists, stay in the nearest cache
FEW_SHIFT = 5
FEW_IDS = 1 << FEW_SHIFT  # their pairs' counts lie side by side, near enough to each other for eight tables
ABOVE_FEW = np.uint64(0xE0E0E0E0E0E0E0E0)
FEW_PAD = 72  # tables a power of two apart would get into each other's way in the cache


@kernel
def count_pairs_in_bytes(
    truth_W: NDArray[np.uint64], pred_W: NDArray[np.uint64], counts_I: NDArray[np.int64]
) -> None:
    """Add the pixels of two maps of bytes, 8 in each word, to 65536 counts under true id << 8 | predicted id.

    Block by block, in the way that suits the block before: along runs where most words continue one, else word by
    word without guessing which comes next.
    """
    few_8J = np.zeros((8, FEW_IDS * FEW_IDS + FEW_PAD), np.uint32)
    same_B, other_B = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    differs_B = np.empty(BLOCK, np.uint8)
    num_mixed = 0
    for start in range(0, truth_W.size, BLOCK):
        truth_B, pred_B = truth_W[start : start + BLOCK], pred_W[start : start + BLOCK]
        if 8 * num_mixed < BLOCK:
            num_mixed = count_along_runs(truth_B, pred_B, counts_I)
            continue
        num_same, num_other = split_words(truth_B, pred_B, differs_B, same_B, other_B)
        if num_same + num_other == 0:
            num_mixed = count_along_runs(truth_B, pred_B, counts_I)
            continue
        count_same(truth_B, same_B[:num_same], counts_I)
        count_other(truth_B, pred_B, other_B[:num_other], few_8J)
        num_mixed = num_other
    for true_id in range(FEW_IDS):
        for pred_id in range(FEW_IDS):
            for part in range(8):
                counts_I[true_id << 8 | pred_id] += few_8J[part, true_id << FEW_SHIFT | pred_id]


@lean
def count_along_runs(truth_B: NDArray[np.uint64], pred_B: NDArray[np.uint64], counts_I: NDArray[np.int64]) -> int:
    """Count, once for each run of words of one pair; returns how many words are of several pairs."""
    low, spread = np.uint64(255), np.uint64(0x0101010101010101)
    even, eight, pair = np.uint64(0x00FF00FF00FF00FF), np.uint64(8), np.uint64(65535)
    truth_run, pred_run = np.uint64(0), np.uint64(0)
    run, num_mixed = 0, 0
    for i in range(truth_B.size):
        truth, pred = truth_B[i], pred_B[i]
        if truth == truth_run and pred == pred_run:
            run += 1
            continue
        counts_I[(truth_run & low) << eight | (pred_run & low)] += 8 * run
        run = 0
        if truth == (truth & low) * spread and pred == (pred & low) * spread:
            truth_run, pred_run = truth, pred
            run = 1
            continue
        num_mixed += 1
        # Two words that hold four pairs each, rather than eight times two bytes.
        evens = (truth & even) << eight | (pred & even)
        odds = (truth & ~even) | (pred & ~even) >> eight
        for part in range(4):
            shift = np.uint64(16 * part)
            counts_I[(evens >> shift) & pair] += 1
            counts_I[(odds >> shift) & pair] += 1
    counts_I[(truth_run & low) << eight | (pred_run & low)] += 8 * run
    return num_mixed


@lean
def split_words(
    truth_B: NDArray[np.uint64],
    pred_B: NDArray[np.uint64],
    differs_B: NDArray[np.uint8],
    same_B: NDArray[np.uint32],
    other_B: NDArray[np.uint32],
) -> tuple[int, int]:
    """List the words in which the maps agree, and the others: (how many agree, how many others).

    Lists none of them, (0, 0), if an id of the block is not below FEW_IDS."""
    used = np.uint64(0)
    for i in range(truth_B.size):
        differs_B[i] = truth_B[i] != pred_B[i]
        used |= truth_B[i] | pred_B[i]
    if used & ABOVE_FEW != np.uint64(0):
        return 0, 0
    # Counters without a sign: an index of that kind is never taken from the end.
    num_same, num_other = np.uint64(0), np.uint64(0)
    for i in range(truth_B.size):
        same_B[num_same], other_B[num_other] = i, i
        num_other += np.uint64(differs_B[i])
        num_same += np.uint64(1) - np.uint64(differs_B[i])
    return int(num_same), int(num_other)


@lean
def count_same(truth_B: NDArray[np.uint64], same_N: NDArray[np.uint32], counts_I: NDArray[np.int64]) -> None:
    """Count the listed words, in which both maps are as the first, under id << 8 | id."""
    low, spread, twice = np.uint64(255), np.uint64(0x0101010101010101), np.uint64(257)
    truth_run = np.uint64(0)
    run = 0
    for i in same_N:
        truth = truth_B[i]
        if truth == truth_run:
            run += 1
            continue
        counts_I[(truth_run & low) * twice] += 8 * run
        run = 0
        if truth == (truth & low) * spread:
            truth_run = truth
            run = 1
            continue
        for part in range(8):
            counts_I[((truth >> np.uint64(8 * part)) & low) * twice] += 1
    counts_I[(truth_run & low) * twice] += 8 * run


@lean
def count_other(
    truth_B: NDArray[np.uint64],
    pred_B: NDArray[np.uint64],
    other_N: NDArray[np.uint32],
    few_8J: NDArray[np.uint32],
) -> None:
    """Count the listed words pixel by pixel, under true id << FEW_SHIFT | predicted id.

    Each of the word's pixels has a table of its own: an addition waits for the one before it in its place, and
    neighbours are most often of one pair.
    """
    few0_J, few1_J, few2_J, few3_J = few_8J[0], few_8J[1], few_8J[2], few_8J[3]
    few4_J, few5_J, few6_J, few7_J = few_8J[4], few_8J[5], few_8J[6], few_8J[7]
    even, eight, pair = np.uint64(0x00FF00FF00FF00FF), np.uint64(8), np.uint64(FEW_IDS * FEW_IDS - 1)
    shift = np.uint64(FEW_SHIFT)
    for i in other_N:
        truth, pred = truth_B[i], pred_B[i]
        evens = (truth & even) << shift | (pred & even)
        odds = ((truth >> eight) & even) << shift | ((pred >> eight) & even)
        few0_J[evens & pair] += 1
        few1_J[odds & pair] += 1
        few2_J[(evens >> np.uint64(16)) & pair] += 1
        few3_J[(odds >> np.uint64(16)) & pair] += 1
        few4_J[(evens >> np.uint64(32)) & pair] += 1
        few5_J[(odds >> np.uint64(32)) & pair] += 1
        few6_J[(evens >> np.uint64(48)) & pair] += 1
        few7_J[(odds >> np.uint64(48)) & pair] += 1


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
