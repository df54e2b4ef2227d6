"""One label map from the label maps of several annotators, what is still disputed, and whom to trust how far.

Methods:

- "auto": the majority vote, unless the rule in `takeover` finds an outlier: then "anchored_staple"
- "majority": the class with the most votes
- "weighted": the same with a weight per annotator, given or learned from agreement on contested pixels
- "anchored_staple": STAPLE on contested pixels, robust against background, padding and spam (`anchored`)
- "dawid_skene": the same with learned prevalences and a learned prior on the annotators (`dawid_skene`)
- "staple": multi-label STAPLE on the full frame to ITK's definition (`staple`), with its known traps, to compare

Of all but "staple" holds: the result does not depend on padding that all agree on. Of all: it does not depend on
the order of the annotators, nor on which class has the lower id. Classes that tie leave the pixel undecided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.consensus import anchored, dawid_skene, staple, takeover
from terrazzo_masks.consensus.votes import VoteTable, require_votes, tabulate
from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import UNLABELLED, BoolMap, LabelMap, require_labels

Method = Literal["auto", "majority", "weighted", "anchored_staple", "dawid_skene", "staple"]
METHODS: tuple[Method, ...] = get_args(Method)

DISPUTED_BELOW = 0.6
CONFUSION_CELLS_MAX = 2**28
# Learned weights: log-odds of agreement, held within these.
WEIGHT_MIN, WEIGHT_MAX = 0.05, 3.0


@dataclass(frozen=True)
class Consensus:
    """What several annotators agree on. H height, W width, R annotators, K classes.

    - labels: (H, W) class ids in the votes' dtype. Undecided pixels (classes tie, or every annotator abstained)
      have the id of an abstention; where none is set, the one after the highest id (in uint16 if it does not fit)
    - posterior: uint8 (H, W), probability of the winner times 255 (majority: its share of the votes' weight); of
      the best class where classes tie; 0 where nobody voted
    - disagreement: uint8 (H, W), share of the votes against the winner times 255
    - disputed: bool (H, W), a tie, or a posterior below the threshold
    - confusion: float64 (R, K, K), P(vote = column | consensus = row), annotators in the caller's order, classes
      in that of `class_ids`. Rows sum to 1, or are 0 where an annotator never met the class. Shares over the whole
      image, by posterior where a model was used; "staple" gives its own estimate
    - class_ids: the classes that got a vote, by rising id
    - iterations: of the model, else 0
    - method: as used, never "auto"; reason: why, in a sentence
    """

    labels: LabelMap
    posterior: NDArray[np.uint8]
    disagreement: NDArray[np.uint8]
    disputed: BoolMap
    confusion: NDArray[np.float64]
    class_ids: tuple[int, ...]
    iterations: int
    method: Method
    reason: str


@dataclass(frozen=True)
class _Decision:
    """Per distinct tuple: winner (class index, 0 none), the best posterior 0..1, and whether classes tied."""

    winner_T: NDArray[np.int32]
    posterior_T: NDArray[np.float64]
    tied_T: NDArray[np.bool_]
    confusion_RKK: NDArray[np.float64]
    iterations: int = 0


def consensus(
    votes_RHW: LabelMap,
    num_classes: int | None = None,
    method: Method = "auto",
    *,
    weights: Sequence[float] | None = None,
    prior: Mapping[int, float] | None = None,
    abstain: int | None = UNLABELLED,
    max_iterations: int | None = None,
    disputed_below: float = DISPUTED_BELOW,
) -> Consensus:
    """Fuse label maps of R annotators, uint8 or uint16 (R, H, W), into one.

    `num_classes`: the highest class id that is allowed, for classes 1..num_classes beside 0, as for classes
    0..num_classes - 1; None: any. `abstain`: the id that is no vote, so that an annotator may submit a part of an
    image; None: every id is a class, 0 too, as ITK has it. `weights`: one positive number per annotator; votes are
    counted by it, and a model multiplies an annotator's log-evidence by weight / mean weight. `prior`: class id ->
    share, for a model, instead of what the votes say. `max_iterations`: of a model; None: its own bound.
    `disputed_below`: posteriors under it (0..1) are disputed.

    Raises ShapeMismatch when shapes or the number of weights do not fit, UnsupportedMask for another dtype, a
    class id above `num_classes`, an unknown method, "staple" with weights, or a number that is not positive.
    """
    _require_options(method, num_classes, abstain, weights, max_iterations)
    require_votes(votes_RHW)
    weight_R = _weights(weights, votes_RHW.shape[0])
    table = tabulate(votes_RHW, abstain)
    _require_ids(table, num_classes, abstain)
    by_votes = method in ("majority", "staple")  # copies share nothing there
    shared_R = np.ones(table.num_annotators) if by_votes else takeover.shared_weights(table)
    used, reason = _choose(table, method, shared_R, weighted=weights is not None)
    if used == "weighted" and weights is None:
        weight_R = _learned_weights(table, shared_R)
    if used in ("majority", "weighted") or (used != "staple" and not table.contested_T.any()):
        decision = _count_votes(table, weight_R)
    elif used == "staple":
        decision = _full_frame(table, prior, max_iterations)
    else:
        decision = _model(table, used, weight_R * shared_R, prior, max_iterations)
    return _spread(table, decision, votes_RHW.dtype, abstain, disputed_below, used, reason)


def agreement(votes_RHW: LabelMap) -> float:
    """Mean over all pairs of annotators of their mean IoU, 0..1; 1.0 for a single annotator.

    Each pair is compared where both labelled, over the classes that either of them used there. nan when no two
    annotators labelled a common pixel. It is a plain description: it does not correct for chance, and rises with
    the agreed area. Raises as `consensus` does for bad votes.
    """
    from terrazzo_masks.kernels.vote_table import pair_scores

    require_votes(votes_RHW)
    if votes_RHW.shape[0] == 1:
        return 1.0
    table = tabulate(votes_RHW)
    scores = pair_scores(table.tuple_TR, table.pixels_T, len(table.class_ids))
    scores = np.sort(scores[~np.isnan(scores)])
    return float(scores.mean()) if scores.size else float("nan")


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
    np.copyto(merged_HW[y : y + height, x : x + width], patch_HW, where=patch_HW != UNLABELLED)
    return merged_HW


def _require_options(
    method: str,
    num_classes: int | None,
    abstain: int | None,
    weights: Sequence[float] | None,
    max_iterations: int | None,
) -> None:
    if num_classes is not None and not (isinstance(num_classes, int | np.integer) and 1 <= num_classes <= 65535):
        raise UnsupportedMask(f"num_classes is {num_classes!r}: a number 1..65535 is wanted")
    if method not in METHODS:
        raise UnsupportedMask(f"unknown consensus method {method!r}: it is one of {', '.join(METHODS)}")
    if method == "staple" and weights is not None:
        raise UnsupportedMask("STAPLE as ITK defines it knows no weights: take 'anchored_staple' or 'weighted'")
    if abstain is not None and not 0 <= abstain <= 65535:
        raise UnsupportedMask(f"abstain is {abstain}: an id 0..65535 or None is wanted")
    if max_iterations is not None and max_iterations < 1:
        raise UnsupportedMask(f"max_iterations is {max_iterations}: at least 1 is wanted")


def _require_ids(table: VoteTable, num_classes: int | None, abstain: int | None) -> None:
    if num_classes is not None and table.class_ids and table.class_ids[-1] > num_classes:
        raise UnsupportedMask(
            f"votes hold class id {table.class_ids[-1]}: with num_classes {num_classes} ids are 0..{num_classes}"
        )
    if abstain is None and table.class_ids[-1] == 65534:
        raise UnsupportedMask("votes hold class id 65534 and no id abstains: none is left for undecided pixels")
    if table.num_annotators * len(table.class_ids) ** 2 > CONFUSION_CELLS_MAX:
        raise UnsupportedMask(
            f"{len(table.class_ids)} classes: the confusion matrices of {table.num_annotators} annotators "
            "would be too large"
        )


def _weights(weights: Sequence[float] | None, num_annotators: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(num_annotators)
    weight_R = np.asarray(weights, dtype=np.float64)
    if weight_R.shape != (num_annotators,):
        raise ShapeMismatch(f"{weight_R.size} weights for {num_annotators} annotators")
    if not (np.isfinite(weight_R).all() and (weight_R > 0).all()):
        raise UnsupportedMask(f"weights must be positive numbers, not {list(weights)}")
    return _mean_one(weight_R)


def _mean_one(weight_R: NDArray[np.float64]) -> NDArray[np.float64]:
    # Sorted first: the last bit of a mean depends on the order of its terms, and the annotators' must not matter.
    scaled_R: NDArray[np.float64] = weight_R / np.sort(weight_R).mean()
    return scaled_R


def _learned_weights(table: VoteTable, shared_R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of being with the lead of contested pixels, shared by copies; equal where too few were seen."""
    winner_T = _lead(table, shared_R)[0]
    agreed_R = takeover.agreement_with_lead(table, winner_T, table.contested_T & (winner_T > 0))
    judged_R = ~np.isnan(agreed_R)
    if not judged_R.any():
        return np.ones(table.num_annotators)
    agreed_R[~judged_R] = np.median(agreed_R[judged_R])
    with np.errstate(divide="ignore"):
        log_odds_R = np.log(agreed_R) - np.log1p(-agreed_R)
    return _mean_one(np.clip(log_odds_R, WEIGHT_MIN, WEIGHT_MAX) * shared_R)


def _choose(
    table: VoteTable, method: Method, shared_R: NDArray[np.float64], *, weighted: bool
) -> tuple[Method, str]:
    """The method to use and why."""
    if method in ("auto", "majority") and weighted:
        return "weighted", "weights were given: they say whom to trust"
    if method != "auto":
        return method, f"{method} was asked for"
    found, reason = takeover.outlier(table, _lead(table, shared_R)[0], shared_R)
    return ("anchored_staple" if found else "majority"), reason


def _lead(
    table: VoteTable, weight_R: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """Winner (class index, 0 none), its share of the weight and whether it ties, by tuple."""
    from terrazzo_masks.kernels.vote_table import leaders

    if (weight_R == weight_R[0]).all():
        return table.heads
    # Rising weights: the sum of a set of annotators is the same whatever their order.
    return leaders(table.tuple_TR, np.argsort(weight_R, kind="stable"), weight_R, len(table.class_ids))


def _count_votes(table: VoteTable, weight_R: NDArray[np.float64]) -> _Decision:
    from terrazzo_masks.kernels.vote_models import counts_by_majority

    winner_T, share_T, tied_T = _lead(table, weight_R)
    counts_RJJ = counts_by_majority(table.tuple_TR, table.pixels_T, winner_T, len(table.class_ids))
    counts_RKK = counts_RJJ[:, 1:, 1:].transpose(0, 2, 1)
    return _Decision(winner_T, share_T, tied_T, _row_shares(counts_RKK))


def _model(
    table: VoteTable,
    method: Method,
    weight_R: NDArray[np.float64],
    prior: Mapping[int, float] | None,
    max_iterations: int | None,
) -> _Decision:
    """A model on the contested tuples; the others keep their one class."""
    from terrazzo_masks.kernels.vote_table import lead

    rows = np.flatnonzero(table.contested_T)
    # Equal votes with unequal weights: the weight decides, so that the order stays canonical.
    order_R = table.canonical_R[np.argsort(weight_R[table.canonical_R], kind="stable")]
    tuple_TR = table.tuple_TR[rows][:, order_R]
    # Only the classes that are contested: one that occurs elsewhere alone must not matter.
    contested_K = np.setdiff1d(tuple_TR, [0])
    contested = anchored.Contested(
        class_TR=np.where(tuple_TR > 0, np.searchsorted(contested_K, tuple_TR), -1).astype(np.int32),
        pixels_T=table.pixels_T[rows],
        num_classes=contested_K.size,
        weight_R=weight_R[order_R],
        agreed_RK=_agreed_pixels(table)[order_R][:, contested_K - 1],
    )
    prior_K = _prior(prior, tuple(table.class_ids[index - 1] for index in contested_K))
    fit = anchored.fit if method == "anchored_staple" else dawid_skene.fit
    fitted_TR, iterations = fit(contested, prior_K, max_iterations)
    posterior_TR = (table.tuple_TR > 0).astype(np.float64)
    posterior_TR[np.ix_(rows, order_R)] = fitted_TR
    winner_T, best_T, tied_T = lead(table.tuple_TR, posterior_TR)
    return _Decision(winner_T, best_T, tied_T, _shares(table, posterior_TR), iterations)


def _agreed_pixels(table: VoteTable) -> NDArray[np.int64]:
    """int64 (R, K): pixels in which r voted for k, another annotator did too, and nobody for anything else."""
    agreed_T = ~table.contested_T & ((table.tuple_TR > 0).sum(axis=1) > 1)
    pixels_RK = np.zeros((table.num_annotators, len(table.class_ids)), dtype=np.int64)
    for r, index_T in enumerate(table.tuple_TR.T):
        voted_T = agreed_T & (index_T > 0)
        np.add.at(pixels_RK[r], index_T[voted_T] - 1, table.pixels_T[voted_T])
    return pixels_RK


def _full_frame(table: VoteTable, prior: Mapping[int, float] | None, max_iterations: int | None) -> _Decision:
    """ITK's STAPLE on every tuple, by annotators in canonical order."""
    majority_T, _, _ = table.heads
    if not table.class_ids:
        return _count_votes(table, np.ones(table.num_annotators))
    fitted = staple.fit(table, majority_T, _prior(prior, table.class_ids), max_iterations)
    # Nothing is estimated where nobody voted.
    voted_T = table.voted_T
    return _Decision(
        np.where(voted_T, fitted.winner_T, np.int32(0)),
        np.where(voted_T, fitted.posterior_T, 0.0),
        fitted.tied_T & voted_T,
        fitted.confusion_RKK,
        fitted.iterations,
    )


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


def _shares(table: VoteTable, posterior_TR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of votes (column) per consensus class (row) and annotator: float64 (R, K, K)."""
    from terrazzo_masks.kernels.vote_models import voted_counts

    order_R = table.canonical_R
    class_TR = np.ascontiguousarray(table.tuple_TR[:, order_R] - np.int32(1))
    ordered_TR = np.ascontiguousarray(posterior_TR[:, order_R])
    counts_RKK, _ = voted_counts(class_TR, table.pixels_T, ordered_TR, len(table.class_ids))
    shares_RKK = np.empty_like(counts_RKK)
    shares_RKK[order_R] = _row_shares(counts_RKK)
    return shares_RKK


def _row_shares(counts_RKK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows divided by their sums; rows of nothing are 0."""
    totals_RK1 = counts_RKK.sum(axis=2, keepdims=True)
    shares_RKK = np.zeros_like(counts_RKK)
    np.divide(counts_RKK, totals_RK1, out=shares_RKK, where=totals_RK1 > 0)
    return shares_RKK


def _spread(
    table: VoteTable,
    decision: _Decision,
    dtype: np.dtype[np.uint8 | np.uint16],
    abstain: int | None,
    disputed_below: float,
    method: Method,
    reason: str,
) -> Consensus:
    """From distinct tuples back to pixels."""
    from terrazzo_masks.kernels.vote_table import TIE_MARGIN, records, spread

    undecided = table.class_ids[-1] + 1 if abstain is None else abstain
    wide = np.promote_types(dtype, np.min_scalar_type(undecided))
    id_of_index: LabelMap = np.array((undecided, *table.class_ids), dtype=wide)
    record_L = np.zeros(table.num_places, dtype=np.uint32 if wide.itemsize == 1 else np.uint64)
    records(
        table.tuple_TR,
        decision.winner_T,
        decision.posterior_T,
        decision.tied_T,
        disputed_below - TIE_MARGIN,
        id_of_index,
        table.place_T,
        record_L,
    )
    labels_HW: LabelMap = np.empty(table.place_HW.shape, dtype=wide)
    posterior_P, against_P, disputed_P = spread(table.place_HW.ravel(), record_L, labels_HW.reshape(-1))
    return Consensus(
        labels=labels_HW,
        posterior=posterior_P.reshape(labels_HW.shape),
        disagreement=against_P.reshape(labels_HW.shape),
        disputed=disputed_P.reshape(labels_HW.shape),
        confusion=decision.confusion_RKK,
        class_ids=table.class_ids,
        iterations=decision.iterations,
        method=method,
        reason=reason,
    )
