"""Steps of expectation maximisation on a table of vote tuples.

Axes: T tuples, R annotators, K classes. `class_TR` int32 holds class indices 0..K-1, -1 for an abstention.
Sums run through tuples and annotators in the order given: the same order gives the same bits.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel

_NONE, _1, _2, _3, _FOUR = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_NEGLIGIBLE = 1e-12  # share of a tuple
_WITHOUT_SCALING = 12  # annotators whose probabilities are multiplied as they are


@kernel
def counts_by_majority(
    tuple_TR: NDArray[np.int32], pixels_T: NDArray[np.int64], majority_T: NDArray[np.int32], num_classes: int
) -> NDArray[np.float64]:
    """Pixels by annotator, vote and majority, float64 (R, K + 1, K + 1), both by index: 0 for none."""
    num_tuples, num_annotators = tuple_TR.shape
    counts_RJJ = np.zeros((num_annotators, num_classes + 1, num_classes + 1))
    for t in range(num_tuples):
        for r in range(num_annotators):
            counts_RJJ[r, np.uint32(tuple_TR[t, r]), np.uint32(majority_T[t])] += pixels_T[t]
    return counts_RJJ


@kernel
def full_fit(
    tuple_TR: NDArray[np.int32],
    pixels_T: NDArray[np.int64],
    order_R: NDArray[np.int64],
    given_RJC: NDArray[np.float64],
    prior_C: NDArray[np.float64],
    tolerance: float,
    max_iterations: int,
    margin: float,
) -> tuple[int, NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """Iterate on the matrices, in place; then decide each tuple, every class a candidate.

    `given_RJC[i, vote index, true]` is P(vote | true) of annotator `order_R[i]`, vote 0 (none) is 1 whatever the
    truth; C is K filled up to a multiple of 4, with classes whose prior is 0. Returns the number of iterations
    and by tuple the winner (0 for a tie or no explanation), the posterior of the best class, and whether it ties.
    """
    num_indices = given_RJC.shape[1]
    # Many tuples to few classes: the products of two annotators are worked out once, and half of them remain.
    size = 2 if pixels_T.size >= 4 * num_indices**2 else 1
    offset_TG = _offsets(tuple_TR, order_R, size, num_indices, given_RJC.shape[2])
    table_F = np.ones((offset_TG.shape[1] * num_indices**size) * given_RJC.shape[2])
    counts_F = np.empty_like(table_F)
    counts_RJC = np.empty_like(given_RJC)
    direct = np.uint64(_WITHOUT_SCALING // size)
    iterations, change = 0, np.inf
    while iterations < max_iterations and change >= tolerance:
        _multiply_out(given_RJC, size, table_F)
        _full_counts(offset_TG, pixels_T, table_F, prior_C, direct, counts_F)
        _add_up(counts_F, size, counts_RJC)
        change = _to_shares(counts_RJC, given_RJC)
        iterations += 1
    _multiply_out(given_RJC, size, table_F)
    winner_T, posterior_T, tied_T = _full_decide(offset_TG, table_F, prior_C, direct, margin)
    return iterations, winner_T, posterior_T, tied_T


@kernel
def _offsets(
    tuple_TR: NDArray[np.int32], order_R: NDArray[np.int64], size: int, num_indices: int, num_padded: int
) -> NDArray[np.uint32]:
    """Where the votes of each group of `size` annotators begin in a table by group, votes and true class."""
    num_tuples, num_annotators = tuple_TR.shape
    num_groups = (num_annotators + size - 1) // size
    offset_TG = np.empty((num_tuples, num_groups), np.uint32)
    for t in range(num_tuples):
        for group in range(num_groups):
            row = group
            for i in range(group * size, (group + 1) * size):
                # One who is missing from the last group abstains.
                vote = tuple_TR[t, order_R[i]] if i < num_annotators else 0
                row = row * num_indices + vote
            offset_TG[t, group] = row * num_padded
    return offset_TG


@kernel
def _copy(from_F: NDArray[np.float64], to_F: NDArray[np.float64]) -> None:
    # As a loop: numba takes seconds to compile the assignment of a slice, and the words of its error.
    for i in range(from_F.size):
        to_F[i] = from_F[i]


@kernel
def _multiply_out(given_RJC: NDArray[np.float64], size: int, table_F: NDArray[np.float64]) -> None:
    """Fill the table with the product of a group's probabilities."""
    num_annotators, num_indices, num_padded = given_RJC.shape
    if size == 1:
        _copy(given_RJC.reshape(given_RJC.size), table_F)
        return
    at = 0
    for r in range(0, num_annotators, 2):
        for first in range(num_indices):
            for second in range(num_indices):
                for c in range(num_padded):
                    other = given_RJC[r + 1, second, c] if r + 1 < num_annotators else 1.0
                    table_F[at] = given_RJC[r, first, c] * other
                    at += 1


