"""Submissions: work on a leased task comes in."""

from __future__ import annotations

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, Forbidden, NotFound, Unprocessable
from terrazzo_schema.events import Region, SubmissionReceived
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.task import SubmissionCreate, SubmissionView
from terrazzo_task.domain.work import (
    AUDIT,
    Lease,
    Submission,
    Task,
    has_free_slot,
    state_after_submission,
)
from terrazzo_task.handlers.batches import batch_of, finish_tasks, sample_ref, task_of
from terrazzo_task.handlers.views import submission_view
from terrazzo_task.ports import Store

_PASS_OR_FAIL = '"pass" or "fail"'


def submit(tx: Tx[Store], caller: Principal, task_id: str, command: SubmissionCreate) -> SubmissionView:
    """Take in work. With a live lease it fills the slot that the lease held.

    After the lease ended it is kept and flagged late. It still counts, as any other, when a slot of the task is
    free and the person has no other work on it; otherwise its state is "late": checked, but not counted.
    Raises NotFound, Forbidden for someone else's lease, Conflict for one that was used or given back.
    """
    task = task_of(tx, caller.organisation_id, task_id)
    lease = _lease_for(tx, caller, task, command.lease_id)
    _refuse_wrong_shape(task, command)
    before = tx.store.submissions_of_task(caller.organisation_id, task_id)
    mine = [s for s in before if s.annotator_id == caller.key_id]
    is_late = not lease.is_live(tx.clock.now())
    is_counted = not is_late or _counts_though_late(tx, task, mine, caller.key_id)
    lease = tx.store.change_lease(lease, state="used")
    submission = tx.store.add_submission(
        Submission(
            sequence=0,
            submission_id=new_id("sub"),
            organisation_id=task.organisation_id,
            project_id=task.project_id,
            batch_id=task.batch_id,
            task_id=task_id,
            lease_id=lease.lease_id,
            sample_id=task.sample_id,
            kind=task.kind,
            annotator_id=caller.key_id,
            annotator=caller.name,
            vendor=caller.vendor,
            mask_id=command.mask_id,
            verdict=command.verdict,
            seconds_spent=command.seconds_spent,
            note=command.note,
            # An audit's verdict is final: nobody checks the checker.
            state="late" if not is_counted else ("accepted" if task.kind == AUDIT else "received"),
            late=is_late,
            is_counted=is_counted,
            created_at=tx.clock.now(),
        )
    )
    tx.store.add_work(submission, is_new_task=not mine)
    _publish(tx, task, submission)
    if is_counted:
        _fill_slot(tx, task)
    return submission_view(submission)


def _lease_for(tx: Tx[Store], caller: Principal, task: Task, lease_id: str) -> Lease:
    lease = tx.store.lease(caller.organisation_id, lease_id, for_change=True)
    if lease is None or lease.task_id != task.task_id:
        raise NotFound(f"no lease {lease_id} on task {task.task_id}", field="lease_id", value=lease_id)
    if lease.annotator_id != caller.key_id:
        raise Forbidden(
            f"lease {lease_id} is someone else's",
            field="lease_id",
            value=lease_id,
            remedy="submit with the key that leased the task",
        )
    if lease.state in ("used", "released"):
        what = "was used by another submission" if lease.state == "used" else "was given back"
        raise Conflict(
            f"lease {lease_id} {what}",
            field="lease_id",
            value=lease_id,
            remedy="lease the next task; a retry sends the same Idempotency-Key",
        )
    return lease


def _refuse_wrong_shape(task: Task, command: SubmissionCreate) -> None:
    if task.kind == AUDIT:
        if command.verdict is None:
            raise Unprocessable("an audit needs a verdict", field="verdict", remedy=_PASS_OR_FAIL)
        if command.verdict == "remove":
            raise Unprocessable("an audit removes nothing", field="verdict", value="remove", remedy=_PASS_OR_FAIL)
        if command.verdict == "pass" and command.mask_id is not None:
            raise Unprocessable("a mask that passes needs no correction", field="mask_id", value=command.mask_id)
        return
    if command.verdict == "remove" and task.removed_by is not None:
        if command.mask_id is not None:
            raise Unprocessable(
                "a sample that is removed needs no mask",
                field="mask_id",
                value=command.mask_id,
                remedy="leave out the verdict to keep the sample with this mask",
            )
        return
    if command.verdict is not None:
        raise Unprocessable(f"a task of kind {task.kind} takes no verdict", field="verdict", value=command.verdict)
    if command.mask_id is None:
        raise Unprocessable(
            f"a task of kind {task.kind} needs a mask",
            field="mask_id",
            remedy="store the mask first, then name it",
        )


def _counts_though_late(tx: Tx[Store], task: Task, mine: list[Submission], annotator_id: str) -> bool:
    if any(s.state in ("received", "accepted") for s in mine):
        return False  # nobody has two votes
    now = tx.clock.now()
    if tx.store.holds_live_lease(task.task_id, annotator_id, now):
        return False  # the same person has it again, and will submit once more
    return has_free_slot(task, tx.store.num_live_leases(now, task_id=task.task_id))


def _fill_slot(tx: Tx[Store], task: Task) -> None:
    state = state_after_submission(task)
    task = tx.store.change_task(task, num_submissions=task.num_submissions + 1)
    if state == "accepted":
        finish_tasks(tx, batch_of(tx, task.organisation_id, task.batch_id), [(task, state)])
    elif state != task.state:
        tx.store.change_task(task, state=state)


def _publish(tx: Tx[Store], task: Task, submission: Submission) -> None:
    region = task.region
    tx.publish(
        SubmissionReceived(
            submission_id=submission.submission_id,
            task_id=task.task_id,
            kind=task.kind,
            batch_id=task.batch_id,
            sample=sample_ref(task),
            mask_id=submission.mask_id or "",
            annotator_id=submission.annotator_id,
            seconds_spent=submission.seconds_spent,
            proposal_mask_id=task.proposal_mask_id or "",
            proposal_model_id=task.proposal_model_id or "",
            redundancy=task.redundancy,
            # To the checks 'late' means: look at it, but it is no vote. Late work that counts is ordinary work.
            late=not submission.is_counted,
            region=None
            if region is None
            else Region(y=region.y, x=region.x, height=region.height, width=region.width),
            verdict=submission.verdict or "",
            subject_id=task.subject_id or "",
        ),
        key=task.sample_id,
        organisation_id=task.organisation_id,
        project_id=task.project_id,
    )
