"""The simulated reviewer: settles disputes between masks and audits accepted ones.

A reviewer looks at the image as an annotator does (through `annotators.draw`, with a careful profile), so
reviews have errors of their own, small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.simulation.annotators import (
    Action,
    Annotation,
    AnnotatorProfile,
    OntologyClass,
    draw,
    repair,
    require_same_shape,
)
from terrazzo.simulation.label_regions import unexplained_errors, within
from terrazzo.simulation.timing import DEFAULT_TIME_MODEL, TimeModel
from terrazzo_masks.labels import LabelMap

# A candidate is taken over for a disputed region when it agrees with the reviewer on this share of it.
_GOOD_ENOUGH = 0.8


@dataclass(frozen=True)
class Tolerance:
    """What an audit lets pass: errors that a boundary shift of `boundary_px` explains, and a `wrong_share` 0..1.

    `wrong_share` is of the labelled pixels of the truth.
    """

    boundary_px: int = 2
    wrong_share: float = 0.02


DEFAULT_TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Verdict:
    """An audit's result: `corrected_HW` is the repaired mask when it is not ok, else None.

    `wrong_share` 0..1 is what the auditor noticed, not what is there.
    """

    ok: bool
    corrected_HW: LabelMap | None
    seconds: float
    wrong_share: float


def adjudicate(
    truth_HW: LabelMap,
    candidates: Sequence[LabelMap],
    profile: AnnotatorProfile,
    rng: np.random.Generator,
    classes: Sequence[OntologyClass],
    disputed_HW: NDArray[np.bool_] | None = None,
    time_model: TimeModel = DEFAULT_TIME_MODEL,
) -> Annotation:
    """Settle a region (all arrays are its crop, (H, W)) on which the candidates differ.

    The first candidate is what is proposed as the settlement, so put the consensus first. Where the reviewer sees
    it wrong, beyond what a boundary shift within the profile's tolerance explains, the candidate nearest to
    what he or she sees is taken, or the area is drawn when none is good enough. Only `disputed_HW` is ever
    changed (default: wherever candidates differ). Raises ValueError without candidates or when shapes differ.
    """
    if not candidates:
        raise ValueError("adjudication needs at least one candidate mask, got none")
    for candidate_HW in candidates:
        require_same_shape(truth_HW, candidate_HW)
    stack_RHW = np.stack([candidate_HW.astype(truth_HW.dtype) for candidate_HW in candidates])
    if disputed_HW is None:
        disputed_HW = (stack_RHW != stack_RHW[0]).any(axis=0)
    drawn_HW, stats = draw(truth_HW, profile, rng, classes)
    chosen_HW, settled_HW, num_decisions = _settle(stack_RHW, drawn_HW, disputed_HW, profile.tolerance_px)
    seconds = time_model.seconds_to_correct(chosen_HW, settled_HW) + time_model.seconds_to_decide(num_decisions)
    tracing_s = time_model.seconds_from_nothing(drawn_HW) * profile.speed_factor
    action: Action = "accepted" if np.array_equal(settled_HW, stack_RHW[0]) else "corrected"
    return Annotation(settled_HW, action, seconds * profile.speed_factor, tracing_s, stats)


def _settle(
    stack_RHW: NDArray[Any], drawn_HW: LabelMap, disputed_HW: NDArray[np.bool_], tolerance_px: int
) -> tuple[LabelMap, LabelMap, int]:
    """Decide area by area: the mask of chosen candidates, the same with what was drawn anew, and the decisions."""
    import cv2

    glaring_HW = unexplained_errors(drawn_HW, stack_RHW[0], tolerance_px) & disputed_HW
    # Specks within a brush's width of each other are one decision.
    count, groups_HW = cv2.connectedComponents(within(glaring_HW, 2).astype(np.uint8), connectivity=8)
    decided_HW = (groups_HW > 0) & disputed_HW
    area_G = np.bincount(groups_HW[decided_HW], minlength=count)
    agree_RG = np.stack(
        [np.bincount(groups_HW[decided_HW & (mask_HW == drawn_HW)], minlength=count) for mask_HW in stack_RHW]
    )
    best_HW = agree_RG.argmax(axis=0)[groups_HW]
    chosen_HW = np.where(decided_HW, np.take_along_axis(stack_RHW, best_HW[None], axis=0)[0], stack_RHW[0])
    anew_G = agree_RG.max(axis=0) < _GOOD_ENOUGH * area_G
    settled_HW = np.where(anew_G[groups_HW] & decided_HW & (drawn_HW != 0), drawn_HW, chosen_HW)
    return chosen_HW, settled_HW, count - 1


def audit(
    truth_HW: LabelMap,
    mask_HW: LabelMap,
    profile: AnnotatorProfile,
    rng: np.random.Generator,
    classes: Sequence[OntologyClass],
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    time_model: TimeModel = DEFAULT_TIME_MODEL,
) -> Verdict:
    """Look an accepted mask (H, W) over: is more of it wrong than the tolerance allows?

    The auditor notices wrong areas as `profile` does. A mask found wrong is repaired in the same sitting.
    Raises ValueError when the shapes differ.
    """
    require_same_shape(truth_HW, mask_HW)
    mask_HW = mask_HW.astype(truth_HW.dtype)
    drawn_HW, _ = draw(truth_HW, profile, rng, classes)
    repaired_HW, _, _ = repair(truth_HW, mask_HW, drawn_HW, profile, rng)
    glaring_HW = unexplained_errors(truth_HW, mask_HW, tolerance.boundary_px)
    wrong_px = int((glaring_HW & (repaired_HW != mask_HW)).sum())
    wrong_share = wrong_px / max(1, int((truth_HW != 0).sum()))
    if wrong_share <= tolerance.wrong_share:
        seconds = time_model.seconds_to_accept(mask_HW) * profile.speed_factor
        return Verdict(True, None, seconds, wrong_share)
    seconds = time_model.seconds_to_correct(mask_HW, repaired_HW) * profile.speed_factor
    return Verdict(False, repaired_HW, seconds, wrong_share)
