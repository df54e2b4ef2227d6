"""STAPLE on contested pixels with anchored confusion matrices: robust against background, padding and spam.

The estimate of `staple`, with a prior on the annotators' parameters as Commowick and Warfield (MICCAI 2012), freed
of the two ways in which plain forms fail:

- On the full frame the agreed background, most of an image, drives each annotator's false positive rate to 0. One
  vote for an object then outweighs any number against it, and the result depends on how much padding surrounds it.
- On the contested pixels alone nothing is ever agreed upon, so that labels may swap: an annotator who is always
  alone may come out as the one who is always right.

The rule here: an agreed pixel has the same effect on every annotator's matrix (it adds to the diagonal), so the
agreed pixels are replaced by a fixed anchor: for each contested pixel two agreed ones, of the classes that it got
votes for, by their shares. Only contested pixels and the anchor enter the estimate: padding adds neither.
The prior of a class is its share of the votes in contested pixels, and only classes that a pixel's annotators
voted for are candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ANCHOR = 2.0  # agreed pixels that are assumed per contested pixel
SMOOTHING = 1.0  # pixels added to each row of a confusion matrix, spread evenly: no vote is impossible
TOLERANCE = 1e-5  # largest change of a posterior at which the iteration ends
ITERATIONS_MAX = 50


@dataclass(frozen=True)
class Contested:
    """The contested tuples of an image: class_TR int32 (T, R) of class indices (-1 abstains), pixels_T int64.

    weight_R: float64, multiplies each annotator's evidence; agreed_RK: int64, the pixels that are not contested in
    which r and at least one other voted, for class k.
    """

    class_TR: NDArray[np.int32]
    pixels_T: NDArray[np.int64]
    num_classes: int
    weight_R: NDArray[np.float64]
    agreed_RK: NDArray[np.int64]

    def vote_shares(self) -> NDArray[np.float64]:
        """float64 (K,): each class's share of the votes."""
        votes_K = np.zeros(self.num_classes, dtype=np.int64)
        for class_T in self.class_TR.T:
            voted_T = class_T >= 0
            np.add.at(votes_K, class_T[voted_T], self.pixels_T[voted_T])
        shares_K: NDArray[np.float64] = votes_K / votes_K.sum()
        return shares_K

    def anchor(self) -> NDArray[np.float64]:
        """float64 (K,): the agreed pixels that are assumed of each class."""
        from terrazzo_masks.kernels.vote_models import voted_counts

        _, pixels_K = voted_counts(self.class_TR, self.pixels_T, self.equal_votes(), self.num_classes)
        return ANCHOR * pixels_K

    def equal_votes(self) -> NDArray[np.float64]:
        """float64 (T, R): the weighted share of votes for the class that r voted for, 0 where r abstains."""
        from terrazzo_masks.kernels.vote_table import support

        share_TR: NDArray[np.float64] = support(self.class_TR + np.int32(1), self.weight_R)
        return share_TR


def fit(
    contested: Contested, prior_K: NDArray[np.float64] | None, max_iterations: int | None
) -> tuple[NDArray[np.float64], int]:
    """The posterior of the class that each annotator voted for, float64 (T, R), and the iterations it took.

    `prior_K` replaces the prior from the votes.
    """
    from terrazzo_masks.kernels.vote_models import voted_counts, voted_posterior

    class_TR, num_classes = contested.class_TR, contested.num_classes
    log_prior_K = np.log(np.maximum(contested.vote_shares() if prior_K is None else prior_K, 1e-12))
    fixed_KK = np.diag(contested.anchor()) + SMOOTHING / num_classes
    # Start from the share of votes: the first estimate of the annotators is how often each is with the others.
    posterior_TR = contested.equal_votes()
    for iteration in range(1, (ITERATIONS_MAX if max_iterations is None else max_iterations) + 1):
        counts_RKK, _ = voted_counts(class_TR, contested.pixels_T, posterior_TR, num_classes)
        counts_RKK += fixed_KK
        given_RKK = counts_RKK / counts_RKK.sum(axis=2, keepdims=True)
        evidence_RKK = np.log(given_RKK) * contested.weight_R[:, None, None]
        if voted_posterior(class_TR, evidence_RKK, log_prior_K, posterior_TR) < TOLERANCE:
            return posterior_TR, iteration
    return posterior_TR, iteration
