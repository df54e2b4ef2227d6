"""Adjudications: one more person decides what the voters could not."""

from __future__ import annotations

from dataclasses import replace

from terrazzo_qa.domain.records import Adjudication, ConsensusRecord, Submission
from terrazzo_qa.handlers.acceptance import accept
from terrazzo_qa.handlers.submissions import is_recorded, record_check
from terrazzo_qa.ports import Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet


def any_adjudication(store: Store, organisation_id: str, project_id: str, adjudication_id: str) -> Adjudication:
    """A task's, or a merge's. Raises NotKnownYet."""
    adjudication = store.adjudication(organisation_id, project_id, adjudication_id)
    if adjudication is None:
        raise NotKnownYet(f"no adjudication {adjudication_id}", field="subject_id", value=adjudication_id)
    return adjudication


def known_adjudication(
    store: Store, organisation_id: str, project_id: str, adjudication_id: str
) -> tuple[Adjudication, ConsensusRecord]:
    """A task's adjudication with its consensus. Raises NotKnownYet."""
    adjudication = any_adjudication(store, organisation_id, project_id, adjudication_id)
    consensus = store.consensus(organisation_id, project_id, adjudication.task_id)
    assert consensus is not None, "an adjudication is recorded in the same commit as its consensus"
    return adjudication, consensus


def record_adjudication(
    tx: Tx[Store], submission: Submission, adjudication_id: str, final_mask_id: str | None
) -> None:
    """Record an adjudicator's work; `final_mask_id` is the settled mask, None when the work can't be used.

    The first usable one decides; what comes after is kept and changes nothing.
    """
    if is_recorded(tx.store, submission):
        return
    organisation_id, project_id = submission.organisation_id, submission.project_id
    adjudication, consensus = known_adjudication(tx.store, organisation_id, project_id, adjudication_id)
    record_check(tx, submission)
    if final_mask_id is None or adjudication.state == "decided":
        return
    tx.store.decide_adjudication(
        replace(
            adjudication,
            state="decided",
            decided_by=submission.annotator_id,
            submission_id=submission.submission_id,
            mask_id=final_mask_id,
        )
    )
    tx.store.accept_consensus(organisation_id, project_id, adjudication.task_id)
    accept(
        tx,
        organisation_id,
        project_id,
        adjudication.sample,
        task_id=adjudication.task_id,
        batch_id=adjudication.batch_id,
        mask_id=final_mask_id,
        decided_by="adjudication",
        submission_ids=[*consensus.submission_ids, submission.submission_id],
        annotator_ids=[*consensus.annotator_ids, submission.annotator_id],
    )
