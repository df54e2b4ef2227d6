"""REST models of the inference service."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from terrazzo_schema.rest.base import Command, Share, View

JobState = Literal["queued", "running", "succeeded", "failed"]


class PredictionJobCreate(Command):
    """Predict samples with the project's current model.

    `score` keeps uncertainty and embedding only; `propose` also stores the label map as a mask.
    """

    sample_ids: Annotated[list[str], Field(min_length=1, max_length=100_000)]
    purpose: Literal["score", "propose"] = "score"


class PredictionJobView(View):
    job_id: str
    project_id: str
    purpose: Literal["score", "propose"]
    model_id: str
    state: JobState
    num_samples: int
    num_done: int
    num_failed: int
    created_at: datetime
    finished_at: datetime | None


class ClassUncertainty(View):
    class_id: int
    share: Share
    entropy: Share
    margin: Share


class PredictionView(View):
    prediction_id: str
    sample_id: str
    model_id: str
    purpose: Literal["score", "propose"]
    mask_id: str | None
    height: int
    width: int
    entropy_mean: Share
    margin_mean: Share
    classes: list[ClassUncertainty]
    embedding: list[float]
    latency_ms: float
    created_at: datetime


class PredictorView(View):
    """The model that answers for a project now."""

    project_id: str
    model_id: str
    model_name: str
    version: int
    loaded_at: datetime
    class_ids: list[int]
    tile_px: int
