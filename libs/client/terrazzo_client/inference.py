"""Resources of the inference service: predictions and the model that answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from terrazzo_client.connection import Connection, command, path_of
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.inference import PredictionJobCreate, PredictionJobView, PredictionView, PredictorView


class Predictions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        project_id: str,
        sample_ids: Sequence[str],
        *,
        purpose: Literal["score", "propose"] = "score",
        idempotency_key: str | None = None,
    ) -> PredictionJobView:
        """Predict samples with the project's current model. Raises Conflict when it has none.

        "score" keeps uncertainty and embedding only; "propose" also stores the label maps as masks.
        """
        body = command(PredictionJobCreate, sample_ids=list(sample_ids), purpose=purpose)
        path = path_of("predictions", project_id)
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return PredictionJobView.model_validate_json(answer.content)

    def jobs(self, project_id: str) -> Iterator[PredictionJobView]:
        return self._connection.pages(path_of("predictions", project_id, "jobs"), Page[PredictionJobView])

    def job(self, project_id: str, job_id: str) -> PredictionJobView:
        return self._connection.read(path_of("predictions", project_id, "jobs", job_id), PredictionJobView)

    def wait(
        self, project_id: str, job_id: str, *, timeout_s: float = 600.0, poll_s: float = 0.2
    ) -> PredictionJobView:
        """The job once it is over. Raises WaitedTooLong."""
        over = ("succeeded", "failed")
        ask = lambda: self.job(project_id, job_id)  # noqa: E731 - a name for one line
        return self._connection.poll(ask, lambda job: job.state in over, timeout_s, poll_s)

    def list(
        self, project_id: str, *, sample_id: str | None = None, model_id: str | None = None
    ) -> Iterator[PredictionView]:
        params = {"sample_id": sample_id, "model_id": model_id}
        return self._connection.pages(path_of("predictions", project_id), Page[PredictionView], params)

    def get(self, project_id: str, prediction_id: str) -> PredictionView:
        return self._connection.read(path_of("predictions", project_id, prediction_id), PredictionView)


class Predictors:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, project_id: str) -> PredictorView:
        """The model that answers for the project now. Raises NotFound when there is none."""
        return self._connection.read(path_of("predictors", project_id), PredictorView)
