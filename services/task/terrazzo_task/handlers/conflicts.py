"""Adjudications that a merge of dataset versions asks for: tasks without an annotation behind them.

The tasks of one merge are a batch of their own, so that a manager can see and cancel them together.
"""

from __future__ import annotations

from dataclasses import replace

from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import AdjudicationRequested, AdjudicationWithdrawn, ConflictDecided
from terrazzo_task.domain.projects import Batch
from terrazzo_task.domain.work import ADJUDICATE, Region, Task
from terrazzo_task.handlers import outcomes
from terrazzo_task.handlers.batches import add_tasks_to_batch, finish_tasks, new_task
from terrazzo_task.ports import Store


def adjudication_requested(
    tx: Tx[Store], organisation_id: str, project_id: str, message: AdjudicationRequested
) -> None:
    """One more person looks: at what annotators dispute, or at what two branches say."""
    if not message.merge_id:
        outcomes.adjudication_requested(tx, organisation_id, message)
        return
    if tx.store.task_by_subject(organisation_id, ADJUDICATE, message.adjudication_id) is not None:
        return
    sample = outcomes.sample_of(tx, organisation_id, project_id, message.sample.sample_id)
    batch = _batch_of_merge(tx, organisation_id, project_id, message.merge_id)
    region = message.region
    task = replace(
        new_task(batch, sample, kind=ADJUDICATE, tx=tx),
        region=Region(region.y, region.x, region.height, region.width),
        mask_id=message.mask_id,
        candidate_mask_ids=tuple(message.candidate_mask_ids),
        base_mask_id=message.base_mask_id or None,
        removed_by=message.removed_by or None,
        subject_id=message.adjudication_id,
    )
    batch = tx.store.change_batch(batch, sample_ids=tuple(dict.fromkeys([*batch.sample_ids, sample.sample_id])))
    add_tasks_to_batch(tx, batch, [task])
    tx.store.exclude(task.task_id, message.annotator_ids)


def _batch_of_merge(tx: Tx[Store], organisation_id: str, project_id: str, merge_id: str) -> Batch:
    """Made with the merge's first conflict; the same whichever comes first."""
    batch_id = f"bat_{merge_id.removeprefix('mrg_')}"
    found = tx.store.batch(organisation_id, batch_id, for_change=True)
    if found is not None:
        return found
    now = tx.clock.now()
    return tx.store.add_batch(
        Batch(
            sequence=0,
            batch_id=batch_id,
            organisation_id=organisation_id,
            project_id=project_id,
            name=f"conflicts of merge {merge_id}",
            strategy="merge",
            state="open",
            priority=0,
            model_id=None,
            sample_ids=(),
            num_tasks=0,
            num_tasks_final=0,
            num_waiting=0,
            created_at=now,
            proposed_at=now,
        )
    )


def conflict_decided(tx: Tx[Store], organisation_id: str, message: ConflictDecided) -> None:
    """The ruling was taken: its task is done. The sample's own state is another matter."""
    task = _task_of(tx, organisation_id, message.adjudication_id)
    for submission in tx.store.submissions_of_task(organisation_id, task.task_id):
        if submission.submission_id == message.submission_id and submission.state == "received":
            tx.store.change_submission(submission, state="accepted")
    finish_tasks(tx, outcomes.batch_of(tx, organisation_id, task.batch_id), [(task, "accepted")])


def adjudication_withdrawn(tx: Tx[Store], organisation_id: str, message: AdjudicationWithdrawn) -> None:
    """Nobody needs it any more: the task goes, leases end. One that is final stays as it is."""
    task = _task_of(tx, organisation_id, message.adjudication_id)
    finish_tasks(tx, outcomes.batch_of(tx, organisation_id, task.batch_id), [(task, "cancelled")])


def _task_of(tx: Tx[Store], organisation_id: str, adjudication_id: str) -> Task:
    found = tx.store.task_by_subject(organisation_id, ADJUDICATE, adjudication_id)
    task = tx.store.task(organisation_id, found.task_id, for_change=True) if found is not None else None
    if task is None:
        raise NotKnownYet(f"no task for {adjudication_id}", field="adjudication_id", value=adjudication_id)
    return task
