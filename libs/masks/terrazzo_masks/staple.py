"""STAPLE for several classes on contested pixels, with anchored confusion matrices.

Expectation maximisation of Warfield, Zou and Wells (IEEE TMI 2004), for many classes as Rohlfing, Russakoff and
Maurer (IEEE TMI 2004), with a prior on the annotators' parameters as Commowick and Warfield (MICCAI 2012). Two
plain forms fail:

- On the full frame the agreed background, most of an image, drives each annotator's false positive rate to 0. One
  vote for an object then outweighs any number against it, and the result depends on how much padding surrounds it.
- On the contested pixels alone nothing is ever agreed upon, so that labels may swap: an annotator who is always
  alone may come out as the one who is always right.

The rule here: an agreed pixel has the same effect on every annotator's matrix (it adds to the diagonal), so the
agreed pixels are replaced by a fixed anchor, as many agreed pixels of each class as there are contested pixels
in which that class got a vote. Only contested pixels and the anchor enter the estimate: padding adds neither.
The prior of a class is its share of the votes in contested pixels, and only classes that a pixel's annotators
voted for are candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ANCHOR = 1.0  # agreed pixels that are assumed per contested pixel, for each class
SMOOTHING = 1.0  # pixels added to each row of a confusion matrix, spread evenly: no vote is impossible
TOLERANCE = 1e-5  # largest change of a posterior at which the iteration ends


@dataclass(frozen=True)
class StapleFit:
    """posterior_TR: float64 (T, R), of the class that annotator r voted for in tuple t (0 where r abstained);
    confusion_RKK: float64 (R, K, K), P(vote = column | truth = row), rows sum to 1."""

    posterior_TR: NDArray[np.float64]
    confusion_RKK: NDArray[np.float64]
    iterations: int


def fit(
    tuple_TR: NDArray[np.int64],
    pixels_T: NDArray[np.int64],
    num_classes: int,
    weight_R: NDArray[np.float64],
    prior_K: NDArray[np.float64] | None,
    max_iterations: int,
) -> StapleFit:
    """Estimate the true class of contested vote tuples.

    tuple_TR holds class indices (0 abstains, k + 1 votes for class k), pixels_T how many pixels show each tuple.
    `weight_R` (mean 1) multiplies each annotator's evidence. `prior_K` replaces the prior from the votes.
    """
    voted_TR = tuple_TR > 0
    class_TR = np.maximum(tuple_TR - 1, 0)
    pixels = pixels_T.astype(np.float64)
    if prior_K is None:
        prior_K = _vote_shares(class_TR, voted_TR, pixels, num_classes)
    log_prior_TR = np.log(np.maximum(prior_K, 1e-12))[class_TR]
    anchor_K = ANCHOR * _pixels_with_vote(class_TR, voted_TR, pixels, num_classes)
    first_TR = _first_votes(class_TR, voted_TR)

    # Start from the share of votes: the first estimate of the annotators is how often each is with the others.
    posterior_TR = _equal_votes(class_TR, voted_TR, weight_R)
    confusion_RKK = _estimate(posterior_TR * first_TR, class_TR, voted_TR, pixels, anchor_K)
    iterations = 0
    change = np.inf
    while change >= TOLERANCE and iterations < max_iterations:
        iterations += 1
        updated_TR = _posterior(confusion_RKK, class_TR, voted_TR, first_TR, log_prior_TR, weight_R)
        change = float(np.abs(updated_TR - posterior_TR).max(initial=0.0))
        posterior_TR = updated_TR
        confusion_RKK = _estimate(posterior_TR * first_TR, class_TR, voted_TR, pixels, anchor_K)
    return StapleFit(posterior_TR, confusion_RKK, iterations)


def _vote_shares(
    class_TR: NDArray[np.int64], voted_TR: NDArray[np.bool_], pixels: NDArray[np.float64], num_classes: int
) -> NDArray[np.float64]:
    votes_TR = voted_TR * pixels[:, None]
    share_K = np.bincount(class_TR.ravel(), weights=votes_TR.ravel(), minlength=num_classes)
    shares_K: NDArray[np.float64] = share_K / share_K.sum()
    return shares_K


def _pixels_with_vote(
    class_TR: NDArray[np.int64], voted_TR: NDArray[np.bool_], pixels: NDArray[np.float64], num_classes: int
) -> NDArray[np.float64]:
    first_TR = _first_votes(class_TR, voted_TR)
    votes_TR = first_TR * pixels[:, None]
    pixels_K: NDArray[np.float64] = np.bincount(
        class_TR.ravel(), weights=votes_TR.ravel(), minlength=num_classes
    ).astype(np.float64)
    return pixels_K


def _first_votes(class_TR: NDArray[np.int64], voted_TR: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool (T, R): the first annotator of a tuple with that class; marks each candidate class once."""
    first_TR = voted_TR.copy()
    for r in range(1, class_TR.shape[1]):
        for earlier in range(r):
            first_TR[:, r] &= ~(voted_TR[:, earlier] & (class_TR[:, earlier] == class_TR[:, r]))
    return first_TR


