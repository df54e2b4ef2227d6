"""What the checks, consensus, adjudication and audits say about work that came in.

Each handler takes the state as it finds it: an event may come late, after its task was cancelled or
decided, and then changes nothing but what it is itself about.
"""

from __future__ import annotations

from dataclasses import replace

from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import (
    AdjudicationRequested,
    AuditRequested,
    MaskAccepted,
    SubmissionChecked,
)
from terrazzo_task.domain.projects import Batch, Sample
from terrazzo_task.domain.work import ADJUDICATE, AUDIT, Region, Task, priority_after_return
from terrazzo_task.handlers.batches import add_tasks_to_batch, finish_tasks, new_task, settle
from terrazzo_task.ports import Store


def submission_checked(tx: Tx[Store], organisation_id: str, message: SubmissionChecked) -> None:
    """Keep the findings. Work that failed goes back: its slot is free again, for the same person too."""
    submission = tx.store.submission(organisation_id, message.submission_id, for_change=True)
    if submission is None:
        raise NotKnownYet(f"no submission {message.submission_id}", field="submission_id")
    codes = tuple(message.codes)
    if message.passed or submission.state != "received":
        tx.store.change_submission(submission, codes=codes)
        return
    tx.store.change_submission(submission, codes=codes, state="returned", is_counted=False)
    task = tx.store.task(organisation_id, submission.task_id, for_change=True)
    assert task is not None, "a submission has a task"
    if task.is_final:  # cancelled meanwhile: the slot is free, but nobody is asked again
        tx.store.change_task(task, num_submissions=task.num_submissions - 1)
        return
    tx.store.change_task(
        task,
        state="open",
        num_submissions=task.num_submissions - 1,
        num_returned=task.num_returned + 1,
        priority=priority_after_return(task),
        returned_reason=", ".join(codes) or "the checks did not pass",
    )


def mask_accepted(tx: Tx[Store], organisation_id: str, project_id: str, message: MaskAccepted) -> None:
    """The sample has its label; the annotation that it came from is done, and its adjudication with it."""
    sample = sample_of(tx, organisation_id, project_id, message.sample_id)
    if sample.mask_id is None or message.revision > sample.mask_revision:
        tx.store.change_sample(sample, state="labelled", mask_id=message.mask_id, mask_revision=message.revision)
    task = tx.store.task(organisation_id, message.task_id, for_change=True)
    if task is None or task.kind == AUDIT:
        return
    if task.kind == ADJUDICATE and task.parent_task_id is not None:
        task = tx.store.task(organisation_id, task.parent_task_id, for_change=True)
        assert task is not None, "an adjudication has its annotation"
    adjudications = tx.store.adjudications_of(organisation_id, task.task_id)
    _accept_submissions(tx, [task, *adjudications], set(message.submission_ids))
    batch = batch_of(tx, organisation_id, task.batch_id)
    # An adjudication that nobody has worked on is not needed any more.
    endings = [(a, "accepted" if a.num_submissions else "cancelled") for a in adjudications]
    finish_tasks(tx, batch, [(task, "accepted"), *endings])


def _accept_submissions(tx: Tx[Store], tasks: list[Task], submission_ids: set[str]) -> None:
    for task in tasks:
        for submission in tx.store.submissions_of_task(task.organisation_id, task.task_id):
            is_named = not submission_ids or submission.submission_id in submission_ids
            if submission.state == "received" and (is_named or task.kind == ADJUDICATE):
                tx.store.change_submission(submission, state="accepted")


def adjudication_requested(tx: Tx[Store], organisation_id: str, message: AdjudicationRequested) -> None:
    """One more person looks at the disputed region. Those who voted are not asked."""
    if tx.store.task_by_subject(organisation_id, ADJUDICATE, message.adjudication_id) is not None:
        return
    parent = tx.store.task(organisation_id, message.task_id, for_change=True)
    if parent is None:
        raise NotKnownYet(f"no task {message.task_id}", field="task_id")
    if parent.is_final:
        return  # cancelled, or decided in another way, meanwhile
    batch = batch_of(tx, organisation_id, parent.batch_id)
    sample = sample_of(tx, organisation_id, parent.project_id, parent.sample_id)
    region = message.region
    has_region = message.HasField("region") and region.height > 0 and region.width > 0
    task = replace(
        new_task(batch, sample, kind=ADJUDICATE, tx=tx),
        priority=parent.priority,
        region=Region(region.y, region.x, region.height, region.width) if has_region else None,
        mask_id=message.mask_id,
        candidate_mask_ids=tuple(message.candidate_mask_ids),
        parent_task_id=parent.task_id,
        subject_id=message.adjudication_id,
    )
    add_tasks_to_batch(tx, batch, [task])
    tx.store.exclude(task.task_id, message.annotator_ids)


def audit_requested(tx: Tx[Store], organisation_id: str, project_id: str, message: AuditRequested) -> None:
    """Reviewers judge a sample of the accepted masks, none of them their own."""
    batch = batch_of(tx, organisation_id, message.batch_id)
    tasks: list[Task] = []
    for item in message.items:
        if tx.store.task_by_subject(organisation_id, AUDIT, item.audit_item_id) is not None:
            continue
        sample = sample_of(tx, organisation_id, project_id, item.sample.sample_id)
        task = replace(
            new_task(batch, sample, kind=AUDIT, tx=tx), mask_id=item.mask_id, subject_id=item.audit_item_id
        )
        tasks.append(task)
        tx.store.exclude(task.task_id, item.annotator_ids)
    if tasks:
        add_tasks_to_batch(tx, batch, tasks)


def sample_of(tx: Tx[Store], organisation_id: str, project_id: str, sample_id: str) -> Sample:
    sample = tx.store.sample(organisation_id, project_id, sample_id, for_change=True)
    if sample is None:
        raise NotKnownYet(f"no sample {sample_id}", field="sample_id", value=sample_id)
    return sample


def batch_of(tx: Tx[Store], organisation_id: str, batch_id: str) -> Batch:
    batch = tx.store.batch(organisation_id, batch_id, for_change=True)
    if batch is None:
        raise NotKnownYet(f"no batch {batch_id}", field="batch_id", value=batch_id)
    return batch


def open_with_proposal(
    tx: Tx[Store], organisation_id: str, batch_id: str, sample_id: str, proposal: tuple[str, str] | None
) -> None:
    """A prediction for a waiting task came (mask id, model id), or will never come (None): it opens."""
    task = tx.store.waiting_task(organisation_id, batch_id, sample_id)
    if task is None:
        return  # opened before, or cancelled
    mask_id, model_id = proposal or (None, None)
    tx.store.change_task(task, state="open", proposal_mask_id=mask_id, proposal_model_id=model_id)
    batch = tx.store.change_batch(batch_of(tx, organisation_id, batch_id), proposed_at=tx.clock.now())
    settle(tx, batch, num_no_longer_waiting=1)
