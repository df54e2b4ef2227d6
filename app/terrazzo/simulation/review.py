"""The simulated reviewer: settles disputes between masks and audits accepted ones.

A reviewer looks at the image as an annotator does (through `annotators.draw`, with a careful profile), so
reviews have errors of their own, small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from terrazzo_masks.labels import LabelMap

from terrazzo.simulation.annotators import (
    Annotation,
    AnnotatorProfile,
    OntologyClass,
    draw,
    repair,
    require_same_shape,
)
from terrazzo.simulation.label_regions import unexplained_errors, within
from terrazzo.simulation.timing import DEFAULT_TIME_MODEL, TimeModel

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

    For each disputed area the reviewer takes the candidate nearest to what he or she sees, or draws it when
    none is good enough. `disputed_HW` defaults to wherever candidates differ; outside it the first candidate
    stands, so put the consensus first. Raises ValueError without candidates or when shapes differ.
    """
    import cv2

    if not candidates:
        raise ValueError("adjudication needs at least one candidate mask, got none")
    for candidate_HW in candidates:
        require_same_shape(truth_HW, candidate_HW)
    stack_RHW = np.stack([candidate_HW.astype(truth_HW.dtype) for candidate_HW in candidates])
    if disputed_HW is None:
        disputed_HW = (stack_RHW != stack_RHW[0]).any(axis=0)
    drawn_HW, stats = draw(truth_HW, profile, rng, classes)
    # Disputed specks within a brush's width of each other are one decision.
    grouped_HW = within(disputed_HW, 2).astype(np.uint8)
    count, groups_HW = cv2.connectedComponents(grouped_HW, connectivity=8)
    area_G = np.bincount(groups_HW[disputed_HW], minlength=count)
    agree_RG = np.stack(
        [np.bincount(groups_HW[disputed_HW & (mask_HW == drawn_HW)], minlength=count) for mask_HW in stack_RHW]
    )
    best_G = agree_RG.argmax(axis=0)
    drawn_anew_G = agree_RG.max(axis=0) < _GOOD_ENOUGH * area_G
    chosen_HW = np.take_along_axis(stack_RHW, best_G[groups_HW][None], axis=0)[0]
    settled_HW = np.where(drawn_anew_G[groups_HW] & (drawn_HW != 0), drawn_HW, chosen_HW)
    result_HW = np.where(disputed_HW, settled_HW, stack_RHW[0])
    seconds = time_model.seconds_to_correct(np.where(disputed_HW, chosen_HW, stack_RHW[0]), result_HW)
    seconds += time_model.seconds_to_decide(int((area_G[1:] > 0).sum()))
    tracing_s = time_model.seconds_from_nothing(drawn_HW) * profile.speed_factor
    return Annotation(result_HW, "corrected", seconds * profile.speed_factor, tracing_s, stats)


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
