"""REST models of the task service: organisations, keys, projects, samples, batches, tasks, leases, work."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from terrazzo_schema.rest.base import Box, Command, Id, Name, Seconds, Seed, Share, Text, View

Role = Literal["admin", "manager", "reviewer", "annotator", "vendor", "trainer", "viewer"]
TaskKind = Literal["annotate", "adjudicate", "audit"]
TaskState = Literal["waiting", "open", "submitted", "accepted", "cancelled"]
SubmissionState = Literal["received", "accepted", "returned", "late"]
SampleState = Literal["unlabelled", "in_progress", "labelled"]
BatchState = Literal["proposing", "open", "closed", "cancelled"]
Strategy = Literal["active", "random"]
Verdict = Literal["pass", "fail", "remove"]


class OrganisationCreate(Command):
    name: Name


class OrganisationView(View):
    organisation_id: str
    name: str
    created_at: datetime


class OrganisationCreated(OrganisationView):
    """The first key of a new organisation, with the role admin. It is shown this once."""

    key: str


class KeyCreate(Command):
    name: Name
    role: Role
    vendor: Name | None = None
    expires_in_s: Annotated[int, Field(ge=60, le=315_360_000)] | None = None


class KeyView(View):
    key_id: str
    name: str
    role: Role
    vendor: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyCreated(KeyView):
    """`key` is shown this once and is stored nowhere."""

    key: str


class ProjectCreate(Command):
    name: Name
    ontology: dict[str, Any]
    held_out_percent: Annotated[int, Field(ge=0, le=90)] = 20
    qa: dict[str, Any] = Field(default_factory=dict, description="check settings; see the QA service")
    lease_s: Annotated[int, Field(ge=1, le=604_800)] = 3_600


class ProjectView(View):
    project_id: str
    name: str
    held_out_percent: int
    ontology_version: int
    lease_s: int
    model_id: str | None
    num_samples: int
    created_at: datetime


class OntologyUpdate(Command):
    ontology: dict[str, Any]


class OntologyView(View):
    project_id: str
    version: int
    ontology: dict[str, Any]
    created_at: datetime


class SampleView(View):
    sample_id: str
    project_id: str
    name: str
    image_hash: str
    height: int
    width: int
    split: Literal["train", "held_out"]
    state: SampleState
    mask_id: str | None
    entropy_mean: float | None
    scored_by: str | None
    created_at: datetime


class BatchCreate(Command):
    """Choose `size` unlabelled samples of the train split and make their tasks.

    A `multi_share` of the samples gets `redundancy` annotators, the others one. `random_share`
    of an active batch is drawn at random, for honest measurement.
    """

    name: Name
    size: Annotated[int, Field(ge=1, le=100_000)]
    strategy: Strategy = "active"
    redundancy: Annotated[int, Field(ge=1, le=15)] = 3
    multi_share: Share = 0.25
    random_share: Share = 0.1
    priority: Annotated[int, Field(ge=-1_000, le=1_000)] = 0
    seed: Seed = 0


class BatchView(View):
    batch_id: str
    project_id: str
    name: str
    strategy: Literal["active", "random", "merge"] = Field(description="merge: the conflicts of one merge")
    state: BatchState
    model_id: str | None
    sample_ids: list[str]
    num_tasks: int
    num_tasks_final: int
    created_at: datetime


class Proposal(View):
    """What the model proposes, to be corrected."""

    mask_id: str
    model_id: str


class TaskView(View):
    task_id: str
    project_id: str
    batch_id: str
    kind: TaskKind
    state: TaskState
    sample_id: str
    sample_name: str
    image_hash: str
    height: int
    width: int
    priority: int
    redundancy: int
    num_submissions: int
    proposal: Proposal | None
    region: Box | None = Field(description="null: the whole image")
    mask_id: str | None = Field(description="adjudication and audit: the mask that is judged")
    candidate_mask_ids: list[str] = Field(
        description="adjudication: what the annotators submitted; of a merge: the target branch's, the source's"
    )
    base_mask_id: str | None = Field(
        default=None, description="of a merge's conflict: what both sides started from; null: nothing"
    )
    removed_by: Literal["ours", "theirs"] | None = Field(
        default=None,
        description="of a merge's conflict: the target branch (ours) or the source (theirs) removed the sample; "
        'the candidate is the other side\'s mask, and the verdict "remove" is an answer too',
    )
    subject_id: str | None
    returned_reason: str | None = Field(description="why the last submission came back")
    chosen_by: Literal["active", "random"] | None = Field(
        default=None, description="which arm chose the sample; null for adjudication and audit"
    )
    created_at: datetime
    closed_at: datetime | None


class TaskUpdate(Command):
    priority: Annotated[int, Field(ge=-1_000, le=1_000)]


class LeaseCreate(Command):
    """Ask for the next task. `batch_id` narrows it; `kinds` defaults to what the role may do."""

    batch_id: Id | None = None
    kinds: list[TaskKind] | None = None
    lease_s: Annotated[int, Field(ge=1, le=604_800)] | None = None


class LeaseView(View):
    lease_id: str
    task: TaskView
    annotator_id: str
    expires_at: datetime


class SubmissionCreate(Command):
    """Work on a leased task. The mask was stored before, with PUT on the masks of mask storage.

    For an audit `verdict` says whether the judged mask passes, and `mask_id` is the correction
    when it does not. Where one side of a merge removed the sample (`removed_by` of the task), the
    verdict "remove" removes it, and a mask keeps it. Otherwise `mask_id` is required.
    """

    lease_id: Id
    mask_id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    seconds_spent: Seconds
    verdict: Verdict | None = None
    note: Text | None = None


class SubmissionView(View):
    submission_id: str
    task_id: str
    project_id: str
    batch_id: str
    sample_id: str
    kind: TaskKind
    annotator_id: str
    annotator: str
    vendor: str | None
    mask_id: str | None
    verdict: Verdict | None
    seconds_spent: float
    state: SubmissionState
    late: bool
    codes: list[str] = Field(description="what the checks found")
    created_at: datetime


class Count(View):
    name: str
    tasks: int
    submissions: int
    seconds: float


class ClassProgress(View):
    class_id: int
    name: str
    pixel_share: float = Field(description="of the predicted pixels of samples not labelled yet; a forecast")
    num_samples: int


class ProgressView(View):
    project_id: str
    samples: dict[str, int]
    tasks: dict[str, int]
    submissions: dict[str, int]
    leases_active: int
    seconds_spent: float
    annotators: list[Count]
    vendors: list[Count]
    classes: list[ClassProgress]
