"""Distinct vote tuples of a stack of label maps, and maps per pixel from values per tuple.

Axes: R annotators, P pixels, T distinct tuples, N 64-bit words per tuple, L places. A pixel's *place* is the class
id that all annotators gave it, or `base` + the number of its tuple, tuples numbered by their first pixel. Neither
depends on the order of the annotators.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import kernel

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_ONE = np.uint64(1)


@kernel
def count_tuples(
    votes_RP: LabelMap, words_RW: NDArray[np.uint64], pixels_per_word: int, bits: int, base: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Return (place_P int32, agreed_B int64 pixels by agreed class id, codes_TN uint64, pixels_T int64).

    `words_RW` is the same memory as `votes_RP`, `pixels_per_word` pixels a word (its last, incomplete word is left
    out): where all annotators agree, a word is compared at once. A code holds the votes in order, `bits` each.
    """
    num_annotators, num_pixels = votes_RP.shape
    per_code = 64 // bits
    code_N = np.zeros((num_annotators + per_code - 1) // per_code, np.uint64)
    last_N = np.zeros_like(code_N)
    codes_TN = np.zeros((1024, code_N.size), np.uint64)
    pixels_T = np.zeros(1024, np.int64)
    slots = np.full(4096, -1, np.int32)
    place_P = np.empty(num_pixels, np.int32)
    agreed_B = np.zeros(base, np.int64)
    num_tuples, last = 0, -1
    for word in range((num_pixels + pixels_per_word - 1) // pixels_per_word):
        start = word * pixels_per_word
        end = min(start + pixels_per_word, num_pixels)
        same = word < words_RW.shape[1]
        if same:
            for r in range(1, num_annotators):
                if words_RW[r, word] != words_RW[0, word]:
                    same = False
                    break
        for p in range(start, end):
            vote = votes_RP[0, p]
            agreed = same
            if not same:
                agreed = True
                for r in range(1, num_annotators):
                    if votes_RP[r, p] != vote:
                        agreed = False
                        break
            if agreed:
                agreed_B[vote] += 1
                place_P[p] = vote
                continue
            code_N[:] = np.uint64(0)
            for r in range(num_annotators):
                code_N[r // per_code] |= np.uint64(votes_RP[r, p]) << np.uint64(bits * (r % per_code))
            if last < 0 or not _equal(code_N, last_N):
                slot = _slot_of(code_N, codes_TN, slots)
                if slots[slot] < 0:
                    if num_tuples == pixels_T.size:
                        codes_TN, pixels_T, slots = _grown(codes_TN, pixels_T)
                        slot = _slot_of(code_N, codes_TN, slots)
                    codes_TN[num_tuples] = code_N
                    slots[slot] = num_tuples
                    num_tuples += 1
                last = slots[slot]
                last_N[:] = code_N
            pixels_T[last] += 1
            place_P[p] = base + last
    return place_P, agreed_B, codes_TN[:num_tuples].copy(), pixels_T[:num_tuples].copy()


@kernel
def _equal(first_N: NDArray[np.uint64], second_N: NDArray[np.uint64]) -> bool:
    same = True
    for n in range(first_N.size):
        same &= first_N[n] == second_N[n]
    return same


@kernel
def _slot_of(code_N: NDArray[np.uint64], codes_TN: NDArray[np.uint64], slots: NDArray[np.int32]) -> np.int64:
    """The slot that holds the code, or the free one where it belongs: linear probing, less than half full."""
    mixed = np.uint64(0)
    for n in range(code_N.size):
        mixed = (mixed ^ code_N[n]) * _MIX
        mixed ^= mixed >> _HALF
    slot = np.int64(mixed & np.uint64(slots.size - 1))
    while slots[slot] >= 0 and not _equal(codes_TN[slots[slot]], code_N):
        slot = (slot + 1) & (slots.size - 1)
    return slot


@kernel
def _grown(
    codes_TN: NDArray[np.uint64], pixels_T: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]:
    """The full table at twice its size, its codes hashed anew."""
    num_tuples = pixels_T.size
    more_codes_TN = np.zeros((2 * num_tuples, codes_TN.shape[1]), np.uint64)
    more_codes_TN[:num_tuples] = codes_TN
    more_pixels_T = np.zeros(2 * num_tuples, np.int64)
    more_pixels_T[:num_tuples] = pixels_T
    slots = np.full(8 * num_tuples, -1, np.int32)
    for t in range(num_tuples):
        slots[_slot_of(codes_TN[t], more_codes_TN, slots)] = t
    return more_codes_TN, more_pixels_T, slots


@kernel
def unpack(codes_TN: NDArray[np.uint64], num_annotators: int, bits: int) -> NDArray[np.int32]:
    """Votes by tuple, int32 (T, R), from codes."""
    per_code = 64 // bits
    mask = (_ONE << np.uint64(bits)) - _ONE
    votes_TR = np.empty((codes_TN.shape[0], num_annotators), np.int32)
    for t in range(codes_TN.shape[0]):
        for r in range(num_annotators):
            votes_TR[t, r] = np.int32((codes_TN[t, r // per_code] >> np.uint64(bits * (r % per_code))) & mask)
    return votes_TR


@kernel
def spread(
    place_P: NDArray[np.int32],
    labels_L: LabelMap,
    posterior_L: NDArray[np.uint8],
    against_L: NDArray[np.uint8],
    disputed_L: NDArray[np.bool_],
) -> tuple[LabelMap, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Values by place to values by pixel, four maps in one pass."""
    labels_P = np.empty(place_P.size, labels_L.dtype)
    posterior_P = np.empty(place_P.size, np.uint8)
    against_P = np.empty(place_P.size, np.uint8)
    disputed_P = np.empty(place_P.size, np.bool_)
    for p in range(place_P.size):
        place = place_P[p]
        labels_P[p] = labels_L[place]
        posterior_P[p] = posterior_L[place]
        against_P[p] = against_L[place]
        disputed_P[p] = disputed_L[place]
    return labels_P, posterior_P, against_P, disputed_P


@kernel
def support(tuple_TR: NDArray[np.int32], weight_R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the weight that votes as annotator r does, float64 (T, R), 0 where r abstains."""
    num_tuples, num_annotators = tuple_TR.shape
    support_TR = np.zeros((num_tuples, num_annotators))
    for t in range(num_tuples):
        total = 0.0
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0:
                total += weight_R[r]
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0:
                weight = 0.0
                for s in range(num_annotators):
                    if tuple_TR[t, s] == tuple_TR[t, r]:
                        weight += weight_R[s]
                support_TR[t, r] = weight / total
    return support_TR


@kernel
def lead(
    tuple_TR: NDArray[np.int32], score_TR: NDArray[np.float64], margin: float
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """The class with the best score, by tuple: (winner_T int32: 0 for a tie or no vote, best_T, tied_T).

    Scores closer than `margin` tie.
    """
    num_tuples, num_annotators = tuple_TR.shape
    winner_T = np.zeros(num_tuples, np.int32)
    best_T = np.zeros(num_tuples)
    tied_T = np.zeros(num_tuples, np.bool_)
    for t in range(num_tuples):
        best = -1.0
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0:
                best = max(best, score_TR[t, r])
        if best < 0.0:
            continue
        best_T[t] = best
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0 and score_TR[t, r] >= best - margin:
                if winner_T[t] == 0:
                    winner_T[t] = tuple_TR[t, r]
                elif winner_T[t] != tuple_TR[t, r]:
                    tied_T[t] = True
        if tied_T[t]:
            winner_T[t] = 0
    return winner_T, best_T, tied_T


@kernel
def share_against(tuple_TR: NDArray[np.int32], winner_T: NDArray[np.int32]) -> NDArray[np.float64]:
    """Share of the votes against the winner, float64 (T,); without a winner, against the most frequent class."""
    num_tuples, num_annotators = tuple_TR.shape
    against_T = np.zeros(num_tuples)
    for t in range(num_tuples):
        num_votes, num_for = 0, 0
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0:
                num_votes += 1
                alike = 0
                for s in range(num_annotators):
                    alike += tuple_TR[t, s] == tuple_TR[t, r]
                if winner_T[t] == tuple_TR[t, r] or (winner_T[t] == 0 and alike > num_for):
                    num_for = alike
        if num_votes > 0:
            against_T[t] = 1.0 - num_for / num_votes
    return against_T


@kernel
def pair_scores(tuple_TR: NDArray[np.int32], pixels_T: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Mean IoU of each pair of annotators where both voted, float64 (R (R - 1) / 2,); nan where they never did."""
    num_tuples, num_annotators = tuple_TR.shape
    scores = np.full(num_annotators * (num_annotators - 1) // 2, np.nan)
    both_K = np.zeros(num_classes + 1, np.int64)
    sizes_K = np.zeros(num_classes + 1, np.int64)
    pair = 0
    for r in range(num_annotators):
        for s in range(r + 1, num_annotators):
            both_K[:] = 0
            sizes_K[:] = 0
            for t in range(num_tuples):
                first, second = tuple_TR[t, r], tuple_TR[t, s]
                if first > 0 and second > 0:
                    sizes_K[first] += pixels_T[t]
                    sizes_K[second] += pixels_T[t]
                    if first == second:
                        both_K[first] += pixels_T[t]
            total, num_used = 0.0, 0
            for k in range(1, num_classes + 1):
                if sizes_K[k] > 0:
                    total += both_K[k] / (sizes_K[k] - both_K[k])
                    num_used += 1
            if num_used > 0:
                scores[pair] = total / num_used
            pair += 1
    return scores


def warm() -> None:
    """Compile for uint8 and uint16 label maps."""
    for dtype, bits in ((np.uint8, 8), (np.uint16, 16)):
        votes_RP: LabelMap = (np.arange(32).reshape(2, 16) % 3).astype(dtype)
        found = count_tuples(votes_RP, votes_RP.view(np.uint64), 64 // bits, bits, 4)
        tuple_TR = unpack(found[2], 2, bits)
        byte_L, flag_L = np.zeros(64, np.uint8), np.zeros(64, np.bool_)
        spread(found[0], np.zeros(64, dtype), byte_L, byte_L, flag_L)
    winner_T, _, _ = lead(tuple_TR, support(tuple_TR, np.ones(2)), 1e-9)
    share_against(tuple_TR, winner_T)
    pair_scores(tuple_TR, found[3], 4)
