"""What the service needs of the world: its tables, a model runtime, the mask storage service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from terrazzo_inference.domain.model import ModelDescription
from terrazzo_inference.domain.summary import ClassSummary, LabelMap
from terrazzo_runtime.clock import Clock
from terrazzo_runtime.unit_of_work import UnitOfWork

Purpose = Literal["score", "propose"]


class ModelRuntime(Protocol):
    """Runs models of a Triton-layout repository. Several threads may call it at once.

    A swap is `load(new)`, then `unload(old)`: an `infer` on the old one that has begun ends as usual.
    """

    def load(self, model_name: str, version: int) -> ModelDescription:
        """Make it ready to answer; does nothing (and is quick) when it is already.

        Raises ModelMissing when the repository has no such version, BadModel when its files are not
        what they should be. A version that was loaded before stays loaded then.
        """
        ...

    def unload(self, model_name: str, version: int) -> None:
        """Let go of it. Requests that have begun end as usual. Does nothing when it isn't loaded."""
        ...

    def metadata(self, model_name: str, version: int) -> ModelDescription:
        """Raises NotLoaded."""
        ...

    def loaded(self) -> list[tuple[str, int]]:
        """(model_name, version) of what can answer now, sorted."""
        ...

    def infer(
        self, model_name: str, version: int, images_NCHW: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """RGB 0..255 float32, sides multiples of the stride -> logits_NKHW, embedding_ND, both float32.

        Raises NotLoaded, or BadOutput when the model fails or answers in another shape.
        """
        ...


class Library(Protocol):
    """The mask storage service, as far as predicting needs it.

    Both raise Unavailable when another try may help, and another TerrazzoError when none will.
    """

    def image(self, organisation_id: str, project_id: str, image_hash: str) -> NDArray[np.uint8]:
        """The image's pixels, uint8 RGB (H, W, 3)."""
        ...

    def keep_proposal(
        self, organisation_id: str, project_id: str, sample_id: str, model_id: str, labels_HW: LabelMap
    ) -> str:
        """Store a label map as this model's proposal; its mask id. The same pixels have the same id."""
        ...


@dataclass(frozen=True)
class Project:
    project_id: str
    organisation_id: str
    name: str
    ontology_json: str
    ontology_version: int
    held_out_percent: int
    qa_settings: str


@dataclass(frozen=True)
class Sample:
    sample_id: str
    image_hash: str
    height: int
    width: int


@dataclass(frozen=True)
class Model:
    """A model version that was promoted once. The project's current one is its predictor."""

    model_id: str
    organisation_id: str
    project_id: str
    model_name: str
    version: int
    class_ids: tuple[int, ...]
    tile_px: int
    loaded_at: datetime


@dataclass(frozen=True)
class Job:
    job_id: str
    organisation_id: str
    project_id: str
    purpose: Purpose
    model_id: str
    batch_id: str
    num_samples: int
    num_done: int
    num_failed: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    sequence: int = 0


@dataclass(frozen=True)
class Item:
    """One sample of a job. `attempts` counts the tries that failed."""

    job: Job
    position: int
    sample: Sample
    attempts: int


@dataclass(frozen=True)
class Prediction:
    prediction_id: str
    organisation_id: str
    project_id: str
    sample_id: str
    model_id: str
    job_id: str
    batch_id: str
    purpose: Purpose
    mask_id: str | None
    height: int
    width: int
    entropy_mean: float
    margin_mean: float
    classes: tuple[ClassSummary, ...]
    embedding_D: NDArray[np.float32]
    latency_ms: float
    created_at: datetime
    sequence: int = 0


class Store(Protocol):
    """The service's tables, inside one transaction. Every query is within an organisation."""

    def put_project(self, project: Project) -> None: ...

    def project(self, organisation_id: str, project_id: str) -> Project | None: ...

    def put_ontology(self, organisation_id: str, project_id: str, version: int, ontology_json: str) -> bool:
        """False when the project isn't known. An older version than the kept one changes nothing."""
        ...

    def put_sample(self, organisation_id: str, project_id: str, sample: Sample, split: str, name: str) -> None: ...

    def samples(self, organisation_id: str, project_id: str, sample_ids: Sequence[str]) -> dict[str, Sample]: ...

    def put_predictor(self, model: Model) -> None:
        """Keep the model and let it answer for its project from now on."""
        ...

    def predictor(self, organisation_id: str, project_id: str) -> Model | None:
        """The project's current model."""
        ...

    def model(self, organisation_id: str, project_id: str, model_id: str) -> Model | None: ...

    def models_in_use(self) -> set[tuple[str, int]]:
        """(name, version) of every current predictor and of every model that an unfinished job waits for."""
        ...

    def add_job(self, job: Job, samples: Sequence[Sample]) -> Job: ...

    def job(self, organisation_id: str, project_id: str, job_id: str) -> Job | None: ...

    def job_of_batch(self, organisation_id: str, project_id: str, batch_id: str) -> Job | None: ...

    def jobs(self, organisation_id: str, project_id: str, after: int, limit: int) -> list[Job]:
        """In the order in which they came; `after` is the sequence of the last one seen."""
        ...

    def next_item(self, now: datetime) -> Item | None:
        """What is to be predicted next: proposals (people wait for them) before scores, then in order."""
        ...

    def is_waiting(self, job_id: str, position: int) -> bool: ...

    def start_job(self, job_id: str, now: datetime) -> None: ...

    def postpone(self, job_id: str, position: int, attempts: int, until: datetime, reason: str) -> None: ...

    def finish_item(self, job_id: str, position: int, *, reason: str | None, now: datetime) -> None:
        """Done (reason None) or failed; counts it in the job, and finishes the job with its last item."""
        ...

    def add_prediction(self, prediction: Prediction) -> None: ...

    def prediction(self, organisation_id: str, project_id: str, prediction_id: str) -> Prediction | None: ...

    def predictions(
        self,
        organisation_id: str,
        project_id: str,
        *,
        sample_id: str | None,
        model_id: str | None,
        after: int,
        limit: int,
    ) -> list[Prediction]: ...


@dataclass(frozen=True)
class Deps:
    """What handlers, endpoints and consumers are given; service.py fills it in."""

    uow: UnitOfWork[Store]
    runtime: ModelRuntime
    library: Library
    clock: Clock
