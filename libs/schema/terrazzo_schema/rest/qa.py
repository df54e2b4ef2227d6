"""REST models of the QA service."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from terrazzo_schema.rest.base import Box, Command, Id, Seed, Share, View

Severity = Literal["error", "warning", "info"]


class FindingView(View):
    code: str
    severity: Severity
    message: str
    class_id: int | None
    box: Box | None
    count: int


class CheckView(View):
    submission_id: str
    task_id: str
    sample_id: str
    mask_id: str
    annotator_id: str
    passed: bool
    findings: list[FindingView]
    created_at: datetime


class CheckSettingsView(View):
    """Every setting with the value in force. `problem` says why those given with the project were refused."""

    project_id: str
    settings: dict[str, Any]
    problem: str | None = None


class CheckSettingsUpdate(Command):
    settings: dict[str, Any]


class ConsensusView(View):
    task_id: str
    sample_id: str
    batch_id: str
    mask_id: str = Field(description="the consensus label map in mask storage")
    posterior_hash: str | None = Field(description="uint8 map, fetch it from /maps/posterior")
    disagreement_hash: str | None = Field(description="uint8 map, fetch it from /maps/disagreement")
    method: str
    reason: str
    num_votes: int
    agreement: float
    disputed_pixels: int
    region: Box | None
    state: Literal["accepted", "adjudicating"]
    submission_ids: list[str]
    annotator_ids: list[str]
    created_at: datetime


class AdjudicationView(View):
    adjudication_id: str
    task_id: str = Field(description="the annotation task that it came from; of a merge, the conflict")
    merge_id: str | None = Field(default=None, description="the merge that waits for it")
    sample_id: str
    region: Box
    disputed_pixels: int = Field(description="0 when a side of the merge removed the sample")
    base_mask_id: str | None = Field(default=None, description="what both sides of the merge started from")
    removed_by: Literal["ours", "theirs"] | None = Field(
        default=None, description="the side of the merge that removed the sample: the target branch, or the source"
    )
    state: Literal["open", "decided", "withdrawn"]
    decided_by: str | None
    mask_id: str | None = Field(description="the ruling, once it is decided; null then: the sample is removed")
    created_at: datetime


class AuditCreate(Command):
    """Draw accepted masks of a batch at random and have each judged by someone who did not make it."""

    batch_id: Id
    size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    share: Share | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    seed: Seed = 0


class AuditItemView(View):
    audit_item_id: str
    sample_id: str
    mask_id: str
    verdict: Literal["pass", "fail"] | None
    auditor_id: str | None
    corrected_mask_id: str | None


class AuditView(View):
    """`error_rate_upper` is the one-sided exact (Clopper-Pearson) bound at `confidence`."""

    audit_id: str
    batch_id: str
    state: Literal["open", "completed"]
    num_items: int
    num_judged: int
    num_errors: int
    confidence: float
    error_rate: float | None
    error_rate_upper: float | None
    items: list[AuditItemView]
    created_at: datetime


class ScorecardView(View):
    annotator_id: str
    num_submissions: int
    num_returned: int
    num_late: int
    num_multi: int
    agreement_with_consensus: float | None = Field(description="mean IoU with the consensus of several")
    num_adjudicated: int
    num_audited: int
    num_audit_errors: int
    seconds: float
    seconds_per_submission: float | None
