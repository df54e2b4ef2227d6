"""Simulated annotators: honest about what people do well and badly, and the only readers of the truth.

What an annotator draws is the truth as that person sees it:

- *boundary error*: the outline is moved by a smooth random displacement field of `boundary_sigma_px` standard
  deviation and `boundary_smoothness_px` correlation length. People zoom in on what is thin or small, so the
  field's amplitude shrinks with the width of the region (to `_THIN_PRECISION` of it for a line);
- *missed regions*: a region under `small_area_px` is overlooked with probability `miss_small_prob` (less and
  less so up to four times that area); its surroundings grow over it;
- *confusion*: a region gets a sibling's class with probability `confusion_prob`. Nobody mistakes a quarter
  of the picture, nor a line, nor takes an area for a class that has only lines in this picture.

Shown a proposal, an annotator does not draw anew but repairs what is noticed: errors that a shift of
`tolerance_px` (beside a line: of one pixel) explains are left as they are; of the others each region is noticed
with a probability that rises with its size, and redrawn with that person's own hand. `accept_blindly_prob` is
how often the proposal is submitted unread. When repairing would cost more than drawing from nothing, the
annotator starts over.

Where the truth is unlabelled (0) nobody knows better: from nothing the pixels stay unlabelled, with a proposal
they stay as proposed.

Every draw comes from the `numpy.random.Generator` that is handed in; `rng_for` makes one that depends on seed,
annotator and sample alone, so the order of work changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from terrazzo.simulation.label_regions import (
    Regions,
    fill_from_nearest,
    find_regions,
    unexplained_errors,
    within,
)
from terrazzo.simulation.scene_canvas import smooth_noise
from terrazzo.simulation.timing import DEFAULT_TIME_MODEL, TimeModel
from terrazzo_masks.labels import LabelMap

Action = Literal["traced", "corrected", "accepted"]

# A line is drawn with this share of the error made along a wide region's outline: it is drawn zoomed in.
_THIN_PRECISION = 0.25
# Half width in pixels up to which a region is a line.
_LINE_HALF_WIDTH_PX = 1.5
# Half width in pixels from which on a region is drawn with the full boundary error.
_WIDE_PX = 8.0


class OntologyClass(Protocol):
    """What annotators need to know of a class; `terrazzo_schema.ontology` classes have it."""

    @property
    def id(self) -> int: ...
    @property
    def parent_id(self) -> int | None: ...


@dataclass(frozen=True)
class AnnotatorProfile:
    """One simulated person; all probabilities are 0..1, lengths in pixels of the image.

    `notice_prob` is the chance of seeing a glaring error of `notice_area_px` pixels (larger ones are seen more
    surely, smaller ones less); `speed_factor` multiplies all time spent (1 = the time model's person).
    """

    name: str
    boundary_sigma_px: float
    boundary_smoothness_px: float
    miss_small_prob: float
    small_area_px: int
    confusion_prob: float
    notice_prob: float
    notice_area_px: int
    tolerance_px: int
    accept_blindly_prob: float
    speed_factor: float
    careless: bool = False
    note: str = ""


@dataclass(frozen=True)
class AnnotationStats:
    """What happened while one mask was made: regions missed and confused, errors seen and left."""

    regions_missed: int = 0
    regions_confused: int = 0
    errors_noticed: int = 0
    errors_left: int = 0


@dataclass(frozen=True)
class Annotation:
    """A submitted mask: `labels_HW` in the truth's dtype, how it was made, and the seconds it took.

    `from_nothing_seconds` is what the same person would have needed without a proposal, for the mask that this
    person would have drawn: an accepted proposal's ragged outlines are not charged as if someone had traced them.
    """

    labels_HW: LabelMap
    action: Action
    seconds: float
    from_nothing_seconds: float
    stats: AnnotationStats


_CAREFUL = AnnotatorProfile(
    "Ada", 0.8, 14, 0.05, 60, 0.005, 0.97, 20, 1, 0.0, 1.25, note="careful and a little slow"
)
_STEADY = AnnotatorProfile("Bruno", 1.2, 16, 0.12, 80, 0.01, 0.93, 30, 1, 0.0, 1.0, note="steady")
_QUICK = AnnotatorProfile(
    "Chidi", 1.6, 20, 0.20, 100, 0.015, 0.88, 40, 2, 0.03, 0.8, note="quick, with rounder outlines"
)
_NEW = AnnotatorProfile(
    "Dana", 1.4, 12, 0.18, 90, 0.04, 0.88, 40, 2, 0.0, 1.3, note="new to the ontology: confuses sibling classes"
)
_CARELESS = AnnotatorProfile(
    "Egon",
    3.2,
    26,
    0.55,
    160,
    0.06,
    0.55,
    120,
    3,
    0.35,
    0.6,
    careless=True,
    note="careless: fast, rough, accepts much unread",
)
_NAMES = ("Ada", "Bruno", "Chidi", "Dana", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena", "Mira")


def crew(num: int, seed: int) -> list[AnnotatorProfile]:
    """`num` annotators, exactly one of them careless when there are three or more.

    Habits are drawn around four documented kinds (careful, steady, quick, new to the ontology), varied by a
    tenth. Raises ValueError when `num` is below 1.
    """
    if num < 1:
        raise ValueError(f"a crew of {num} annotators cannot work; at least 1 is needed")
    rng = rng_for(seed, "crew", "")
    kinds = (_STEADY, _CAREFUL, _QUICK, _NEW)
    careless_at = int(rng.integers(1, num)) if num >= 3 else -1
    people: list[AnnotatorProfile] = []
    for index in range(num):
        if index == careless_at:
            people.append(_CARELESS)
            continue
        kind = kinds[len([p for p in people if not p.careless]) % len(kinds)]
        taken = {person.name for person in people}
        free = [name for name in (kind.name, *_NAMES) if name not in taken]
        name = free[0] if free else f"{kind.name} {index + 1}"
        vary = rng.uniform(0.9, 1.1, size=3)
        people.append(
            replace(
                kind,
                name=name,
                boundary_sigma_px=round(kind.boundary_sigma_px * float(vary[0]), 3),
                miss_small_prob=round(kind.miss_small_prob * float(vary[1]), 3),
                speed_factor=round(kind.speed_factor * float(vary[2]), 3),
            )
        )
    return people


def reviewer_profile() -> AnnotatorProfile:
    """The person who adjudicates and audits: more careful than any annotator, and slower."""
    return AnnotatorProfile(
        "Reviewer", 0.5, 12, 0.01, 40, 0.001, 0.99, 12, 1, 0.0, 1.3, note="reviews, adjudicates, audits"
    )


def rng_for(seed: int, annotator: str, sample_id: str, purpose: str = "annotate") -> np.random.Generator:
    """A generator that depends on these four values alone, on every machine and in every order of work."""
    key = "\x1f".join((str(seed), annotator, sample_id, purpose)).encode()
    digest = hashlib.blake2b(key, digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def annotate(
    truth_HW: LabelMap,
    proposal_HW: LabelMap | None,
    profile: AnnotatorProfile,
    rng: np.random.Generator,
    classes: Sequence[OntologyClass],
    time_model: TimeModel = DEFAULT_TIME_MODEL,
) -> Annotation:
    """One person's mask of one image (see the module's text for the model).

    `truth_HW` (H, W) uint8 or uint16 class ids, 0 = unlabelled; `proposal_HW` the same shape, or None when the
    person starts from nothing. Raises ValueError when the shapes differ.
    """
    require_same_shape(truth_HW, proposal_HW)
    drawn_HW, stats = draw(truth_HW, profile, rng, classes)
    speed = profile.speed_factor
    tracing_s = time_model.seconds_from_nothing(drawn_HW) * speed
    if proposal_HW is None:
        return Annotation(drawn_HW, "traced", tracing_s, tracing_s, stats)
    proposal_HW = proposal_HW.astype(truth_HW.dtype)
    if rng.random() < profile.accept_blindly_prob:
        left = _glaring(truth_HW, proposal_HW, profile.tolerance_px).any()
        seconds = time_model.seconds_to_accept_unread() * speed
        return Annotation(proposal_HW, "accepted", seconds, tracing_s, AnnotationStats(errors_left=int(left)))
    repaired_HW, noticed, left_count = repair(truth_HW, proposal_HW, drawn_HW, profile, rng)
    repair_stats = AnnotationStats(errors_noticed=noticed, errors_left=left_count)
    if np.array_equal(repaired_HW, proposal_HW):
        seconds = time_model.seconds_to_accept(proposal_HW) * speed
        return Annotation(proposal_HW, "accepted", seconds, tracing_s, repair_stats)
    repair_s = time_model.seconds_to_repair(proposal_HW, repaired_HW) * speed
    start_over_s = tracing_s + time_model.glance_s * speed
    if start_over_s < repair_s:
        return Annotation(drawn_HW, "traced", start_over_s, tracing_s, stats)
    return Annotation(repaired_HW, "corrected", repair_s, tracing_s, repair_stats)


def draw(
    truth_HW: LabelMap, profile: AnnotatorProfile, rng: np.random.Generator, classes: Sequence[OntologyClass]
) -> tuple[LabelMap, AnnotationStats]:
    """The truth as this person draws it from nothing: missed regions, confused classes, moved outlines."""
    regions = find_regions(truth_HW)
    missed = _missed(regions, profile, rng)
    confused = _confused(regions, profile, rng, classes)
    class_of = regions.class_of.copy()
    for number, class_id in confused.items():
        class_of[number] = class_id
    seen_HW = class_of[regions.index_HW].astype(truth_HW.dtype)
    hole_HW = missed[regions.index_HW]
    seen_HW = fill_from_nearest(seen_HW, hole_HW)
    moved_HW = _displace(seen_HW, regions, profile, rng)
    return moved_HW, AnnotationStats(int(missed.sum()), len(set(confused) - set(np.flatnonzero(missed))))


def _missed(regions: Regions, profile: AnnotatorProfile, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which regions are overlooked: index 0..n, entry 0 never."""
    # Beyond the small area the chance falls off, to nothing at four times it: no cliff in the statistics.
    smallness = np.clip((4.0 - regions.area_px / max(profile.small_area_px, 1)) / 3.0, 0.0, 1.0)
    missed = np.asarray(rng.random(len(smallness)) < profile.miss_small_prob * smallness)
    missed[0] = False
    # Whoever overlooks a thing overlooks the line around it: thin regions that lie along a missed one go too.
    beside_HW = within(missed[regions.index_HW], 1)
    beside_px = np.bincount(regions.index_HW[beside_HW], minlength=len(missed))
    missed |= (regions.half_width_px <= _LINE_HALF_WIDTH_PX) & (beside_px > 0.5 * regions.area_px)
    missed[0] = False
    # A picture of nothing but small regions is never left blank: its largest region is always seen.
    if len(regions) and bool(missed[1:].all()):
        missed[1 + int(np.argmax(regions.area_px[1:]))] = False
    return missed


