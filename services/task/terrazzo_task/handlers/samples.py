"""Samples come from stored images; models say how uncertain they are about them."""

from __future__ import annotations

from datetime import datetime

from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import ImageStored, PredictionFailed, PredictionReady, PredictorReady, SampleAdded
from terrazzo_schema.split import split_of
from terrazzo_task.domain.projects import ClassShare, Sample
from terrazzo_task.handlers.batches import sample_ref
from terrazzo_task.handlers.outcomes import open_with_proposal
from terrazzo_task.ports import Store


def image_stored(tx: Tx[Store], organisation_id: str, project_id: str, message: ImageStored) -> None:
    """A new image is a new sample; the same image under another name is the sample that it was."""
    project = tx.store.project(organisation_id, project_id)
    if project is None:
        raise NotKnownYet(f"no project {project_id}", field="project_id", value=project_id)
    ref = message.sample
    if tx.store.sample(organisation_id, project_id, ref.sample_id) is not None:
        return
    sample = Sample(
        organisation_id=organisation_id,
        project_id=project_id,
        sample_id=ref.sample_id,
        name=message.name,
        image_hash=ref.image_hash,
        height=ref.height,
        width=ref.width,
        split=split_of(ref.sample_id, project.held_out_percent),
        state="unlabelled",
        created_at=tx.clock.now(),
    )
    tx.store.add_sample(sample)
    tx.publish(
        SampleAdded(sample=sample_ref(sample), name=sample.name, split=sample.split),
        key=sample.sample_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )


def prediction_ready(
    tx: Tx[Store], organisation_id: str, project_id: str, at: datetime, message: PredictionReady
) -> None:
    """Keep the newest scores; give a waiting task its proposal."""
    sample = tx.store.sample(organisation_id, project_id, message.sample_id, for_change=True)
    if sample is None:
        raise NotKnownYet(f"no sample {message.sample_id}", field="sample_id", value=message.sample_id)
    # Events of one sample come in order, but a replayed dead letter may be older than what is known.
    if sample.scored_at is None or at >= sample.scored_at:
        tx.store.score_sample(
            sample,
            model_id=message.model_id,
            at=at,
            entropy_mean=message.entropy_mean,
            classes=tuple(ClassShare(c.class_id, c.share, c.entropy) for c in message.classes),
            embedding=message.embedding,
        )
    if message.batch_id:
        proposal = (message.mask_id, message.model_id) if message.mask_id else None
        open_with_proposal(tx, organisation_id, message.batch_id, message.sample_id, proposal)


def prediction_failed(tx: Tx[Store], organisation_id: str, message: PredictionFailed) -> None:
    """No proposal will come: the task is done from nothing."""
    if message.batch_id:
        open_with_proposal(tx, organisation_id, message.batch_id, message.sample_id, None)


def predictor_ready(
    tx: Tx[Store], organisation_id: str, project_id: str, at: datetime, message: PredictorReady
) -> None:
    """This model proposes from now on."""
    project = tx.store.project(organisation_id, project_id, for_change=True)
    if project is None:
        raise NotKnownYet(f"no project {project_id}", field="project_id", value=project_id)
    if project.model_at is None or at >= project.model_at:
        tx.store.change_project(project, model_id=message.model_id, model_at=at)
