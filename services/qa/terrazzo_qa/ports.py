"""What the QA service's handlers need from outside: its tables, and mask storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from terrazzo_masks.labels import LabelMap
from terrazzo_qa.domain.records import (
    Acceptance,
    Adjudication,
    Audit,
    AuditItem,
    ConsensusRecord,
    Listing,
    Project,
    Scorecard,
    Submission,
    Vote,
)
from terrazzo_runtime.blobs import Blobs
from terrazzo_runtime.unit_of_work import UnitOfWork
from terrazzo_schema.rest.mask_storage import Provenance


class MaskUnreadable(Exception):
    """Mask storage says for good that it can't give this mask."""


class MaskStorage(Protocol):
    """The masks of mask storage, by id. Errors that may pass (no connection, 5xx) are raised as they are."""

    def labels(self, organisation_id: str, project_id: str, mask_id: str) -> LabelMap:
        """Class ids (H, W). Raises MaskUnreadable when there is no such mask, or it can't be decoded."""
        ...

    def put(self, organisation_id: str, project_id: str, labels_HW: LabelMap, provenance: Provenance) -> str:
        """Store a label map; the same pixels have the same id, so a second time changes nothing."""
        ...


class Store(Protocol):
    """The tables, inside one transaction. Every query names the organisation; None means: not there (for you)."""

    def project(self, organisation_id: str, project_id: str) -> Project | None: ...
    def add_project(self, project: Project) -> None: ...
    def replace_ontology(
        self, organisation_id: str, project_id: str, version: int, ontology_json: str
    ) -> None: ...
    def replace_settings(self, organisation_id: str, project_id: str, settings: dict[str, Any]) -> None: ...

    def add_submission(self, submission: Submission) -> None: ...
    def submission(self, organisation_id: str, project_id: str, submission_id: str) -> Submission | None: ...
    def submissions(self, organisation_id: str, project_id: str, listing: Listing) -> list[Submission]: ...
    def votes(self, organisation_id: str, project_id: str, task_id: str) -> list[Vote]:
        """Passed annotations that are not late, by annotator, then submission."""
        ...

    def masks_of_others(self, organisation_id: str, project_id: str, task_id: str, annotator_id: str) -> list[str]:
        """Mask ids of the other annotators' submissions to this task."""
        ...

    def authors_of(
        self, organisation_id: str, project_id: str, sample_id: str, mask_ids: Sequence[str]
    ) -> list[str]:
        """Everybody whose work is in one of these masks of the sample, by id."""
        ...

    def add_consensus(self, consensus: ConsensusRecord) -> None: ...
    def consensus(self, organisation_id: str, project_id: str, task_id: str) -> ConsensusRecord | None: ...
    def consensuses(self, organisation_id: str, project_id: str, listing: Listing) -> list[ConsensusRecord]: ...
    def accept_consensus(self, organisation_id: str, project_id: str, task_id: str) -> None: ...

    def add_adjudication(self, adjudication: Adjudication) -> None: ...
    def adjudication(self, organisation_id: str, project_id: str, adjudication_id: str) -> Adjudication | None: ...
    def adjudications(self, organisation_id: str, project_id: str, listing: Listing) -> list[Adjudication]: ...
    def decide_adjudication(self, decided: Adjudication) -> None: ...

    def add_acceptance(self, acceptance: Acceptance) -> None: ...
    def latest_revision(self, organisation_id: str, project_id: str, sample_id: str) -> int:
        """0 when the sample has no accepted mask."""
        ...

    def is_accepted(self, organisation_id: str, project_id: str, task_id: str) -> bool: ...
    def accepted_in_batch(self, organisation_id: str, project_id: str, batch_id: str) -> list[Acceptance]:
        """The newest acceptance of each sample that this batch decided, by sample id."""
        ...

    def add_audit(self, audit: Audit, items: Sequence[AuditItem]) -> None: ...
    def audit(self, organisation_id: str, project_id: str, audit_id: str) -> Audit | None: ...
    def audits(self, organisation_id: str, project_id: str, listing: Listing) -> list[Audit]: ...
    def audit_item(self, organisation_id: str, project_id: str, audit_item_id: str) -> AuditItem | None: ...
    def audit_items(self, organisation_id: str, project_id: str, audit_id: str) -> list[AuditItem]:
        """By sample id."""
        ...

    def judge_item(self, judged: AuditItem) -> None: ...
    def replace_audit(self, audit: Audit) -> None: ...

    def add_to_scorecard(self, organisation_id: str, project_id: str, more: Scorecard) -> None: ...
    def scorecards(self, organisation_id: str, project_id: str, listing: Listing) -> list[Scorecard]: ...


@dataclass(frozen=True)
class Deps:
    """What endpoints and event handlers are given."""

    uow: UnitOfWork[Store]
    blobs: Blobs
    masks: MaskStorage