def _confused(
    regions: Regions, profile: AnnotatorProfile, rng: np.random.Generator, classes: Sequence[OntologyClass]
) -> dict[int, int]:
    """Regions that get a sibling's class: region number -> class id."""
    chance, choice = rng.random(len(regions) + 1), rng.random(len(regions) + 1)
    has_children = {node.parent_id for node in classes}
    family: dict[int | None, list[int]] = {}
    parent_of = {node.id: node.parent_id for node in classes}
    for node in classes:
        if node.id not in has_children:
            family.setdefault(node.parent_id, []).append(node.id)
    only_lines = {
        int(class_id)
        for class_id in np.unique(regions.class_of[1:])
        if float(regions.half_width_px[1:][regions.class_of[1:] == class_id].max()) <= _LINE_HALF_WIDTH_PX
    }
    limit_px = regions.index_HW.size / 4
    swapped: dict[int, int] = {}
    for number in np.flatnonzero(chance < profile.confusion_prob):
        class_id = int(regions.class_of[number])
        if number == 0 or class_id not in parent_of or class_id in only_lines:
            continue
        siblings = [other for other in family.get(parent_of[class_id], []) if other != class_id]
        siblings = sorted(other for other in siblings if other not in only_lines)
        if siblings and regions.area_px[number] < limit_px:
            swapped[int(number)] = siblings[int(choice[number] * len(siblings))]
    return swapped


