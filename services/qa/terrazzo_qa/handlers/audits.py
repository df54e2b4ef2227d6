"""Audits: draw accepted masks at random, have each judged by someone else, state a bound."""

from __future__ import annotations

from dataclasses import replace

from terrazzo_qa.domain.audit import draw, error_rate_upper, size_of_share
from terrazzo_qa.domain.records import Acceptance, Audit, AuditItem, Scorecard, Submission
from terrazzo_qa.handlers.acceptance import accept, sample_ref
from terrazzo_qa.handlers.projects import known_project
from terrazzo_qa.handlers.submissions import is_recorded, record_check
from terrazzo_qa.ports import Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, NotKnownYet, Unprocessable
from terrazzo_schema.events import AuditCompleted, AuditRequested
from terrazzo_schema.events import AuditItem as AuditItemMessage
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.qa import AuditCreate, AuditItemView, AuditView


def create_audit(tx: Tx[Store], organisation_id: str, project_id: str, command: AuditCreate) -> AuditView:
    """Draw from what the batch has accepted by now. Raises Conflict when that is nothing."""
    known_project(tx.store, organisation_id, project_id)
    if (command.size is None) == (command.share is None):
        raise Unprocessable(
            "an audit needs a size or a share, one of the two",
            field="size",
            value=command.size,
            remedy='send {"batch_id": ..., "size": 20} or {"batch_id": ..., "share": 0.1}',
        )
    found = tx.store.accepted_in_batch(organisation_id, project_id, command.batch_id)
    accepted = {acceptance.sample.sample_id: acceptance for acceptance in found}
    if not accepted:
        raise Conflict(
            f"batch {command.batch_id} has no accepted masks",
            field="batch_id",
            value=command.batch_id,
            remedy="ask again when masks of the batch have been accepted",
        )
    size = size_of_share(command.share, len(accepted)) if command.share is not None else command.size
    assert size is not None
    chosen = [accepted[sample_id] for sample_id in draw(accepted, size, command.seed)]
    audit = Audit(
        organisation_id=organisation_id,
        project_id=project_id,
        audit_id=new_id("aud"),
        batch_id=command.batch_id,
        seed=command.seed,
        confidence=command.confidence,
        num_items=len(chosen),
        num_judged=0,
        num_errors=0,
        error_rate_upper=None,
        created_at=tx.clock.now(),
    )
    items = [_item_of(audit, acceptance) for acceptance in chosen]
    tx.store.add_audit(audit, items)
    tx.publish(
        AuditRequested(
            audit_id=audit.audit_id,
            batch_id=audit.batch_id,
            items=[
                AuditItemMessage(
                    audit_item_id=item.audit_item_id,
                    sample=sample_ref(item.sample),
                    mask_id=item.mask_id,
                    annotator_ids=item.annotator_ids,
                )
                for item in items
            ],
        ),
        key=audit.audit_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )
    return audit_view(audit, items)


def _item_of(audit: Audit, acceptance: Acceptance) -> AuditItem:
    return AuditItem(
        organisation_id=audit.organisation_id,
        project_id=audit.project_id,
        audit_item_id=new_id("aui"),
        audit_id=audit.audit_id,
        task_id=acceptance.task_id,
        sample=acceptance.sample,
        mask_id=acceptance.mask_id,
        submission_ids=acceptance.submission_ids,
        annotator_ids=acceptance.annotator_ids,
    )


def known_item(store: Store, organisation_id: str, project_id: str, audit_item_id: str) -> AuditItem:
    """Raises NotKnownYet."""
    item = store.audit_item(organisation_id, project_id, audit_item_id)
    if item is None:
        raise NotKnownYet(f"no audit item {audit_item_id}", field="subject_id", value=audit_item_id)
    return item


def record_verdict(
    tx: Tx[Store], submission: Submission, audit_item_id: str, verdict: str, corrected_mask_id: str | None
) -> None:
    """Record an auditor's verdict, "pass" or "fail", and the usable correction if there is one.

    The first verdict on an item that is not late counts. The last item of an audit completes it.
    """
    if is_recorded(tx.store, submission):
        return
    organisation_id, project_id = submission.organisation_id, submission.project_id
    item = known_item(tx.store, organisation_id, project_id, audit_item_id)
    record_check(tx, submission)
    if submission.late or item.verdict is not None:
        return
    failed = verdict == "fail"
    correction = corrected_mask_id if failed else None
    auditor_id = submission.annotator_id
    judged = replace(item, verdict=verdict, auditor_id=auditor_id, corrected_mask_id=correction)
    tx.store.judge_item(judged)
    for annotator_id in item.annotator_ids:
        errors = Scorecard(annotator_id, num_audited=1, num_audit_errors=int(failed))
        tx.store.add_to_scorecard(organisation_id, project_id, errors)
    audit = _count(tx, item, failed)
    if correction is not None:
        accept(
            tx,
            organisation_id,
            project_id,
            item.sample,
            task_id=item.task_id,
            batch_id=audit.batch_id,
            mask_id=correction,
            decided_by="audit",
            submission_ids=[*item.submission_ids, submission.submission_id],
            annotator_ids=[*item.annotator_ids, auditor_id],
        )


def _count(tx: Tx[Store], item: AuditItem, failed: bool) -> Audit:
    audit = tx.store.audit(item.organisation_id, item.project_id, item.audit_id)
    assert audit is not None
    audit = replace(audit, num_judged=audit.num_judged + 1, num_errors=audit.num_errors + int(failed))
    if audit.state != "completed":
        tx.store.replace_audit(audit)
        return audit
    upper = error_rate_upper(audit.num_errors, audit.num_items, audit.confidence)
    audit = replace(audit, error_rate_upper=upper)
    tx.store.replace_audit(audit)
    tx.publish(
        AuditCompleted(
            audit_id=audit.audit_id,
            batch_id=audit.batch_id,
            num_items=audit.num_items,
            num_errors=audit.num_errors,
            error_rate_upper=upper,
            confidence=audit.confidence,
        ),
        key=audit.audit_id,
        organisation_id=audit.organisation_id,
        project_id=audit.project_id,
    )
    return audit


def audit_view(audit: Audit, items: list[AuditItem]) -> AuditView:
    completed = audit.state == "completed"
    return AuditView(
        audit_id=audit.audit_id,
        batch_id=audit.batch_id,
        state="completed" if completed else "open",
        num_items=audit.num_items,
        num_judged=audit.num_judged,
        num_errors=audit.num_errors,
        confidence=audit.confidence,
        error_rate=audit.num_errors / audit.num_items if completed else None,
        error_rate_upper=audit.error_rate_upper,
        items=[
            AuditItemView.model_validate(
                {
                    "audit_item_id": item.audit_item_id,
                    "sample_id": item.sample.sample_id,
                    "mask_id": item.mask_id,
                    "verdict": item.verdict,
                    "auditor_id": item.auditor_id,
                    "corrected_mask_id": item.corrected_mask_id,
                }
            )
            for item in items
        ],
        created_at=audit.created_at,
    )
