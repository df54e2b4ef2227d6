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

from terrazzo_masks.consensus.votes import VoteTable

TOLERANCE = 1e-5  # largest change of a parameter at which the iteration ends
ITERATIONS_MAX = 10_000  # ITK sets no bound; a bound there must be
# Two posteriors whose ratio is this near to 1 are equal: they differ by rounding alone.
TIE_MARGIN = 1e-9


@dataclass(frozen=True)
class StapleFit:
    """winner_T: int32 (T,), class index, 0 where undecided; posterior_T: float64, of the best; tied_T: bool.

    confusion_RKK: float64 (R, K, K), P(vote = column | truth = row), rows sum to 1 or are 0 for a class that the
    estimate has nowhere; annotators in the caller's order.
    """

    winner_T: NDArray[np.int32]
    posterior_T: NDArray[np.float64]
    tied_T: NDArray[np.bool_]
    confusion_RKK: NDArray[np.float64]
    iterations: int


def fit(
    table: VoteTable,
    majority_T: NDArray[np.int32],
    prior_K: NDArray[np.float64] | None,
    max_iterations: int | None,
) -> StapleFit:
    """Estimate the true class of every vote tuple of an image.

    `majority_T`: the class index that leads each tuple (0: none). `prior_K` replaces the prior from the votes.
    """
    from terrazzo_masks.kernels.vote_models import counts_by_majority, full_fit

    num_classes, order_R = len(table.class_ids), table.canonical_R
    counts_RJJ = counts_by_majority(table.tuple_TR, table.pixels_T, majority_T, num_classes)
    # The first matrices: of the pixels where r votes j, the share whose majority is k.
    first_RKK = counts_RJJ[order_R, 1:, 1:]
    totals_RK1 = first_RKK.sum(axis=2, keepdims=True)
    given_RJC = np.zeros((len(order_R), num_classes + 1, -(-num_classes // 4) * 4))
    given_RJC[:, 0] = 1.0
    np.divide(first_RKK, totals_RK1, out=given_RJC[:, 1:, :num_classes], where=totals_RK1 > 0)
    if prior_K is None:
        votes_K = counts_RJJ[:, 1:].sum(axis=(0, 2))  # whole numbers, whatever the order of their sum
        prior_K = votes_K / votes_K.sum()
    prior_C = np.zeros(given_RJC.shape[2])
    prior_C[:num_classes] = prior_K
    iterations, winner_T, posterior_T, tied_T = full_fit(
        table.tuple_TR,
        table.pixels_T,
        order_R,
        given_RJC,
        prior_C,
        TOLERANCE,
        ITERATIONS_MAX if max_iterations is None else max_iterations,
        TIE_MARGIN,
    )
    confusion_RKK = np.empty((len(order_R), num_classes, num_classes))
    confusion_RKK[order_R] = given_RJC[:, 1:, :num_classes].transpose(0, 2, 1)
    return StapleFit(winner_T, posterior_T, tied_T, confusion_RKK, iterations)