def _displace(
    labels_HW: LabelMap, regions: Regions, profile: AnnotatorProfile, rng: np.random.Generator
) -> LabelMap:
    """Move every outline by a smooth random field whose amplitude is smaller along thin regions."""
    import cv2

    height, width = labels_HW.shape
    field_2HW = [smooth_noise(rng, height, width, profile.boundary_smoothness_px) for _ in range(2)]
    if profile.boundary_sigma_px <= 0:
        return labels_HW.copy()
    precision = np.clip(regions.half_width_px / _WIDE_PX, _THIN_PRECISION, 1.0).astype(np.float32)
    precision[0] = 1.0
    radius = max(1, round(2 * profile.boundary_sigma_px))
    # An outline has the precision of the thinner of the regions that it parts, hence the erosion.
    amplitude_HW = cv2.erode(precision[regions.index_HW], np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    amplitude_HW = cv2.GaussianBlur(amplitude_HW, (0, 0), radius) * profile.boundary_sigma_px
    rows_HW = np.rint(np.arange(height)[:, None] + amplitude_HW * field_2HW[0]).astype(np.intp)
    columns_HW = np.rint(np.arange(width)[None, :] + amplitude_HW * field_2HW[1]).astype(np.intp)
    return labels_HW[np.clip(rows_HW, 0, height - 1), np.clip(columns_HW, 0, width - 1)]


def repair(
    truth_HW: LabelMap,
    proposal_HW: LabelMap,
    drawn_HW: LabelMap,
    profile: AnnotatorProfile,
    rng: np.random.Generator,
) -> tuple[LabelMap, int, int]:
    """Redraw the errors that are noticed; returns the mask, and how many were noticed and left."""
    import cv2

    glaring_HW = _glaring(truth_HW, proposal_HW, profile.tolerance_px)
    # Errors that lie a brush's width apart are seen, and repaired, as one.
    grouped_HW = within(glaring_HW, profile.tolerance_px + 1)
    count, groups_HW = cv2.connectedComponents(grouped_HW.astype(np.uint8), connectivity=8)
    area_px = np.bincount(groups_HW[glaring_HW], minlength=count)
    seen_prob = profile.notice_prob ** (profile.notice_area_px / np.maximum(area_px, 1))
    noticed = rng.random(count) < seen_prob
    noticed[0] = False
    zone_HW = within(noticed[groups_HW] & glaring_HW, profile.tolerance_px + 2) & (truth_HW != 0)
    # Where this person's own drawing leaves a gap (a neighbour of unlabelled truth), the proposal stays.
    zone_HW &= drawn_HW != 0
    repaired_HW = np.where(zone_HW, drawn_HW, proposal_HW)
    return repaired_HW, int(noticed.sum()), int(count - 1 - noticed.sum())


def _glaring(truth_HW: LabelMap, proposal_HW: LabelMap, tolerance_px: int) -> NDArray[np.bool_]:
    """Errors that this tolerance does not excuse; beside a line it is one pixel at most."""
    glaring_HW = unexplained_errors(truth_HW, proposal_HW, tolerance_px)
    if tolerance_px <= 1:
        return glaring_HW
    # Who zooms in to draw a line sees, as closely, whether a proposed one is where it should be.
    regions = find_regions(truth_HW)
    line_HW = (regions.half_width_px <= _LINE_HALF_WIDTH_PX)[regions.index_HW] & (truth_HW != 0)
    return glaring_HW | (unexplained_errors(truth_HW, proposal_HW, 1) & within(line_HW, tolerance_px))


def require_same_shape(truth_HW: LabelMap, other_HW: LabelMap | None) -> None:
    if other_HW is not None and other_HW.shape != truth_HW.shape:
        raise ValueError(
            f"the mask is {other_HW.shape}, the truth {truth_HW.shape} (rows, columns); they must agree"
        )
