"""Automatic checks of a submitted label map: pure functions from pixels to findings.

code                   severity  what it says (defaults; see `CheckSettings`)
wrong-size             error     not the size of its image; nothing else is checked then
unknown-class          error     a class id that the ontology does not have
empty                  error     no labelled pixel at all
unlabelled-share       warning   more unlabelled pixels than allowed
one-class              info      a single class covers all that is labelled
hole                   warning   a small unlabelled region inside labelled ones
island                 warning   a small region that one other class encloses
sliver                 warning   a small thin region between classes, or along the border
identical-to-proposal  warning   exactly what was proposed, handed in too fast to have been looked at
duplicate-bytes        warning   the same pixels as another annotator's submission
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np

from terrazzo_masks.boxes import Box, tight_box
from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.geometry.regions import Chosen, Regions, find_regions
from terrazzo_masks.labels import UNLABELLED, LabelMap, count_classes, require_labels

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

DEFAULT_SEVERITY: Mapping[str, Severity] = MappingProxyType(
    {
        "wrong-size": "error",
        "unknown-class": "error",
        "empty": "error",
        "unlabelled-share": "warning",
        "one-class": "info",
        "hole": "warning",
        "island": "warning",
        "sliver": "warning",
        "identical-to-proposal": "warning",
        "duplicate-bytes": "warning",
    }
)
CODES: tuple[str, ...] = tuple(DEFAULT_SEVERITY)


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw. `box` locates it in pixels, `count` is how many pixels (or findings) it stands
    for."""

    code: str
    severity: Severity
    message: str
    class_id: int | None = None
    box: Box | None = None
    count: int = 1


@dataclass(frozen=True)
class CheckSettings:
    """Thresholds of a project. `severity` overrides the default per code; a code not in `enabled` is not run.

    unlabelled_share_max: 0..1; *_area_max_px: regions up to this many pixels are findings; sliver_width_max_px:
    side of the largest square that fits; proposal_seconds_min: an unchanged proposal is suspect when less time
    was spent; findings_max: per code, what goes beyond is counted in one more finding. Raises UnsupportedMask
    for an unknown code or severity, or a threshold out of range.
    """

    unlabelled_share_max: float = 0.05
    hole_area_max_px: int = 64
    island_area_max_px: int = 16
    sliver_area_max_px: int = 64
    sliver_width_max_px: int = 2
    proposal_seconds_min: float = 3.0
    findings_max: int = 50
    severity: Mapping[str, Severity] = field(default_factory=dict)
    enabled: Collection[str] = frozenset(CODES)

    def __post_init__(self) -> None:
        for code in (*self.severity, *self.enabled):
            if code not in DEFAULT_SEVERITY:
                raise UnsupportedMask(f"unknown check {code!r}: it is one of {', '.join(CODES)}")
        for code, severity in self.severity.items():
            if severity not in SEVERITIES:
                raise UnsupportedMask(f"severity {severity!r} of {code}: it is one of {', '.join(SEVERITIES)}")
        areas = (self.hole_area_max_px, self.island_area_max_px, self.sliver_area_max_px)
        if min(areas) < 0 or min(self.sliver_width_max_px, self.findings_max) < 1:
            raise UnsupportedMask("areas are 0 or more; sliver_width_max_px and findings_max are 1 or more")
        if not 0 <= self.unlabelled_share_max <= 1 or not self.proposal_seconds_min >= 0:
            raise UnsupportedMask("unlabelled_share_max is 0..1, proposal_seconds_min is 0 or more")

    def severity_of(self, code: str) -> Severity:
        """The severity of a code in this project."""
        return self.severity.get(code, DEFAULT_SEVERITY[code])


@dataclass(frozen=True)
class _Submission:
    """What the single checks look at."""

    labels_HW: LabelMap
    counts: Mapping[int, int]
    class_ids: Collection[int]
    proposal_HW: LabelMap | None
    seconds_spent: float | None
    others: Sequence[str]
    digest: str | None
    settings: CheckSettings

    @cached_property
    def regions(self) -> Regions:
        """Found once for the checks that look at them."""
        return find_regions(self.labels_HW)

    def finding(
        self, code: str, message: str, class_id: int | None = None, box: Box | None = None, count: int = 1
    ) -> Finding:
        return Finding(code, self.settings.severity_of(code), message, class_id, box, count)


def run_checks(
    labels_HW: LabelMap,
    *,
    expected_hw: tuple[int, int],
    class_ids: Collection[int],
    proposal_HW: LabelMap | None = None,
    seconds_spent: float | None = None,
    others: Sequence[str] = (),
    digest: str | None = None,
    settings: CheckSettings | None = None,
) -> list[Finding]:
    """Run the enabled checks on one submitted label map (uint8 or uint16).

    expected_hw: the image's (height, width); class_ids: ids of the ontology (0 is always legal: unlabelled);
    proposal_HW and seconds_spent: what the annotator was shown and for how long; digest: the mask id of this
    submission; others: mask ids of the other annotators' submissions. A check whose inputs were not given is
    skipped. Returns the findings in the order of `CODES`, regions from top to bottom; empty when all is well.
    Raises UnsupportedMask when `labels_HW` is not a label map at all.
    """
    require_labels(labels_HW)
    settings = settings or CheckSettings()
    if labels_HW.shape != tuple(expected_hw):
        if "wrong-size" not in settings.enabled:
            return []
        height, width = labels_HW.shape
        message = f"the label map is {height} x {width}, its image {expected_hw[0]} x {expected_hw[1]} (H x W)"
        return [Finding("wrong-size", settings.severity_of("wrong-size"), message)]
    submission = _Submission(
        labels_HW, count_classes(labels_HW), class_ids, proposal_HW, seconds_spent, others, digest, settings
    )
    findings: list[Finding] = []
    for code, check in CHECKS.items():
        if code in settings.enabled:
            findings += check(submission)
    return findings


