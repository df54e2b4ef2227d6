"""STAPLE for several labels on the full frame, as ITK's MultiLabelSTAPLEImageFilter defines it.

Expectation maximisation of Warfield, Zou and Wells (IEEE TMI 2004) for many labels as Rohlfing, Russakoff and
Maurer (IEEE TMI 2004); initialisation, prior and stopping as in ITK: the annotators' first matrices come from the
majority vote (an undecided pixel counts nowhere), the prior of a label is its share of all votes, every label that
occurs is a candidate in every pixel, the iteration ends when no parameter moves by 1e-5, and a pixel in which the
best labels tie is undecided. Releases of ITK up to 5.4 count an undecided pixel of the first vote in another
cell of the matrix; that is not done here. ITK counts in float32, this in float64.

It is here to be compared with. The agreed background of an image drives every annotator's false positive rate to
0, so that one vote for an object outweighs any number against it, and the result depends on how much padding
surrounds the image; `anchored` has neither trait. Beyond ITK: an abstention carries no evidence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5  # largest change of a parameter at which the iteration ends
ITERATIONS_MAX = 10_000  # ITK sets no bound; a bound there must be
# Two posteriors whose ratio is this near to 1 are equal: they differ by rounding alone.
TIE_MARGIN = 1e-9


@dataclass(frozen=True)
class StapleFit:
    """winner_T: int32 (T,), class index, -1 where undecided; posterior_T: float64, of the best; tied_T: bool.

    confusion_RKK: float64 (R, K, K), P(vote = column | truth = row), rows sum to 1 or are 0 for a class that the
    estimate has nowhere.
    """

    winner_T: NDArray[np.int32]
    posterior_T: NDArray[np.float64]
    tied_T: NDArray[np.bool_]
    confusion_RKK: NDArray[np.float64]
    iterations: int


def fit(
    class_TR: NDArray[np.int32],
    pixels_T: NDArray[np.int64],
    majority_T: NDArray[np.int32],
    num_classes: int,
    prior_K: NDArray[np.float64] | None,
    max_iterations: int | None,
) -> StapleFit:
    """Estimate the true class of every vote tuple of an image.

    class_TR holds class indices (-1 abstains), pixels_T how many pixels show each tuple, majority_T the class
    index that leads each tuple (-1: none). `prior_K` replaces the prior from the votes.
    """
    from terrazzo_masks.kernels.vote_models import counts_by_majority, full_counts, full_decide

    given_RKK, votes_K = counts_by_majority(class_TR, pixels_T, majority_T, num_classes)
    # The first matrices: of the pixels where r votes j, the share whose majority is k.
    totals_RK1 = given_RKK.sum(axis=2, keepdims=True)
    np.divide(given_RKK, totals_RK1, out=given_RKK, where=totals_RK1 > 0)
    if prior_K is None:
        prior_K = votes_K / votes_K.sum()
    iterations = 0
    for _ in range(ITERATIONS_MAX if max_iterations is None else max_iterations):
        iterations += 1
        updated_RKK = full_counts(class_TR, pixels_T, given_RKK, prior_K)
        totals_R1K = updated_RKK.sum(axis=1, keepdims=True)
        np.divide(updated_RKK, totals_R1K, out=updated_RKK, where=totals_R1K > 0)
        change = float(np.abs(updated_RKK - given_RKK).max())
        given_RKK = updated_RKK
        if change < TOLERANCE:
            break
    winner_T, posterior_T, tied_T = full_decide(class_TR, given_RKK, prior_K, TIE_MARGIN)
    return StapleFit(winner_T, posterior_T, tied_T, given_RKK.transpose(0, 2, 1), iterations)