def _equal_votes(
    class_TR: NDArray[np.int64], voted_TR: NDArray[np.bool_], weight_R: NDArray[np.float64]
) -> NDArray[np.float64]:
    same_TRR = (class_TR[:, :, None] == class_TR[:, None, :]) & voted_TR[:, None, :]
    support_TR = same_TRR @ weight_R
    total_T = voted_TR @ weight_R
    return np.where(voted_TR, support_TR / np.maximum(total_T, 1e-12)[:, None], 0.0)


def _posterior(
    confusion_RKK: NDArray[np.float64],
    class_TR: NDArray[np.int64],
    voted_TR: NDArray[np.bool_],
    first_TR: NDArray[np.bool_],
    log_prior_TR: NDArray[np.float64],
    weight_R: NDArray[np.float64],
) -> NDArray[np.float64]:
    """E-step: posterior of each candidate (the class that annotator j voted for), float64 (T, R)."""
    score_TR = log_prior_TR.copy()
    for r in range(class_TR.shape[1]):
        log_confusion_KK = np.log(confusion_RKK[r]) * weight_R[r]
        evidence_TR = log_confusion_KK[class_TR, class_TR[:, r][:, None]]
        score_TR += evidence_TR * voted_TR[:, r][:, None]
    score_TR[~voted_TR] = -np.inf
    odds_TR = np.exp(score_TR - score_TR.max(axis=1, keepdims=True))
    posterior_TR: NDArray[np.float64] = odds_TR / (odds_TR * first_TR).sum(axis=1, keepdims=True)
    return posterior_TR


def _estimate(
    candidate_TR: NDArray[np.float64],
    class_TR: NDArray[np.int64],
    voted_TR: NDArray[np.bool_],
    pixels: NDArray[np.float64],
    anchor_K: NDArray[np.float64],
) -> NDArray[np.float64]:
    """M-step: confusion matrices (R, K, K) from expected counts, the anchor and the smoothing."""
    num_classes = anchor_K.size
    num_annotators = class_TR.shape[1]
    confusion_RKK = np.full((num_annotators, num_classes, num_classes), SMOOTHING / num_classes)
    expected_TR = candidate_TR * pixels[:, None]
    for r in range(num_annotators):
        cells = class_TR * num_classes + class_TR[:, r][:, None]
        counts = np.bincount(
            cells.ravel(), weights=(expected_TR * voted_TR[:, r][:, None]).ravel(), minlength=num_classes**2
        )
        confusion_RKK[r] += counts.reshape(num_classes, num_classes) + np.diag(anchor_K)
    confusion_RKK /= confusion_RKK.sum(axis=2, keepdims=True)
    return confusion_RKK
