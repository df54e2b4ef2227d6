"""The work itself: sample by sample, each finished in one commit, so a restart goes on with the next."""

from __future__ import annotations

import logging
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from terrazzo_inference.domain.errors import NotLoaded
from terrazzo_inference.domain.model import ModelDescription
from terrazzo_inference.domain.summary import Summarizer, Summary, image_embedding
from terrazzo_inference.domain.windows import plan, slide
from terrazzo_inference.handlers.models import release_unused
from terrazzo_inference.ports import Deps, Item, Model, ModelRuntime, Prediction
from terrazzo_schema.errors import Conflict, TerrazzoError, Unavailable, Unprocessable
from terrazzo_schema.events import ClassShare, PredictionFailed, PredictionReady
from terrazzo_schema.ids import new_id

log = logging.getLogger("terrazzo.inference")
MAX_ATTEMPTS = 8
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


def predict_next(deps: Deps) -> int:
    """Predict the next waiting sample, if there is one. Returns how many were worked on: 0 or 1.

    What may pass by itself (mask storage is away, a model's files are on the way) is tried again, up to
    8 times in about a minute; then, or at once for what can't pass, PredictionFailed says why.
    """
    with deps.uow.read() as store:
        item = store.next_item(deps.clock.now())
        if item is None:
            return 0
        model = store.model(item.job.organisation_id, item.job.project_id, item.job.model_id)
    assert model is not None, "a job's model is never deleted"
    try:
        prediction = _predict(deps, item, model)
    except Exception as error:  # noqa: BLE001 - whatever it is, this sample must not hold up the others
        _note_failure(deps, item, error)
        return 1
    _finish(deps, item, prediction)
    return 1


def _predict(deps: Deps, item: Item, model: Model) -> Prediction:
    job, sample = item.job, item.sample
    description = deps.runtime.load(model.model_name, model.version)  # quick when it is loaded
    image_HWC = deps.library.image(job.organisation_id, job.project_id, sample.image_hash)
    if image_HWC.shape[:2] != (sample.height, sample.width):
        raise Unprocessable(
            f"image {sample.image_hash} has {image_HWC.shape[0]} x {image_HWC.shape[1]} pixels, sample "
            f"{sample.sample_id} says {sample.height} x {sample.width}"
        )
    begun_s = deps.clock.monotonic_s()
    summary, embedding_D = predict_image(deps.runtime, model, description, image_HWC)
    latency_ms = (deps.clock.monotonic_s() - begun_s) * 1_000.0
    mask_id: str | None = None
    if job.purpose == "propose":
        mask_id = deps.library.keep_proposal(
            job.organisation_id, job.project_id, sample.sample_id, job.model_id, summary.labels_HW
        )
    return Prediction(
        prediction_id=new_id("prd"),
        organisation_id=job.organisation_id,
        project_id=job.project_id,
        sample_id=sample.sample_id,
        model_id=job.model_id,
        job_id=job.job_id,
        batch_id=job.batch_id,
        purpose=job.purpose,
        mask_id=mask_id,
        height=sample.height,
        width=sample.width,
        entropy_mean=summary.entropy_mean,
        margin_mean=summary.margin_mean,
        classes=summary.classes,
        embedding_D=embedding_D,
        latency_ms=latency_ms,
        created_at=deps.clock.now(),
    )


def predict_image(
    runtime: ModelRuntime, model: Model, description: ModelDescription, image_HWC: NDArray[np.uint8]
) -> tuple[Summary, NDArray[np.float32]]:
    """An image of any size, uint8 RGB -> its summary with label map, and its embedding float32 (D,), length 1."""
    height, width = image_HWC.shape[:2]
    grid = plan(
        height,
        width,
        tile_px=description.tile_px,
        overlap_px=description.overlap_px,
        stride_px=description.stride_px,
    )
    embeddings_ND: list[NDArray[np.float32]] = []

    def infer(images_NCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            logits_NKHW, embedding_ND = runtime.infer(model.model_name, model.version, images_NCHW)
        except NotLoaded:  # let go between two windows, by a swap that did not know of this image
            runtime.load(model.model_name, model.version)
            logits_NKHW, embedding_ND = runtime.infer(model.model_name, model.version, images_NCHW)
        embeddings_ND.append(embedding_ND)
        return logits_NKHW

    summarizer = Summarizer(height, width, description.class_ids)
    for band in slide(image_HWC, infer, grid):
        summarizer.add(band)
    return summarizer.finish(), image_embedding(embeddings_ND)


def _finish(deps: Deps, item: Item, prediction: Prediction) -> None:
    job, now = item.job, deps.clock.now()
    with deps.uow.begin() as tx:
        if not tx.store.is_waiting(job.job_id, item.position):
            return  # another process was quicker
        tx.store.start_job(job.job_id, now)
        tx.store.add_prediction(prediction)
        tx.store.finish_item(job.job_id, item.position, reason=None, now=now)
        tx.publish(
            PredictionReady(
                prediction_id=prediction.prediction_id,
                sample_id=prediction.sample_id,
                model_id=prediction.model_id,
                batch_id=prediction.batch_id,
                mask_id=prediction.mask_id or "",
                entropy_mean=prediction.entropy_mean,
                margin_mean=prediction.margin_mean,
                classes=[
                    ClassShare(class_id=c.class_id, share=c.share, entropy=c.entropy) for c in prediction.classes
                ],
                embedding=prediction.embedding_D.tolist(),
            ),
            key=prediction.sample_id,
            organisation_id=job.organisation_id,
            project_id=job.project_id,
        )
    _release_after(deps, item)


def _note_failure(deps: Deps, item: Item, error: Exception) -> None:
    """Try again later, or give up and say so."""
    job, now = item.job, deps.clock.now()
    attempts = item.attempts + 1
    reason = (str(error) if isinstance(error, TerrazzoError) else f"{type(error).__name__}: {error}")[:2_000]
    # A business error other than these two is about the input itself, which won't change.
    may_pass = isinstance(error, Unavailable | Conflict) or not isinstance(error, TerrazzoError)
    if not isinstance(error, TerrazzoError):
        log.error("predicting sample %s failed", item.sample.sample_id, exc_info=error)
    with deps.uow.begin() as tx:
        if not tx.store.is_waiting(job.job_id, item.position):
            return
        tx.store.start_job(job.job_id, now)
        if may_pass and attempts < MAX_ATTEMPTS:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempts - 1))
            tx.store.postpone(job.job_id, item.position, attempts, now + timedelta(seconds=wait_s), reason)
            return
        tx.store.finish_item(job.job_id, item.position, reason=reason, now=now)
        tx.publish(
            PredictionFailed(
                sample_id=item.sample.sample_id, model_id=job.model_id, batch_id=job.batch_id, reason=reason
            ),
            key=item.sample.sample_id,
            organisation_id=job.organisation_id,
            project_id=job.project_id,
        )
    _release_after(deps, item)


def _release_after(deps: Deps, item: Item) -> None:
    """The last sample of a job may have been the last to need a model that was replaced."""
    with deps.uow.read() as store:
        job = store.job(item.job.organisation_id, item.job.project_id, item.job.job_id)
    if job is not None and job.finished_at is not None:
        release_unused(deps)
