"""What the handlers need of the tables, and what the endpoints are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from terrazzo_runtime.auth import TokenAuthority
from terrazzo_runtime.clock import Clock
from terrazzo_runtime.unit_of_work import UnitOfWork
from terrazzo_task.domain.choose import Candidate
from terrazzo_task.domain.projects import Batch, ClassShare, Key, OntologyVersion, Organisation, Project, Sample
from terrazzo_task.domain.work import Lease, Person, Submission, Task


@dataclass(frozen=True)
class Worked:
    """What one annotator, or one vendor, has done in a project."""

    name: str
    num_tasks: int
    num_submissions: int
    time_ms: int


@dataclass(frozen=True)
class ClassPixels:
    """Predicted pixels of a class, over samples that are not labelled yet or over those that are."""

    class_id: int
    labelled: bool
    pixels: int
    num_samples: int


class People(Protocol):
    """Organisations and keys."""

    def organisation(self, organisation_id: str) -> Organisation | None: ...
    def add_organisation(self, organisation: Organisation) -> None: ...
    def add_key(self, key: Key) -> None: ...
    def key(self, organisation_id: str, key_id: str) -> Key | None: ...
    def keys(self, organisation_id: str, after: str | None, limit: int) -> list[Key]: ...
    def revoke_key(self, key: Key, at: datetime) -> None:
        """From this commit on the key is refused here; other services hear of it by event."""
        ...


class Projects(Protocol):
    """Projects, ontologies, samples. `for_change` keeps other writers off the row until the commit."""

    def add_project(self, project: Project) -> None: ...
    def project(self, organisation_id: str, project_id: str, *, for_change: bool = False) -> Project | None: ...
    def projects(self, organisation_id: str, after: int | None, limit: int) -> list[Project]: ...
    def change_project(self, project: Project, **changes: Any) -> Project: ...
    def add_ontology(self, version: OntologyVersion) -> None: ...
    def ontologies(self, organisation_id: str, project_id: str) -> list[OntologyVersion]:
        """All versions, oldest first."""
        ...

    def add_sample(self, sample: Sample) -> None: ...
    def sample(
        self, organisation_id: str, project_id: str, sample_id: str, *, for_change: bool = False
    ) -> Sample | None: ...
    def samples(
        self,
        organisation_id: str,
        project_id: str,
        *,
        split: str | None = None,
        state: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[Sample]: ...
    def samples_by_id(self, organisation_id: str, project_id: str, sample_ids: Sequence[str]) -> list[Sample]:
        """Those that exist, in the order of `sample_ids`."""
        ...

    def change_sample(self, sample: Sample, **changes: Any) -> Sample: ...
    def score_sample(
        self,
        sample: Sample,
        *,
        model_id: str,
        at: datetime,
        entropy_mean: float,
        classes: tuple[ClassShare, ...],
        embedding: Sequence[float],
    ) -> None: ...
    def set_samples_in_progress(self, samples: Sequence[Sample]) -> None: ...
    def candidates(self, organisation_id: str, project_id: str) -> list[Candidate]:
        """Unlabelled samples of the train split, by sample id."""
        ...

    def covered_embeddings(self, organisation_id: str, project_id: str) -> list[Any]:
        """Embeddings (D,) float32 of samples that are labelled or being labelled, by sample id."""
        ...


class Work(Protocol):
    """Batches, tasks, leases, submissions."""

    def add_batch(self, batch: Batch) -> Batch: ...
    def batch(self, organisation_id: str, batch_id: str, *, for_change: bool = False) -> Batch | None: ...
    def batches(self, organisation_id: str, project_id: str, after: int | None, limit: int) -> list[Batch]: ...
    def change_batch(self, batch: Batch, **changes: Any) -> Batch: ...
    def stalled_batches(self, proposed_before: datetime) -> list[Batch]:
        """Batches with waiting tasks in which nothing was proposed since, of every organisation."""
        ...

    def add_tasks(self, tasks: Sequence[Task]) -> None:
        """In this order; `sequence` is given by the table."""
        ...

    def task(self, organisation_id: str, task_id: str, *, for_change: bool = False) -> Task | None: ...
    def task_by_subject(self, organisation_id: str, kind: str, subject_id: str) -> Task | None: ...
    def tasks(
        self,
        organisation_id: str,
        project_id: str,
        *,
        state: str | None = None,
        kind: str | None = None,
        batch_id: str | None = None,
        visible_to: Person | None = None,
        after: int | None = None,
        limit: int,
    ) -> list[Task]:
        """In order of creation. `visible_to`: only what was leased to this person or its vendor."""
        ...

    def is_task_visible(self, task: Task, person: Person) -> bool: ...
    def open_tasks_of_batch(self, organisation_id: str, batch_id: str) -> list[Task]:
        """Those in no final state, in order of creation."""
        ...

    def waiting_task(self, organisation_id: str, batch_id: str, sample_id: str) -> Task | None: ...
    def adjudications_of(self, organisation_id: str, task_id: str) -> list[Task]: ...
    def exclude(self, task_id: str, annotator_ids: Sequence[str]) -> None:
        """These people may not be given the task."""
        ...

    def next_task(
        self,
        organisation_id: str,
        project_id: str,
        *,
        person: Person,
        kinds: Sequence[str],
        batch_id: str | None,
        now: datetime,
    ) -> Task | None:
        """The open task with a free slot that this person may have: priority first, then creation.

        Tasks that the person gave back, let expire, or had returned too often come after all others.
        """
        ...

    def change_task(self, task: Task, **changes: Any) -> Task: ...
    def add_lease(self, lease: Lease) -> None: ...
    def lease(self, organisation_id: str, lease_id: str, *, for_change: bool = False) -> Lease | None: ...
    def change_lease(self, lease: Lease, **changes: Any) -> Lease: ...
    def num_live_leases(self, now: datetime, *, task_id: str) -> int: ...
    def num_live_leases_held(self, organisation_id: str, annotator_id: str, now: datetime) -> int: ...
    def holds_live_lease(self, task_id: str, annotator_id: str, now: datetime) -> bool: ...
    def end_leases(self, task_id: str, state: str) -> int:
        """End every active lease of the task. Returns how many there were."""
        ...

    def has_leases_to_expire(self, now: datetime) -> bool: ...
    def expire_leases(self, now: datetime, limit: int) -> int: ...
    def add_submission(self, submission: Submission) -> Submission: ...
    def submission(
        self, organisation_id: str, submission_id: str, *, for_change: bool = False
    ) -> Submission | None: ...
    def submissions_of_task(self, organisation_id: str, task_id: str) -> list[Submission]: ...
    def submissions(
        self,
        organisation_id: str,
        project_id: str,
        *,
        task_id: str | None = None,
        annotator_id: str | None = None,
        state: str | None = None,
        visible_to: Person | None = None,
        after: int | None = None,
        limit: int,
    ) -> list[Submission]: ...
    def change_submission(self, submission: Submission, **changes: Any) -> Submission: ...


class Progress(Protocol):
    """Running counts, kept in the same commits as what they count: reading them costs the same at any size."""

    def counts(self, project_id: str, scope: str) -> Mapping[str, int]:
        """`scope` is "samples", "tasks" or "submissions"; name -> count."""
        ...

    def num_scored_by(self, project_id: str, model_id: str) -> int: ...
    def num_active_leases(self, project_id: str, now: datetime) -> int: ...
    def worked(self, project_id: str, kind: str) -> list[Worked]:
        """`kind` is "annotator" or "vendor"; by name."""
        ...

    def add_work(self, submission: Submission, *, is_new_task: bool) -> None: ...
    def class_pixels(self, project_id: str) -> list[ClassPixels]: ...


class Store(People, Projects, Work, Progress, Protocol):
    """One open transaction on the task service's tables."""


@dataclass(frozen=True)
class Deps:
    """What endpoints, consumers and workers are given."""

    uow: UnitOfWork[Store]
    clock: Clock
    authority: TokenAuthority