def _with_rest(submission: _Submission, code: str, shown: list[Finding], num_found: int) -> list[Finding]:
    """The findings to show and, where there are more of them, one that counts those."""
    more = num_found - len(shown)
    if more == 0:
        return shown
    severity = submission.settings.severity_of(code)
    return [*shown, Finding(code, severity, f"and {more} more findings of this kind", count=more)]


def _unknown_class(submission: _Submission) -> list[Finding]:
    unknown = [
        (class_id, pixels)
        for class_id, pixels in submission.counts.items()
        if class_id != UNLABELLED and class_id not in submission.class_ids
    ]
    shown = []
    for class_id, pixels in unknown[: submission.settings.findings_max]:
        message = f"class id {class_id} is not in the ontology ({pixels} pixels)"
        box = tight_box(submission.labels_HW == class_id)
        shown.append(submission.finding("unknown-class", message, class_id, box, pixels))
    return _with_rest(submission, "unknown-class", shown, len(unknown))


def _empty(submission: _Submission) -> list[Finding]:
    if set(submission.counts) != {UNLABELLED}:
        return []
    return [submission.finding("empty", "no pixel is labelled", count=submission.labels_HW.size)]


def _unlabelled_share(submission: _Submission) -> list[Finding]:
    pixels = submission.counts.get(UNLABELLED, 0)
    share, limit = pixels / submission.labels_HW.size, submission.settings.unlabelled_share_max
    if share <= limit or share == 1.0:  # a map with no label at all is `empty`
        return []
    message = f"{share:.1%} of the pixels are unlabelled, {limit:.1%} are allowed"
    box = tight_box(submission.labels_HW == UNLABELLED)
    return [submission.finding("unlabelled-share", message, UNLABELLED, box, pixels)]


def _one_class(submission: _Submission) -> list[Finding]:
    labelled = [class_id for class_id in submission.counts if class_id != UNLABELLED]
    if len(labelled) != 1:
        return []
    pixels = submission.counts[labelled[0]]
    message = f"class id {labelled[0]} is the only class in the label map"
    return [submission.finding("one-class", message, labelled[0], count=pixels)]


def _regions(submission: _Submission, code: str, what: str, chosen: Chosen) -> list[Finding]:
    shown = [
        submission.finding(code, f"{what} ({region.area_px} px)", region.class_id, region.box, region.area_px)
        for region in chosen.first(submission.settings.findings_max)
    ]
    return _with_rest(submission, code, shown, len(chosen))


def _hole(submission: _Submission) -> list[Finding]:
    if UNLABELLED not in submission.counts:
        return []
    found = submission.regions.holes(submission.settings.hole_area_max_px)
    return _regions(submission, "hole", "an unlabelled hole", found)


def _island(submission: _Submission) -> list[Finding]:
    found = submission.regions.islands(submission.settings.island_area_max_px)
    return _regions(submission, "island", "a small region inside another class", found)


def _sliver(submission: _Submission) -> list[Finding]:
    settings = submission.settings
    found = submission.regions.slivers(settings.sliver_area_max_px, settings.sliver_width_max_px)
    return _regions(submission, "sliver", "a thin region left between others", found)


def _identical_to_proposal(submission: _Submission) -> list[Finding]:
    proposal_HW, seconds = submission.proposal_HW, submission.seconds_spent
    limit = submission.settings.proposal_seconds_min
    if proposal_HW is None or seconds is None or seconds >= limit:
        return []
    if not np.array_equal(proposal_HW, submission.labels_HW):
        return []
    message = f"the proposal was handed in unchanged after {seconds:.1f} s, less than {limit:.1f} s"
    return [submission.finding("identical-to-proposal", message, count=submission.labels_HW.size)]


def _duplicate_bytes(submission: _Submission) -> list[Finding]:
    same = 0 if submission.digest is None else submission.others.count(submission.digest)
    if same == 0:
        return []
    message = f"the pixels are exactly those of {same} other submission(s) (mask id {submission.digest})"
    return [submission.finding("duplicate-bytes", message, count=same)]


CHECKS: Mapping[str, Callable[[_Submission], list[Finding]]] = MappingProxyType(
    {
        "unknown-class": _unknown_class,
        "empty": _empty,
        "unlabelled-share": _unlabelled_share,
        "one-class": _one_class,
        "hole": _hole,
        "island": _island,
        "sliver": _sliver,
        "identical-to-proposal": _identical_to_proposal,
        "duplicate-bytes": _duplicate_bytes,
    }
)
