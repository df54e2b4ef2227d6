"""One label map from several, and whether a person has to look at what is disputed.

Axes: H height, W width, R annotators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import tight_box
from terrazzo_masks.consensus import agreement, consensus
from terrazzo_masks.geometry import components
from terrazzo_masks.labels import UNLABELLED, BoolMap, LabelMap
from terrazzo_masks.measures import confusion, mean_iou
from terrazzo_masks.merge import merge_labels
from terrazzo_qa.domain.records import Region
from terrazzo_qa.domain.settings import QaSettings


@dataclass(frozen=True)
class Outcome:
    """What a vote came to. `agreement` is the mean over pairs of voters, 0..1 (0 when no two overlap).

    `agreement_of`: annotator -> mean IoU with the consensus, 0..1, absent when they share no labelled pixel.
    `region` is set when a person has to decide, and holds every disputed pixel.
    """

    labels_HW: LabelMap
    posterior_HW: NDArray[np.uint8]
    disagreement_HW: NDArray[np.uint8]
    disputed_HW: BoolMap
    method: str
    reason: str
    agreement: float
    agreement_of: dict[str, float]
    disputed_pixels: int
    region: Region | None


def decide(votes: Mapping[str, LabelMap], settings: QaSettings) -> Outcome:
    """The consensus of label maps (H, W) by annotator id. The same whatever order they came in.

    Where classes tie the consensus is unlabelled and disputed: no class id decides. An adjudicator fills it; where
    too little is disputed to ask anyone it stays unlabelled, and training leaves it out.

    Raises ShapeMismatch when the maps differ in size, UnsupportedMask for more than 64.
    """
    annotator_ids = sorted(votes)
    dtype = np.result_type(*[votes[annotator_id].dtype for annotator_id in annotator_ids])
    votes_RHW = np.stack([votes[annotator_id].astype(dtype, copy=False) for annotator_id in annotator_ids])
    found = consensus(votes_RHW, method=settings.consensus_method, disputed_below=settings.disputed_below)
    pairwise = agreement(votes_RHW)
    agreement_of = {
        annotator_id: score
        for annotator_id in annotator_ids
        if not math.isnan(score := _agreement(found.labels, votes[annotator_id]))
    }
    return Outcome(
        labels_HW=found.labels,
        posterior_HW=found.posterior,
        disagreement_HW=found.disagreement,
        disputed_HW=found.disputed,
        method=found.method,
        reason=found.reason,
        agreement=0.0 if math.isnan(pairwise) else pairwise,
        agreement_of=agreement_of,
        disputed_pixels=int(np.count_nonzero(found.disputed)),
        region=region_to_adjudicate(found.disputed, settings),
    )


def region_to_adjudicate(disputed_HW: BoolMap, settings: QaSettings) -> Region | None:
    """The tight box of the disputed pixels plus a margin; None when they are too few to ask anyone."""
    num_disputed = int(np.count_nonzero(disputed_HW))
    if num_disputed == 0:
        return None
    over_share = num_disputed > settings.adjudicate_disputed_share * disputed_HW.size
    if not over_share and _largest_area(disputed_HW) < settings.adjudicate_component_px:
        return None
    box = tight_box(disputed_HW)
    assert box is not None
    margin = settings.adjudicate_margin_px
    top, left = max(0, box.y - margin), max(0, box.x - margin)
    bottom = min(disputed_HW.shape[0], box.y + box.height + margin)
    right = min(disputed_HW.shape[1], box.x + box.width + margin)
    return Region(top, left, bottom - top, right - left)


def settle(consensus_HW: LabelMap, disputed_HW: BoolMap, region: Region, decision_HW: LabelMap) -> LabelMap:
    """The consensus with its disputed pixels in `region` as the adjudicator decided them.

    All arrays are (H, W) of the whole image. A pixel that the adjudicator left unlabelled keeps the consensus
    (unlabelled itself where classes tied); what was not disputed can't be changed here.
    """
    decided_HW = np.zeros(disputed_HW.shape, dtype=np.bool_)
    rows, cols = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
    decided_HW[rows, cols] = disputed_HW[rows, cols] & (decision_HW[rows, cols] != UNLABELLED)
    dtype = np.promote_types(consensus_HW.dtype, decision_HW.dtype)
    settled_HW: LabelMap = np.where(decided_HW, decision_HW, consensus_HW).astype(dtype)
    return settled_HW


def settle_conflict(
    sides: tuple[LabelMap | None, LabelMap, LabelMap], merged_HW: LabelMap, region: Region, decision_HW: LabelMap
) -> LabelMap:
    """A merge's mask with its conflicting pixels as the adjudicator decided them; see `settle`.

    `sides` are (base, ours, theirs), (H, W) each; without a base both sides started from nothing. A pixel is in
    conflict where both changed the base, to different classes.
    """
    base_HW, ours_HW, theirs_HW = sides
    _, conflict_HW = merge_labels(np.zeros_like(ours_HW) if base_HW is None else base_HW, ours_HW, theirs_HW)
    return settle(merged_HW, conflict_HW, region, decision_HW)


def _agreement(consensus_HW: LabelMap, vote_HW: LabelMap) -> float:
    """Mean IoU where both are labelled; nan when that is nowhere."""
    both = (consensus_HW != UNLABELLED) & (vote_HW != UNLABELLED)
    if not both.any():
        return math.nan
    truth, vote = consensus_HW[both][None], vote_HW[both][None]
    class_ids = np.union1d(np.unique(truth), np.unique(vote)).tolist()
    return mean_iou(confusion(truth, vote, class_ids))


def _largest_area(disputed_HW: BoolMap) -> int:
    areas = [component.area_px for component in components(disputed_HW.astype(np.uint8), 1)]
    return max(areas, default=0)
