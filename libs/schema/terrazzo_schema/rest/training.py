"""REST models of the training service: runs and the model registry."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from terrazzo_schema.rest.base import Command, Id, Seed, View

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class RunCreate(Command):
    """Train on a dataset version (commit id, branch or tag) and evaluate on another, held out.

    `config` overrides the trainer's defaults by name (arch, epochs, crop_px, ...); an unknown name
    is refused. `init_from` continues from a registered model's weights.
    """

    project_id: Id
    ref: Annotated[str, Field(min_length=1, max_length=200)]
    eval_ref: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    init_from: Id | None = None
    seed: Seed = 0
    config: dict[str, Any] = Field(default_factory=dict)


class EpochView(View):
    epoch: int
    loss: float
    learning_rate: float
    seconds: float


class RunView(View):
    run_id: str
    project_id: str
    state: RunState
    commit_id: str
    eval_commit_id: str | None
    init_from: str | None
    seed: int
    config: dict[str, Any]
    num_epochs: int
    epochs: list[EpochView]
    model_id: str | None
    reason: str | None = Field(description="why it failed")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Metrics(View):
    miou: float | None
    pixel_accuracy: float | None
    iou_per_class: dict[int, float | None]
    miou_per_level: list[float | None]
    class_ids: list[int]
    confusion: list[list[int]] = Field(description="rows: truth, columns: prediction, in class_ids order")
    num_samples: int


class ModelView(View):
    """A registered model version, with its lineage."""

    model_id: str
    project_id: str
    run_id: str
    commit_id: str
    eval_commit_id: str | None
    parent_model_id: str | None
    model_name: str
    version: int
    arch: str
    seed: int
    config: dict[str, Any]
    code_version: str
    metrics: Metrics
    state: Literal["registered", "promoted", "retired"]
    created_at: datetime
    promoted_at: datetime | None


class PromoteCreate(Command):
    """`only_if_better` keeps the present model unless this one's held-out mIoU is higher."""

    only_if_better: bool = True


class PromotionView(View):
    promoted: bool
    model: ModelView
    reason: str
