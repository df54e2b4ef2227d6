"""Prediction jobs: a list of samples, one model, one purpose."""

from __future__ import annotations

from typing import Literal

from terrazzo_inference.handlers.projects import require_project
from terrazzo_inference.ports import Job, Model, Prediction, Purpose, Sample, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, NotFound, NotKnownYet, Unprocessable
from terrazzo_schema.events import BatchChosen
from terrazzo_schema.ids import is_id, new_id
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.inference import (
    ClassUncertainty,
    PredictionJobCreate,
    PredictionJobView,
    PredictionView,
)


def create_job(
    tx: Tx[Store], organisation_id: str, project_id: str, command: PredictionJobCreate
) -> PredictionJobView:
    """Queue a job for the current model. A sample that is listed twice is predicted once.

    Raises Unprocessable for what is no sample id at all, NotKnownYet for an unknown project or sample,
    Conflict when the project has no model.
    """
    for index, sample_id in enumerate(command.sample_ids):
        if not is_id(sample_id):
            raise Unprocessable(
                f"{sample_id!a} is no sample id",
                field=f"sample_ids.{index}",
                value=ascii(sample_id),  # as it is, it may be no text that can be sent
                remedy="sample ids look like smp_0123456789abcdef01234567",
            )
    require_project(tx.store, organisation_id, project_id)
    model = tx.store.predictor(organisation_id, project_id)
    if model is None:
        raise Conflict(
            f"project {project_id} has no model yet",
            field="project_id",
            value=project_id,
            remedy="train a model and promote it, then ask again",
        )
    sample_ids = list(dict.fromkeys(command.sample_ids))
    known = tx.store.samples(organisation_id, project_id, sample_ids)
    for index, sample_id in enumerate(command.sample_ids):
        if sample_id not in known:
            raise NotKnownYet(
                f"project {project_id} has no sample {sample_id!r}", field=f"sample_ids.{index}", value=sample_id
            )
    samples = [known[sample_id] for sample_id in sample_ids]
    return view_job(_add(tx, model, command.purpose, "", samples))


def propose_batch(tx: Tx[Store], organisation_id: str, project_id: str, message: BatchChosen) -> None:
    """Queue the proposals of a batch. One for a model that was replaced meanwhile gets the current one's.

    Raises NotKnownYet when the batch waits for a model that was not loaded yet.
    """
    if not message.model_id or not message.samples:
        return  # no model yet: people start from nothing, and nobody waits for us
    if tx.store.job_of_batch(organisation_id, project_id, message.batch_id) is not None:
        return
    current = tx.store.predictor(organisation_id, project_id)
    if current is None or tx.store.model(organisation_id, project_id, message.model_id) is None:
        raise NotKnownYet(f"model {message.model_id} is not loaded yet", field="model_id", value=message.model_id)
    samples = {s.sample_id: Sample(s.sample_id, s.image_hash, s.height, s.width) for s in message.samples}
    _add(tx, current, "propose", message.batch_id, list(samples.values()))


def _add(tx: Tx[Store], model: Model, purpose: Purpose, batch_id: str, samples: list[Sample]) -> Job:
    job = Job(
        job_id=new_id("job"),
        organisation_id=model.organisation_id,
        project_id=model.project_id,
        purpose=purpose,
        model_id=model.model_id,
        batch_id=batch_id,
        num_samples=len(samples),
        num_done=0,
        num_failed=0,
        created_at=tx.clock.now(),
        started_at=None,
        finished_at=None,
    )
    return tx.store.add_job(job, samples)


def state_of(job: Job) -> Literal["queued", "running", "succeeded", "failed"]:
    """A job has failed when all its samples have; `num_failed` tells of single ones."""
    if job.finished_at is not None:
        return "failed" if job.num_failed == job.num_samples else "succeeded"
    return "queued" if job.started_at is None else "running"


def view_job(job: Job) -> PredictionJobView:
    return PredictionJobView(
        job_id=job.job_id,
        project_id=job.project_id,
        purpose=job.purpose,
        model_id=job.model_id,
        state=state_of(job),
        num_samples=job.num_samples,
        num_done=job.num_done,
        num_failed=job.num_failed,
        created_at=job.created_at,
        finished_at=job.finished_at,
    )


def view_prediction(prediction: Prediction) -> PredictionView:
    return PredictionView(
        prediction_id=prediction.prediction_id,
        sample_id=prediction.sample_id,
        model_id=prediction.model_id,
        purpose=prediction.purpose,
        mask_id=prediction.mask_id,
        height=prediction.height,
        width=prediction.width,
        entropy_mean=prediction.entropy_mean,
        margin_mean=prediction.margin_mean,
        classes=[
            ClassUncertainty(class_id=c.class_id, share=c.share, entropy=c.entropy, margin=c.margin)
            for c in prediction.classes
        ],
        embedding=[float(value) for value in prediction.embedding_D],
        latency_ms=prediction.latency_ms,
        created_at=prediction.created_at,
    )


def get_job(store: Store, organisation_id: str, project_id: str, job_id: str) -> PredictionJobView:
    require_project(store, organisation_id, project_id)
    job = store.job(organisation_id, project_id, job_id)
    if job is None:
        raise NotFound(f"no prediction job {job_id}", field="job_id", value=job_id)
    return view_job(job)


def list_jobs(
    store: Store, organisation_id: str, project_id: str, cursor: int, limit: int
) -> Page[PredictionJobView]:
    require_project(store, organisation_id, project_id)
    found = store.jobs(organisation_id, project_id, cursor, limit + 1)
    more = str(found[limit - 1].sequence) if len(found) > limit else None
    return Page(items=[view_job(job) for job in found[:limit]], next_cursor=more)


def get_prediction(store: Store, organisation_id: str, project_id: str, prediction_id: str) -> PredictionView:
    require_project(store, organisation_id, project_id)
    prediction = store.prediction(organisation_id, project_id, prediction_id)
    if prediction is None:
        raise NotFound(f"no prediction {prediction_id}", field="prediction_id", value=prediction_id)
    return view_prediction(prediction)


def list_predictions(
    store: Store,
    organisation_id: str,
    project_id: str,
    *,
    sample_id: str | None,
    model_id: str | None,
    cursor: int,
    limit: int,
) -> Page[PredictionView]:
    require_project(store, organisation_id, project_id)
    found = store.predictions(
        organisation_id, project_id, sample_id=sample_id, model_id=model_id, after=cursor, limit=limit + 1
    )
    more = str(found[limit - 1].sequence) if len(found) > limit else None
    return Page(items=[view_prediction(p) for p in found[:limit]], next_cursor=more)
