"""What the QA service remembers, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

AdjudicationState = Literal["open", "decided", "withdrawn"]
FindingDict = dict[str, Any]
"""A finding as stored: code, severity, message, class_id, box ([y, x, height, width] or null), count."""


@dataclass(frozen=True)
class Project:
    """`settings` are the keys that were set; `settings_problem` says why those given at creation were refused."""

    organisation_id: str
    project_id: str
    name: str
    ontology_version: int
    ontology_json: str
    held_out_percent: int
    settings: dict[str, Any]
    settings_problem: str | None = None


@dataclass(frozen=True)
class Sample:
    sample_id: str
    image_hash: str
    height: int
    width: int


@dataclass(frozen=True)
class Region:
    """Rows y..y+height, columns x..x+width, in pixels."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class Submission:
    """A checked submission. `late` work found no free place in its task: it is checked, and decides nothing."""

    organisation_id: str
    project_id: str
    submission_id: str
    task_id: str
    batch_id: str
    kind: str
    sample: Sample
    mask_id: str
    annotator_id: str
    seconds_spent: float
    redundancy: int
    late: bool
    passed: bool
    findings: list[FindingDict]
    created_at: datetime

    @property
    def num_errors(self) -> int:
        return sum(finding["severity"] == "error" for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        return sum(finding["severity"] == "warning" for finding in self.findings)

    @property
    def codes(self) -> list[str]:
        return sorted({finding["code"] for finding in self.findings})


@dataclass(frozen=True)
class ConsensusRecord:
    """A decided vote. The three maps are PNG blobs: posterior, disagreement (uint8), disputed (0 or 255)."""

    organisation_id: str
    project_id: str
    task_id: str
    batch_id: str
    sample: Sample
    mask_id: str
    posterior_hash: str
    disagreement_hash: str
    disputed_hash: str
    method: str
    reason: str
    agreement: float
    disputed_pixels: int
    region: Region | None
    state: str
    submission_ids: list[str]
    annotator_ids: list[str]
    created_at: datetime


@dataclass(frozen=True)
class Adjudication:
    """A disputed region that a person decides: an annotation task's, or (with `merge_id`) a merge's conflict.

    Of a conflict, `task_id` is the conflict's id and `batch_id` the merge's, `consensus_mask_id` is what could be
    merged, the candidates are the target branch's mask and the source's, `base_mask_id` is where they come from.
    `removed_by`: that side removed the sample. The other's mask is the one candidate; decided without a mask, the
    sample is removed.
    """

    organisation_id: str
    project_id: str
    adjudication_id: str
    task_id: str
    batch_id: str
    sample: Sample
    consensus_mask_id: str
    region: Region
    disputed_pixels: int
    candidate_mask_ids: list[str]
    annotator_ids: list[str]
    created_at: datetime
    state: AdjudicationState = "open"
    decided_by: str | None = None
    submission_id: str | None = None
    mask_id: str | None = None
    merge_id: str | None = None
    base_mask_id: str | None = None
    removed_by: Literal["ours", "theirs"] | None = None


@dataclass(frozen=True)
class Acceptance:
    """A sample's label from `revision` on. `annotator_ids` are all whose work is in it."""

    organisation_id: str
    project_id: str
    sample: Sample
    revision: int
    task_id: str
    batch_id: str
    mask_id: str
    decided_by: str
    submission_ids: list[str]
    annotator_ids: list[str]
    created_at: datetime


@dataclass(frozen=True)
class AuditItem:
    organisation_id: str
    project_id: str
    audit_item_id: str
    audit_id: str
    task_id: str
    sample: Sample
    mask_id: str
    submission_ids: list[str]
    annotator_ids: list[str]
    verdict: str | None = None
    auditor_id: str | None = None
    corrected_mask_id: str | None = None


@dataclass(frozen=True)
class Audit:
    """`error_rate_upper` is set when every item is judged."""

    organisation_id: str
    project_id: str
    audit_id: str
    batch_id: str
    seed: int
    confidence: float
    num_items: int
    num_judged: int
    num_errors: int
    error_rate_upper: float | None
    created_at: datetime

    @property
    def state(self) -> str:
        return "completed" if self.num_judged == self.num_items else "open"


@dataclass(frozen=True)
class Scorecard:
    """Sums per annotator. Whole numbers (agreement in 1e-9, time in ms): no order of adding changes them."""

    annotator_id: str
    num_submissions: int = 0
    num_returned: int = 0
    num_late: int = 0
    num_multi: int = 0
    num_agreement: int = 0
    agreement_ppb: int = 0
    num_adjudicated: int = 0
    num_audited: int = 0
    num_audit_errors: int = 0
    worked_ms: int = 0


@dataclass(frozen=True)
class Vote:
    """A passed submission that counts, with its pixels' address."""

    submission_id: str
    annotator_id: str
    mask_id: str


@dataclass(frozen=True)
class Listing:
    """A slice of a listing: rows whose key comes after `cursor`, at most `limit`."""

    limit: int
    cursor: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
