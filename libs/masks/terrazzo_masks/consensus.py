"""One label map from the label maps of several annotators: majority vote or STAPLE, with what is still disputed.

A vote of 0 abstains: an annotator may submit a part of an image. The result never depends on the order of the
annotators, nor on unanimous padding around the image. Ties go to the lowest class id and are reported as
disputed.

Method "auto" is the majority vote unless all of these hold, which make STAPLE worth its assumptions:

- at least 3 annotators, and no `weights` that already say whom to trust;
- no two annotators agree in every contested pixel: STAPLE takes a copied submission for two perfect annotators;
- at least 100 contested pixels in which some class leads (fewer tell little about anybody);
- one annotator's agreement with the leading class of the contested pixels is below 0.6 of the median of the
  others'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks import staple
from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import UNLABELLED, BoolMap, LabelMap, require_labels
from terrazzo_masks.measures import confusion, mean_iou
from terrazzo_masks.votes import VoteTable, require_votes, tabulate

Method = Literal["auto", "majority", "staple"]
METHODS: tuple[Method, ...] = ("auto", "majority", "staple")

DISPUTED_BELOW = 0.6
OUTLIER_RATIO = 0.6
OUTLIER_PIXELS_MIN = 100
# Two scores closer than this are a tie: they differ by rounding alone.
TIE_MARGIN = 1e-9


@dataclass(frozen=True)
class Consensus:
    """What several annotators agree on.

    - labels_HW: class ids in the votes' dtype, 0 where every annotator abstained
    - posterior_HW: uint8, probability of that class times 255 (majority: its share of the votes' weight), 0
      where nobody voted
    - disputed_HW: bool, a tie, or a posterior below the threshold
    - disagreement_HW: uint8, share of the votes against the winner times 255
    - confusion_RKK: float64 (R, K, K), P(vote = column | consensus = row), annotators in the caller's order,
      classes in that of `class_ids`. Rows sum to 1, or are 0 where an annotator never met the class. STAPLE gives
      its estimate, which describes contested pixels; majority gives shares over the whole image
    - class_ids: the classes that got a vote, by rising id
    - iterations: of STAPLE, else 0
    - method: "majority" or "staple", as used; reason: why, in a sentence
    """

    labels_HW: LabelMap
    posterior_HW: NDArray[np.uint8]
    disputed_HW: BoolMap
    disagreement_HW: NDArray[np.uint8]
    confusion_RKK: NDArray[np.float64]
    class_ids: tuple[int, ...]
    iterations: int
    method: Method
    reason: str


@dataclass(frozen=True)
class _Decision:
    """Per distinct tuple: winner (class index, 0 none), its posterior 0..1, and whether it tied."""

    winner_T: NDArray[np.int64]
    posterior_T: NDArray[np.float64]
    tied_T: NDArray[np.bool_]


def consensus(
    votes_RHW: LabelMap,
    method: Method = "auto",
    *,
    weights: Sequence[float] | None = None,
    prior: Mapping[int, float] | None = None,
    max_iterations: int = 50,
    disputed_below: float = DISPUTED_BELOW,
) -> Consensus:
    """Fuse label maps of R annotators, uint8 or uint16 (R, H, W), into one.

    `weights`: one positive number per annotator; the majority counts votes by it, STAPLE multiplies an annotator's
    log-evidence by weight / mean weight. `prior`: class id -> share, for STAPLE, instead of the shares of the
    contested votes. `disputed_below`: posteriors under it (0..1) are disputed. Raises ShapeMismatch when shapes
    or the number of weights do not fit, UnsupportedMask for another dtype, an unknown method or a number that is
    not positive.
    """
    require_votes(votes_RHW)
    if method not in METHODS:
        raise UnsupportedMask(f"unknown consensus method {method!r}: it is one of {', '.join(METHODS)}")
    weight_R = _weights(weights, votes_RHW.shape[0])
    table = tabulate(votes_RHW)
    majority = _majority(table, weight_R)
    used, reason = _choose(table, majority, method, weighted=weights is not None)
    decision, iterations = majority, 0
    confusion_RKK = _shares(table, majority.winner_T)
    if used == "staple":
        decision, confusion_RKK, iterations = _staple(table, majority, weight_R, prior, max_iterations)
    return _spread(table, decision, votes_RHW.dtype, disputed_below, confusion_RKK, iterations, used, reason)


def agreement(votes_RHW: LabelMap) -> float:
    """Mean over all pairs of annotators of their mean IoU, 0..1; 1.0 for a single annotator.

    Each pair is compared where both labelled, over the classes that either of them used there. nan when no two
    annotators labelled a common pixel. It is a plain description: it does not correct for chance, and rises with
    the agreed area. Raises as `consensus` does for bad votes.
    """
    require_votes(votes_RHW)
    if votes_RHW.shape[0] == 1:
        return 1.0
    scores = []
    for first_HW, second_HW in combinations(votes_RHW, 2):
        both = (first_HW != UNLABELLED) & (second_HW != UNLABELLED)
        class_ids = np.flatnonzero(
            np.bincount(first_HW[both], minlength=65536) + np.bincount(second_HW[both], minlength=65536)
        )
        if class_ids.size:
            matrix = confusion(first_HW[both][None], second_HW[both][None], class_ids.tolist())
            scores.append(mean_iou(matrix))
    return float(np.mean(sorted(scores))) if scores else float("nan")


def merge_region(base_HW: LabelMap, patch_HW: LabelMap, y: int, x: int) -> LabelMap:
    """A copy of `base_HW` with the labelled pixels of `patch_HW` set, the patch's first pixel at (y, x).

    Unlabelled pixels of the patch (no decision) leave the base as it is. The result has the wider dtype of the
    two. Raises ShapeMismatch when the patch leaves the base.
    """
    require_labels(base_HW, "base")
    require_labels(patch_HW, "patch")
    height, width = patch_HW.shape
    if min(y, x) < 0 or y + height > base_HW.shape[0] or x + width > base_HW.shape[1]:
        raise ShapeMismatch(f"a patch of {height} x {width} at (y {y}, x {x}) leaves a map of {base_HW.shape}")
    merged_HW: LabelMap = base_HW.astype(np.promote_types(base_HW.dtype, patch_HW.dtype))
    region_HW = merged_HW[y : y + height, x : x + width]
    np.copyto(region_HW, patch_HW, where=patch_HW != UNLABELLED)
    return merged_HW


def _weights(weights: Sequence[float] | None, num_annotators: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(num_annotators)
    weight_R = np.asarray(weights, dtype=np.float64)
    if weight_R.shape != (num_annotators,):
        raise ShapeMismatch(f"{weight_R.size} weights for {num_annotators} annotators")
    if not (np.isfinite(weight_R).all() and (weight_R > 0).all()):
        raise UnsupportedMask(f"weights must be positive numbers, not {list(weights)}")
    # Sorted first: the last bit of a mean depends on the order of its terms, and the annotators' must not matter.
    scaled_R: NDArray[np.float64] = weight_R / np.sort(weight_R).mean()
    return scaled_R


def _majority(table: VoteTable, weight_R: NDArray[np.float64]) -> _Decision:
    """Weighted votes per tuple; each annotator's class is a candidate, so that the cost does not grow with K."""
    tuple_TR = table.tuple_TR
    support_TR = np.zeros(tuple_TR.shape)
    # Sorted weights first: the sum of a set of annotators is the same whatever their order.
    for r in np.argsort(weight_R, kind="stable"):
        support_TR += np.where(tuple_TR == tuple_TR[:, r][:, None], weight_R[r], 0.0)
    support_TR[tuple_TR == 0] = -1.0
    return _decide(tuple_TR, support_TR, _total_weight(tuple_TR, weight_R))


def _total_weight(tuple_TR: NDArray[np.int64], weight_R: NDArray[np.float64]) -> NDArray[np.float64]:
    total_T = np.zeros(len(tuple_TR))
    for r in np.argsort(weight_R, kind="stable"):
        total_T += np.where(tuple_TR[:, r] > 0, weight_R[r], 0.0)
    return total_T


def _decide(tuple_TR: NDArray[np.int64], score_TR: NDArray[np.float64], total_T: NDArray[np.float64]) -> _Decision:
    """The best-scored class of each tuple, the lowest id among equals."""
    best_T = score_TR.max(axis=1)
    leads_TR = (score_TR >= best_T[:, None] - TIE_MARGIN) & (tuple_TR > 0)
    lowest_T = np.where(leads_TR, tuple_TR, np.iinfo(np.int64).max).min(axis=1)
    highest_T = np.where(leads_TR, tuple_TR, -1).max(axis=1)
    voted_T = highest_T > 0
    posterior_T = np.divide(best_T, total_T, out=np.zeros(best_T.shape), where=total_T > 0)
    return _Decision(np.where(voted_T, lowest_T, 0), posterior_T, voted_T & (lowest_T != highest_T))


def _choose(table: VoteTable, majority: _Decision, method: Method, *, weighted: bool) -> tuple[Method, str]:
    """The method to use and why; see the module's text for the rule of "auto"."""
    if method != "auto":
        return method, f"{method} was asked for"
    if table.num_annotators < 3:
        return "majority", f"{table.num_annotators} annotator(s): an outlier shows only among 3 or more"
    if weighted:
        return "majority", "weights were given: they say whom to trust"
    contested_TR = table.tuple_TR[table.contested_T()]
    if len(contested_TR) == 0:
        return "majority", "no pixel is contested"
    if len(np.unique(contested_TR, axis=1).T) < table.num_annotators:
        return "majority", "two annotators agree in every contested pixel: copies would outvote the others"
    led_T = table.contested_T() & ~majority.tied_T
    num_pixels = int(table.pixels_T[led_T].sum())
    if num_pixels < OUTLIER_PIXELS_MIN:
        return "majority", f"{num_pixels} contested pixels: too few to judge annotators by"
    with_lead_R = np.full(table.num_annotators, np.nan)
    for r in range(table.num_annotators):
        voted = table.pixels_T * (led_T & (table.tuple_TR[:, r] > 0))
        if voted.sum() >= OUTLIER_PIXELS_MIN:
            agreed = voted * (table.tuple_TR[:, r] == majority.winner_T)
            with_lead_R[r] = agreed.sum() / voted.sum()
    if np.count_nonzero(~np.isnan(with_lead_R)) < 3:
        return "majority", "fewer than 3 annotators have enough contested pixels to be judged by"
    worst = int(np.nanargmin(with_lead_R))
    others = float(np.nanmedian(np.delete(with_lead_R, worst)))
    figures = f"lowest agreement on contested pixels {with_lead_R[worst]:.2f}, median of the others {others:.2f}"
    if with_lead_R[worst] < OUTLIER_RATIO * others:
        return "staple", f"one annotator is an outlier: {figures}"
    return "majority", f"no annotator is an outlier: {figures}"


def _staple(
    table: VoteTable,
    majority: _Decision,
    weight_R: NDArray[np.float64],
    prior: Mapping[int, float] | None,
    max_iterations: int,
) -> tuple[_Decision, NDArray[np.float64], int]:
    """STAPLE on the contested tuples; the others keep their one class."""
    contested_T = table.contested_T()
    if not contested_T.any():
        return majority, _shares(table, majority.winner_T), 0
    # Equal votes with unequal weights: the weight decides, so that the order stays canonical.
    order_R = table.canonical_R[np.argsort(weight_R[table.canonical_R], kind="stable")]
    # Tuples in an order of their own too: sums over tuples run through the same terms in the same order.
    rows = np.flatnonzero(contested_T)
    rows = rows[np.lexsort(table.tuple_TR[rows][:, order_R[::-1]].T)]
    tuple_TR = table.tuple_TR[rows][:, order_R]
    # Only the classes that are contested: one that occurs elsewhere alone must not matter.
    contested_K = np.setdiff1d(tuple_TR, [0])
    fitted = staple.fit(
        np.where(tuple_TR > 0, np.searchsorted(contested_K, tuple_TR) + 1, 0),
        table.pixels_T[rows],
        contested_K.size,
        weight_R[order_R],
        _prior(prior, tuple(table.class_ids[index - 1] for index in contested_K)),
        max_iterations,
    )
    partial = _decide(tuple_TR, fitted.posterior_TR, np.ones(rows.size))
    winner_T, posterior_T, tied_T = majority.winner_T.copy(), majority.posterior_T.copy(), majority.tied_T.copy()
    winner_T[rows], posterior_T[rows], tied_T[rows] = partial.winner_T, partial.posterior_T, partial.tied_T
    confusion_RKK = _shares(table, winner_T)
    confusion_RKK[:, contested_K - 1, :] = 0.0
    confusion_RKK[np.ix_(order_R, contested_K - 1, contested_K - 1)] = fitted.confusion_RKK
    return _Decision(winner_T, posterior_T, tied_T), confusion_RKK, fitted.iterations


def _prior(prior: Mapping[int, float] | None, class_ids: tuple[int, ...]) -> NDArray[np.float64] | None:
    if prior is None:
        return None
    prior_K = np.array([prior.get(class_id, 0.0) for class_id in class_ids], dtype=np.float64)
    if not (np.isfinite(prior_K).all() and (prior_K >= 0).all() and prior_K.sum() > 0):
        raise UnsupportedMask(
            f"the prior gives no share to the classes {list(class_ids)[:10]} that were voted for"
        )
    shares_K: NDArray[np.float64] = prior_K / prior_K.sum()
    return shares_K


def _shares(table: VoteTable, winner_T: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of votes (column) per consensus class (row) and annotator: float64 (R, K, K)."""
    num_classes = len(table.class_ids)
    shares_RKK = np.zeros((table.num_annotators, num_classes, num_classes))
    for r in range(table.num_annotators):
        counted = (winner_T > 0) & (table.tuple_TR[:, r] > 0)
        cells = (winner_T[counted] - 1) * num_classes + table.tuple_TR[counted, r] - 1
        counts = np.bincount(cells, weights=table.pixels_T[counted], minlength=num_classes**2)
        shares_RKK[r] = counts.reshape(num_classes, num_classes)
    totals = shares_RKK.sum(axis=2, keepdims=True)
    np.divide(shares_RKK, totals, out=shares_RKK, where=totals > 0)
    return shares_RKK


def _spread(
    table: VoteTable,
    decision: _Decision,
    dtype: np.dtype[np.uint8 | np.uint16],
    disputed_below: float,
    confusion_RKK: NDArray[np.float64],
    iterations: int,
    method: Method,
    reason: str,
) -> Consensus:
    """From distinct tuples back to pixels."""
    id_of_index = np.array((UNLABELLED, *table.class_ids), dtype=dtype)
    voted_T = (table.tuple_TR > 0).sum(axis=1)
    for_T = (table.tuple_TR == decision.winner_T[:, None]).sum(axis=1)
    against_T = np.where(decision.winner_T > 0, 1.0 - for_T / np.maximum(voted_T, 1), 0.0)
    unsure_T = (decision.winner_T > 0) & (decision.posterior_T < disputed_below - TIE_MARGIN)
    place = table.tuple_of_HW
    return Consensus(
        labels_HW=id_of_index[decision.winner_T][place],
        posterior_HW=_to_byte(decision.posterior_T)[place],
        disputed_HW=(decision.tied_T | unsure_T)[place],
        disagreement_HW=_to_byte(against_T)[place],
        confusion_RKK=confusion_RKK,
        class_ids=table.class_ids,
        iterations=iterations,
        method=method,
        reason=reason,
    )


def _to_byte(share_T: NDArray[np.float64]) -> NDArray[np.uint8]:
    # Rounding to 9 digits first: a value half way between two bytes must not hang on the last bit of a sum.
    byte_T: NDArray[np.uint8] = np.rint(np.round(np.clip(share_T, 0.0, 1.0) * 255.0, 9)).astype(np.uint8)
    return byte_T