@kernel
def _add_up(counts_F: NDArray[np.float64], size: int, counts_RJC: NDArray[np.float64]) -> None:
    """Expected pixels of each annotator from those by group."""
    num_annotators, num_indices, num_padded = counts_RJC.shape
    if size == 1:
        _copy(counts_F, counts_RJC.reshape(counts_RJC.size))
        return
    counts_RJC[:] = 0.0
    at = 0
    for r in range(0, num_annotators, 2):
        for first in range(num_indices):
            for second in range(num_indices):
                for c in range(num_padded):
                    counts_RJC[r, first, c] += counts_F[at]
                    if r + 1 < num_annotators:
                        counts_RJC[r + 1, second, c] += counts_F[at]
                    at += 1


@kernel
def _to_shares(counts_RJC: NDArray[np.float64], given_RJC: NDArray[np.float64]) -> float:
    """Replace the matrices by shares of the expected pixels; return the largest change."""
    num_annotators, num_indices, num_padded = counts_RJC.shape
    change = 0.0
    for r in range(num_annotators):
        for c in range(num_padded):
            total = 0.0
            for j in range(1, num_indices):
                total += counts_RJC[r, j, c]
            for j in range(1, num_indices):
                share = counts_RJC[r, j, c] / total if total > 0.0 else 0.0
                change = max(change, abs(share - given_RJC[r, j, c]))
                given_RJC[r, j, c] = share
    return change


@kernel
def _full_counts(
    offset_TG: NDArray[np.uint32],
    pixels_T: NDArray[np.int64],
    table_F: NDArray[np.float64],
    prior_C: NDArray[np.float64],
    direct: np.uint64,
    counts_F: NDArray[np.float64],
) -> None:
    """Expected pixels by annotator, vote and true class, laid out as `table_F`.

    A tuple that no class explains counts nowhere; four classes whose shares of a tuple are all negligible are not
    added up.
    """
    counts_F[:] = 0.0
    weight_C = np.empty(prior_C.size)
    for t in range(offset_TG.shape[0]):
        total = _full_weights(offset_TG, t, table_F, prior_C, direct, weight_C)
        if total <= 0.0:
            continue
        factor = pixels_T[t] / total
        least = _NEGLIGIBLE * total
        for c in range(_NONE, np.uint64(prior_C.size), _FOUR):
            w0, w1, w2, w3 = weight_C[c], weight_C[c + _1], weight_C[c + _2], weight_C[c + _3]
            if max(max(w0, w1), max(w2, w3)) > least:
                w0, w1, w2, w3 = w0 * factor, w1 * factor, w2 * factor, w3 * factor
                for g in range(np.uint64(offset_TG.shape[1])):
                    at = np.uint64(offset_TG[t, g]) + c
                    counts_F[at] += w0
                    counts_F[at + _1] += w1
                    counts_F[at + _2] += w2
                    counts_F[at + _3] += w3


@kernel
def _full_weights(
    offset_TG: NDArray[np.uint32],
    t: int,
    table_F: NDArray[np.float64],
    prior_C: NDArray[np.float64],
    direct: np.uint64,
    weight_C: NDArray[np.float64],
) -> float:
    """Fill `weight_C` with the joint probability of each class and a tuple's votes, scaled; return its sum."""
    num_groups = np.uint64(offset_TG.shape[1])
    direct = min(num_groups, direct)
    total = 0.0
    for c in range(_NONE, np.uint64(prior_C.size), _FOUR):
        w0, w1, w2, w3 = prior_C[c], prior_C[c + _1], prior_C[c + _2], prior_C[c + _3]
        for g in range(direct):
            at = np.uint64(offset_TG[t, g]) + c
            w0 *= table_F[at]
            w1 *= table_F[at + _1]
            w2 *= table_F[at + _2]
            w3 *= table_F[at + _3]
        weight_C[c] = w0
        weight_C[c + _1] = w1
        weight_C[c + _2] = w2
        weight_C[c + _3] = w3
        total += (w0 + w1) + (w2 + w3)
    # Products of many small numbers would come out as 0.
    for g in range(direct, num_groups):
        if total > 0.0:
            rest = 0.0
            for c in range(np.uint64(prior_C.size)):
                weight_C[c] *= table_F[np.uint64(offset_TG[t, g]) + c] / total
                rest += weight_C[c]
            total = rest
    return total


