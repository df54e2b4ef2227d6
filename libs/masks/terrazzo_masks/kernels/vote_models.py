"""Steps of expectation maximisation on a table of vote tuples.

Axes: T tuples, R annotators, K classes. `class_TR` int32 holds class indices 0..K-1, -1 for an abstention.
Sums run through tuples and annotators in the order given: the same order gives the same bits.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel

_WITHOUT_SCALING = 12  # annotators whose probabilities are multiplied as they are


@kernel
def counts_by_majority(
    class_TR: NDArray[np.int32], pixels_T: NDArray[np.int64], majority_T: NDArray[np.int32], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pixels by annotator, vote and majority, float64 (R, K vote, K majority), and votes by class, int64 (K,).

    A tuple without a majority (-1) counts among the votes alone.
    """
    num_tuples, num_annotators = class_TR.shape
    counts_RKK = np.zeros((num_annotators, num_classes, num_classes))
    votes_K = np.zeros(num_classes, np.int64)
    for t in range(num_tuples):
        for r in range(num_annotators):
            vote = class_TR[t, r]
            if vote >= 0:
                votes_K[vote] += pixels_T[t]
                if majority_T[t] >= 0:
                    counts_RKK[r, vote, majority_T[t]] += pixels_T[t]
    return counts_RKK, votes_K


@kernel
def full_counts(
    class_TR: NDArray[np.int32],
    pixels_T: NDArray[np.int64],
    given_RKK: NDArray[np.float64],
    prior_K: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Expected pixels by annotator, vote and true class, float64 (R, K vote, K true), every class a candidate.

    `given_RKK[r, vote, true]` is P(vote | true). A tuple that no class explains counts nowhere; a class that has
    less than 1e-15 of a tuple is not added up.
    """
    num_tuples, num_annotators = class_TR.shape
    num_classes = prior_K.size
    given_F = _with_abstention(given_RKK)
    counts_F = np.zeros(given_F.size)
    weight_K = np.empty(num_classes)
    offset_R = np.empty(num_annotators, np.uint64)
    for t in range(num_tuples):
        total = _full_weights(class_TR, t, given_F, prior_K, offset_R, weight_K)
        if total > 0.0:
            factor = pixels_T[t] / total
            least = 1e-15 * total
            for k in range(np.uint64(num_classes)):
                if weight_K[k] > least:
                    for r in range(num_annotators):
                        counts_F[offset_R[r] + k] += weight_K[k] * factor
    counts_RKK = counts_F.reshape(num_annotators, num_classes + 1, num_classes)
    return counts_RKK[:, 1:].copy()


@kernel
def _with_abstention(given_RKK: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrices with a row of ones ahead, for a vote of -1, in one dimension: rows are found by an offset."""
    num_annotators, num_classes, _ = given_RKK.shape
    rows_RJK = np.ones((num_annotators, num_classes + 1, num_classes))
    rows_RJK[:, 1:] = given_RKK
    return rows_RJK.reshape(rows_RJK.size)


@kernel
def _full_weights(
    class_TR: NDArray[np.int32],
    t: int,
    given_F: NDArray[np.float64],
    prior_K: NDArray[np.float64],
    offset_R: NDArray[np.uint64],
    weight_K: NDArray[np.float64],
) -> float:
    """Fill `weight_K` with the joint probability of each class and a tuple's votes, scaled; return its sum."""
    num_annotators, num_classes = class_TR.shape[1], prior_K.size
    for r in range(num_annotators):
        offset_R[r] = (r * (num_classes + 1) + class_TR[t, r] + 1) * num_classes
    total = 0.0
    for k in range(np.uint64(num_classes)):
        weight = prior_K[k]
        for r in range(min(num_annotators, _WITHOUT_SCALING)):
            weight *= given_F[offset_R[r] + k]
        weight_K[k] = weight
        total += weight
    # Products of many small numbers would come out as 0.
    for r in range(_WITHOUT_SCALING, num_annotators):
        if total > 0.0:
            rest = 0.0
            for k in range(np.uint64(num_classes)):
                weight_K[k] *= given_F[offset_R[r] + k] / total
                rest += weight_K[k]
            total = rest
    return total


@kernel
def full_decide(
    class_TR: NDArray[np.int32], given_RKK: NDArray[np.float64], prior_K: NDArray[np.float64], margin: float
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """(winner_T: class index, -1 for a tie or no explanation; posterior_T of the best class; tied_T)."""
    num_tuples = class_TR.shape[0]
    num_classes = prior_K.size
    winner_T = np.full(num_tuples, -1, np.int32)
    posterior_T = np.zeros(num_tuples)
    tied_T = np.zeros(num_tuples, np.bool_)
    given_F = _with_abstention(given_RKK)
    weight_K = np.empty(num_classes)
    offset_R = np.empty(class_TR.shape[1], np.uint64)
    for t in range(num_tuples):
        total = _full_weights(class_TR, t, given_F, prior_K, offset_R, weight_K)
        if total <= 0.0:
            tied_T[t] = True
            continue
        best, num_best = 0.0, 0
        for k in range(num_classes):
            best = max(best, weight_K[k])
        for k in range(num_classes):
            if weight_K[k] >= best - margin * best:
                num_best += 1
                winner_T[t] = k
        posterior_T[t] = best / total
        if num_best > 1:
            winner_T[t] = -1
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
    class_TR = np.zeros((1, 2), np.int32)
    pixels_T = np.ones(1, np.int64)
    given_RKK, prior_K = np.ones((2, 1, 1)), np.ones(1)
    counts_by_majority(class_TR, pixels_T, np.zeros(1, np.int32), 1)
    full_counts(class_TR, pixels_T, given_RKK, prior_K)
    full_decide(class_TR, given_RKK, prior_K, 1e-9)
    posterior_TR = np.ones((1, 2))
    voted_posterior(class_TR, given_RKK, prior_K, posterior_TR)
    voted_counts(class_TR, pixels_T, posterior_TR, 1)
