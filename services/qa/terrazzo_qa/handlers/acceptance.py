"""The one place where a sample's label is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from terrazzo_qa.domain.records import Acceptance, Sample
from terrazzo_qa.ports import Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.events import MaskAccepted, SampleRef

DecidedBy = Literal["single", "consensus", "adjudication", "audit"]


def accept(
    tx: Tx[Store],
    organisation_id: str,
    project_id: str,
    sample: Sample,
    *,
    task_id: str,
    batch_id: str,
    mask_id: str,
    decided_by: DecidedBy,
    submission_ids: Iterable[str],
    annotator_ids: Iterable[str],
) -> None:
    """Record the mask under the sample's next revision, and say so."""
    acceptance = Acceptance(
        organisation_id=organisation_id,
        project_id=project_id,
        sample=sample,
        revision=tx.store.latest_revision(organisation_id, project_id, sample.sample_id) + 1,
        task_id=task_id,
        batch_id=batch_id,
        mask_id=mask_id,
        decided_by=decided_by,
        submission_ids=list(submission_ids),
        annotator_ids=sorted(set(annotator_ids)),
        created_at=tx.clock.now(),
    )
    tx.store.add_acceptance(acceptance)
    tx.publish(
        MaskAccepted(
            task_id=task_id,
            batch_id=batch_id,
            sample_id=sample.sample_id,
            mask_id=mask_id,
            revision=acceptance.revision,
            decided_by=decided_by,
            submission_ids=acceptance.submission_ids,
        ),
        key=sample.sample_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )


def sample_ref(sample: Sample) -> SampleRef:
    return SampleRef(
        sample_id=sample.sample_id, image_hash=sample.image_hash, height=sample.height, width=sample.width
    )