@kernel
def _full_decide(
    offset_TG: NDArray[np.uint32],
    table_F: NDArray[np.float64],
    prior_C: NDArray[np.float64],
    direct: np.uint64,
    margin: float,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """(winner_T: class index, 0 for a tie or no explanation; posterior_T of the best class; tied_T)."""
    num_tuples = offset_TG.shape[0]
    winner_T = np.zeros(num_tuples, np.int32)
    posterior_T = np.zeros(num_tuples)
    tied_T = np.zeros(num_tuples, np.bool_)
    weight_C = np.empty(prior_C.size)
    for t in range(num_tuples):
        total = _full_weights(offset_TG, t, table_F, prior_C, direct, weight_C)
        if total <= 0.0:
            tied_T[t] = True
            continue
        best, num_best = 0.0, 0
        for c in range(prior_C.size):
            best = max(best, weight_C[c])
        for c in range(prior_C.size):
            if weight_C[c] >= best - margin * best:
                num_best += 1
                winner_T[t] = c + 1
        posterior_T[t] = best / total
        if num_best > 1:
            winner_T[t] = 0
            tied_T[t] = True
    return winner_T, posterior_T, tied_T


@kernel
def voted_posterior(
    class_TR: NDArray[np.int32],
    log_given_RKK: NDArray[np.float64],
    log_prior_K: NDArray[np.float64],
    posterior_TR: NDArray[np.float64],
) -> float:
    """Replace `posterior_TR` (of the class that r voted for) by that under the model; return the largest change.

    Only voted classes are candidates. `log_given_RKK[r, true, vote]` is log P(vote | true), weight included.
    """
    num_tuples, num_annotators = class_TR.shape
    score_R = np.empty(num_annotators)
    first_R = np.empty(num_annotators, np.int64)
    change = 0.0
    for t in range(num_tuples):
        best = -np.inf
        for r in range(num_annotators):
            candidate = class_TR[t, r]
            first_R[r] = r
            if candidate < 0:
                continue
            for s in range(r):
                if class_TR[t, s] == candidate:
                    first_R[r] = s
                    break
            if first_R[r] == r:
                score = log_prior_K[candidate]
                for s in range(num_annotators):
                    vote = class_TR[t, s]
                    if vote >= 0:
                        score += log_given_RKK[s, candidate, vote]
                score_R[r] = score
                best = max(best, score)
        total = 0.0
        for r in range(num_annotators):
            if class_TR[t, r] >= 0 and first_R[r] == r:
                score_R[r] = np.exp(score_R[r] - best)
                total += score_R[r]
        for r in range(num_annotators):
            if class_TR[t, r] >= 0:
                updated = score_R[first_R[r]] / total
                change = max(change, abs(updated - posterior_TR[t, r]))
                posterior_TR[t, r] = updated
    return change


@kernel
def voted_counts(
    class_TR: NDArray[np.int32], pixels_T: NDArray[np.int64], posterior_TR: NDArray[np.float64], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected pixels by annotator, true class and vote, float64 (R, K true, K vote), and by true class (K,)."""
    num_tuples, num_annotators = class_TR.shape
    counts_RKK = np.zeros((num_annotators, num_classes, num_classes))
    pixels_K = np.zeros(num_classes)
    for t in range(num_tuples):
        for r in range(num_annotators):
            candidate = class_TR[t, r]
            if candidate < 0 or posterior_TR[t, r] == 0.0:
                continue
            counted = False
            for s in range(r):
                if class_TR[t, s] == candidate:
                    counted = True
                    break
            if counted:
                continue
            expected = pixels_T[t] * posterior_TR[t, r]
            pixels_K[candidate] += expected
            for s in range(num_annotators):
                if class_TR[t, s] >= 0:
                    counts_RKK[s, candidate, class_TR[t, s]] += expected
    return counts_RKK, pixels_K


def warm() -> None:
    """Compile for the one dtype that tables have."""
    tuple_TR, pixels_T = np.ones((1, 2), np.int32), np.ones(1, np.int64)
    counts_by_majority(tuple_TR, pixels_T, np.ones(1, np.int32), 1)
    full_fit(tuple_TR, pixels_T, np.arange(2), np.ones((2, 2, 4)), np.ones(4), 1e-5, 1, 1e-9)
    posterior_TR = np.ones((1, 2))
    voted_posterior(tuple_TR - np.int32(1), np.ones((2, 1, 1)), np.ones(1), posterior_TR)
    voted_counts(tuple_TR - np.int32(1), pixels_T, posterior_TR, 1)
