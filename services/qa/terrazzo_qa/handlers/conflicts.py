"""Conflicts of merges: a person who made neither side decides, and the ruling goes back to mask storage.

A ruling is no acceptance: the sample's label, and what is staged on main, stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from terrazzo_qa.domain.records import Adjudication, Region, Sample, Submission
from terrazzo_qa.handlers.acceptance import sample_ref
from terrazzo_qa.handlers.projects import known_project
from terrazzo_qa.handlers.submissions import is_recorded, record_check
from terrazzo_qa.ports import Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import (
    AdjudicationRequested,
    AdjudicationWithdrawn,
    ConflictDecided,
    ConflictFound,
    ConflictWithdrawn,
)
from terrazzo_schema.events import Region as RegionMessage


@dataclass(frozen=True)
class Decision:
    """What a usable piece of work decides: the sample's whole mask, or (None) that the sample is removed."""

    mask_id: str | None


def adjudication_id_of(conflict_id: str) -> str:
    """A conflict has one adjudication, however often it is said."""
    return f"adj_{conflict_id.removeprefix('cfl_')}"


def conflict_found(tx: Tx[Store], organisation_id: str, project_id: str, message: ConflictFound) -> None:
    """Ask for one more person. Those whose work is on either side may not judge it."""
    known_project(tx.store, organisation_id, project_id)
    adjudication_id = adjudication_id_of(message.conflict_id)
    if tx.store.adjudication(organisation_id, project_id, adjudication_id) is not None:
        return
    sample, region = message.sample, message.region
    sides = [mask_id for mask_id in (message.ours_mask_id, message.theirs_mask_id) if mask_id]
    adjudication = Adjudication(
        organisation_id=organisation_id,
        project_id=project_id,
        adjudication_id=adjudication_id,
        task_id=message.conflict_id,
        batch_id=message.merge_id,
        sample=Sample(sample.sample_id, sample.image_hash, sample.height, sample.width),
        consensus_mask_id=message.merged_mask_id,
        region=Region(region.y, region.x, region.height, region.width),
        disputed_pixels=message.num_pixels,
        candidate_mask_ids=sides,
        annotator_ids=tx.store.authors_of(organisation_id, project_id, sample.sample_id, sides),
        created_at=tx.clock.now(),
        merge_id=message.merge_id,
        base_mask_id=message.base_mask_id or None,
        removed_by=None if len(sides) == 2 else "theirs" if message.ours_mask_id else "ours",
    )
    tx.store.add_adjudication(adjudication)
    tx.publish(
        AdjudicationRequested(
            adjudication_id=adjudication_id,
            sample=sample_ref(adjudication.sample),
            mask_id=adjudication.consensus_mask_id,
            region=RegionMessage(y=region.y, x=region.x, height=region.height, width=region.width),
            candidate_mask_ids=sides,
            annotator_ids=adjudication.annotator_ids,
            merge_id=message.merge_id,
            base_mask_id=message.base_mask_id,
            removed_by=adjudication.removed_by or "",
        ),
        key=sample.sample_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )


def conflict_withdrawn(tx: Tx[Store], organisation_id: str, project_id: str, message: ConflictWithdrawn) -> None:
    """Nobody needs the ruling any more; one that was given stands, and changes nothing."""
    adjudication_id = adjudication_id_of(message.conflict_id)
    adjudication = tx.store.adjudication(organisation_id, project_id, adjudication_id)
    if adjudication is None:
        raise NotKnownYet(f"no conflict {message.conflict_id}", field="conflict_id", value=message.conflict_id)
    if adjudication.state != "open":
        return
    tx.store.decide_adjudication(replace(adjudication, state="withdrawn"))
    tx.publish(
        AdjudicationWithdrawn(adjudication_id=adjudication_id, sample_id=message.sample_id),
        key=message.sample_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )


def record_ruling(tx: Tx[Store], submission: Submission, adjudication_id: str, decision: Decision | None) -> None:
    """Record an adjudicator's work on a conflict; the first usable one decides it."""
    if is_recorded(tx.store, submission):
        return
    organisation_id, project_id = submission.organisation_id, submission.project_id
    adjudication = tx.store.adjudication(organisation_id, project_id, adjudication_id)
    assert adjudication is not None, "the caller has read it"
    record_check(tx, submission)
    if decision is None or adjudication.state != "open":
        return
    tx.store.decide_adjudication(
        replace(
            adjudication,
            state="decided",
            decided_by=submission.annotator_id,
            submission_id=submission.submission_id,
            mask_id=decision.mask_id,
        )
    )
    tx.publish(
        ConflictDecided(
            conflict_id=adjudication.task_id,
            merge_id=adjudication.merge_id or "",
            adjudication_id=adjudication_id,
            sample_id=adjudication.sample.sample_id,
            mask_id=decision.mask_id or "",
            decided_by=submission.annotator_id,
            submission_id=submission.submission_id,
            removed=decision.mask_id is None,
        ),
        key=adjudication.sample.sample_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )
