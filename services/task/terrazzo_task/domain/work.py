"""The records of human work and the rules of their states. Pure: the present moment is handed in.

    task         waiting ──proposal──▶ open ──enough submissions──▶ submitted ──mask accepted──▶ accepted
                    │                    ▲                               │
                    └──────cancel────────┴──────a submission returned────┘      (cancelled from any of them)
    lease        active ──▶ used | released | expired | cancelled
    submission   received ──▶ accepted | returned ;  late: kept, not counted

A task has `redundancy` slots. Each slot is free, held by a live lease, or filled by a counted submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

FINAL = ("accepted", "cancelled")
ANNOTATE, ADJUDICATE, AUDIT = "annotate", "adjudicate", "audit"
TASK_STATES = ("waiting", "open", "submitted", "accepted", "cancelled")
SUBMISSION_STATES = ("received", "accepted", "returned", "late")
MAX_LEASES_HELD = 10
RETURNS_BEFORE_OTHERS_GO_FIRST = 3
PRIORITY_AFTER_RETURNS = 100
_REVIEW = (ADJUDICATE, AUDIT, ANNOTATE)
KINDS_OF_ROLE: dict[str, tuple[str, ...]] = {
    "admin": _REVIEW,
    "manager": _REVIEW,
    "reviewer": _REVIEW,
    "annotator": (ANNOTATE, ADJUDICATE),
    "vendor": (ANNOTATE,),
}


@dataclass(frozen=True)
class Person:
    """Who works: the key's id, its name, and the vendor it belongs to, if any."""

    annotator_id: str
    name: str
    vendor: str | None


@dataclass(frozen=True)
class Region:
    """Rows y..y+height, columns x..x+width, in pixels."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class Task:
    """One unit of human work. `sequence` is the order of creation; `num_submissions` counts filled slots.

    Of a merge's conflict, `base_mask_id` is what both sides started from, and `removed_by` ("ours", "theirs") the
    side that removed the sample, if one did.
    """

    sequence: int
    task_id: str
    organisation_id: str
    project_id: str
    batch_id: str
    kind: str
    state: str
    sample_id: str
    sample_name: str
    image_hash: str
    height: int
    width: int
    priority: int
    redundancy: int
    created_at: datetime
    num_submissions: int = 0
    num_returned: int = 0
    chosen_by: str | None = None
    proposal_mask_id: str | None = None
    proposal_model_id: str | None = None
    region: Region | None = None
    mask_id: str | None = None
    candidate_mask_ids: tuple[str, ...] = ()
    base_mask_id: str | None = None
    removed_by: str | None = None
    parent_task_id: str | None = None
    subject_id: str | None = None
    returned_reason: str | None = None
    closed_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True)
class Lease:
    """A task in one person's hands until `expires_at` (not included)."""

    lease_id: str
    organisation_id: str
    project_id: str
    task_id: str
    annotator_id: str
    vendor: str | None
    state: str
    created_at: datetime
    expires_at: datetime

    def is_live(self, now: datetime) -> bool:
        return self.state == "active" and now < self.expires_at


@dataclass(frozen=True)
class Submission:
    """Work that came in. `is_counted` says that it fills a slot of its task."""

    sequence: int
    submission_id: str
    organisation_id: str
    project_id: str
    batch_id: str
    task_id: str
    lease_id: str
    sample_id: str
    kind: str
    annotator_id: str
    annotator: str
    vendor: str | None
    mask_id: str | None
    verdict: str | None
    seconds_spent: float
    note: str | None
    state: str
    late: bool
    is_counted: bool
    created_at: datetime
    codes: tuple[str, ...] = ()


def has_free_slot(task: Task, num_live_leases: int) -> bool:
    """Whether one more person may work on this task now."""
    return task.state == "open" and task.num_submissions + num_live_leases < task.redundancy


def state_after_submission(task: Task) -> str:
    """The state of an open task once one more slot is filled.

    An audit is final with its verdict: the correction, if any, is a mask of its own.
    """
    if task.num_submissions + 1 < task.redundancy:
        return "open"
    return "accepted" if task.kind == AUDIT else "submitted"


def priority_after_return(task: Task) -> int:
    """The third return of a task moves it to the front, so that it does not go round for ever unseen."""
    if task.num_returned + 1 == RETURNS_BEFORE_OTHERS_GO_FIRST:
        return task.priority + PRIORITY_AFTER_RETURNS
    return task.priority
