"""What a table of vote tuples says: leaders, agreement, and maps per pixel from values per tuple.

Axes: R annotators, P pixels, T distinct tuples, L places (see `vote_tuples`).
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import kernel


@kernel
def spread(
    place_P: NDArray[np.int32],
    labels_L: LabelMap,
    posterior_L: NDArray[np.uint8],
    against_L: NDArray[np.uint8],
    disputed_L: NDArray[np.bool_],
) -> tuple[LabelMap, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Values by place to values by pixel, four maps in one pass: one look-up a pixel."""
    record_L = np.empty(labels_L.size, np.uint64)
    for place in range(labels_L.size):
        record = np.uint64(labels_L[place]) | np.uint64(posterior_L[place]) << np.uint64(16)
        record |= np.uint64(against_L[place]) << np.uint64(24)
        record_L[place] = record | np.uint64(disputed_L[place]) << np.uint64(32)
    labels_P = np.empty(place_P.size, labels_L.dtype)
    posterior_P = np.empty(place_P.size, np.uint8)
    against_P = np.empty(place_P.size, np.uint8)
    disputed_P = np.empty(place_P.size, np.bool_)
    for p in range(place_P.size):
        record = record_L[place_P[p]]
        labels_P[p] = record & np.uint64(65535)
        posterior_P[p] = (record >> np.uint64(16)) & np.uint64(255)
        against_P[p] = (record >> np.uint64(24)) & np.uint64(255)
        disputed_P[p] = (record >> np.uint64(32)) != np.uint64(0)
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
            index = tuple_TR[t, r]
            # Filled already when an earlier annotator voted alike.
            if index > 0 and support_TR[t, r] == 0.0:
                weight = 0.0
                for s in range(r, num_annotators):
                    if tuple_TR[t, s] == index:
                        weight += weight_R[s]
                for s in range(r, num_annotators):
                    if tuple_TR[t, s] == index:
                        support_TR[t, s] = weight / total
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
            index = tuple_TR[t, r]
            if index > 0:
                num_votes += 1
                if index == winner_T[t]:
                    num_for += 1
                elif winner_T[t] == 0:
                    alike = 0
                    for s in range(num_annotators):
                        alike += tuple_TR[t, s] == index
                    num_for = max(num_for, alike)
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
    tuple_TR, byte_L, flag_L = np.ones((1, 2), np.int32), np.zeros(4, np.uint8), np.zeros(4, np.bool_)
    spread(np.zeros(1, np.int32), np.zeros(4, np.uint8), byte_L, byte_L, flag_L)
    spread(np.zeros(1, np.int32), np.zeros(4, np.uint16), byte_L, byte_L, flag_L)
    winner_T, _, _ = lead(tuple_TR, support(tuple_TR, np.ones(2)), 1e-9)
    share_against(tuple_TR, winner_T)
    pair_scores(tuple_TR, np.ones(1, np.int64), 1)
