"""Dawid and Skene's model of annotators, with a prior on their matrices that is learned from all of them.

Dawid and Skene (Applied Statistics 1979): each annotator has a confusion matrix, each class a prevalence, and both
are estimated with the true classes by expectation maximisation. An annotator of whom little was seen gets a matrix
from little; so each row has a Dirichlet prior whose mean is the row of all annotators together, and whose strength
is learned from how much they differ (a method of moments, as in Paun et al., TACL 2018, whose annotators are
partially pooled): annotators who are alike are pooled, one who differs stands alone.

Of the agreed pixels of a class at most so many enter the estimate as `anchored` assumes. So annotators who err
independently are estimated as they are, while a large agreed background, and padding of it, has no more say than
that.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.consensus.anchored import SMOOTHING, TOLERANCE, Contested

ITERATIONS_MAX = 100
STRENGTH_MIN, STRENGTH_MAX = 1.0, 1e4  # pixels that the learned prior of a row may weigh


def fit(
    contested: Contested, prior_K: NDArray[np.float64] | None, max_iterations: int | None
) -> tuple[NDArray[np.float64], int]:
    """The posterior of the class that each annotator voted for, float64 (T, R), and the iterations it took.

    `prior_K` replaces the prevalence, which is otherwise estimated too.
    """
    from terrazzo_masks.kernels.vote_models import voted_counts, voted_posterior

    class_TR, num_classes = contested.class_TR, contested.num_classes
    anchor_RK = np.minimum(contested.agreed_RK, contested.anchor())
    diagonal = np.arange(num_classes)
    posterior_TR = contested.equal_votes()
    for iteration in range(1, (ITERATIONS_MAX if max_iterations is None else max_iterations) + 1):
        counts_RKK, pixels_K = voted_counts(class_TR, contested.pixels_T, posterior_TR, num_classes)
        if prior_K is None:
            prevalence_K = pixels_K + anchor_RK.max(axis=0) + SMOOTHING
        else:
            prevalence_K = np.maximum(prior_K, 1e-12)
        counts_RKK[:, diagonal, diagonal] += anchor_RK
        evidence_RKK = np.log(_shrunk(counts_RKK)) * contested.weight_R[:, None, None]
        log_prevalence_K = np.log(prevalence_K / prevalence_K.sum())
        if voted_posterior(class_TR, evidence_RKK, log_prevalence_K, posterior_TR) < TOLERANCE:
            return posterior_TR, iteration
    return posterior_TR, iteration


def _shrunk(counts_RKK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posterior mean of each row under the learned prior: float64 (R, K, K), P(vote = column | truth = row)."""
    num_classes = counts_RKK.shape[1]
    pooled_KK = counts_RKK.sum(axis=0) + SMOOTHING / num_classes
    pooled_KK /= pooled_KK.sum(axis=1, keepdims=True)
    totals_RK1 = counts_RKK.sum(axis=2, keepdims=True)
    share_RKK = np.divide(
        counts_RKK, totals_RK1, out=np.repeat(pooled_KK[None], len(counts_RKK), 0), where=totals_RK1 > 0
    )
    spread_K = ((share_RKK - pooled_KK) ** 2).sum(axis=2).mean(axis=0)
    # A Dirichlet with mean m and strength s has variance m (1 - m) / (s + 1).
    strength_K = (pooled_KK * (1 - pooled_KK)).sum(axis=1) / np.maximum(spread_K, 1e-12) - 1
    prior_KK = np.clip(strength_K, STRENGTH_MIN, STRENGTH_MAX)[:, None] * pooled_KK
    shrunk_RKK: NDArray[np.float64] = counts_RKK + prior_KK
    shrunk_RKK /= shrunk_RKK.sum(axis=2, keepdims=True)
    return shrunk_RKK
