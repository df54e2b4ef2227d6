"""Resources of the training service: runs and the model registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terrazzo_client.connection import Connection, command, path_of
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.training import ModelView, PromoteCreate, PromotionView, RunCreate, RunView


class Runs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        project_id: str,
        ref: str,
        *,
        eval_ref: str | None = None,
        init_from: str | None = None,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> RunView:
        """Queue a training on the dataset version `ref` (commit id, branch or tag), evaluated on the
        held-out samples of `eval_ref` (None: of `ref`). `config` overrides the trainer's defaults by name;
        `init_from` is a model id whose weights it starts from."""
        body = command(
            RunCreate,
            project_id=project_id,
            ref=ref,
            eval_ref=eval_ref,
            init_from=init_from,
            seed=seed,
            config=dict(config or {}),
        )
        answer = self._connection.write("POST", path_of("runs"), body, idempotency_key=idempotency_key)
        return RunView.model_validate_json(answer.content)

    def list(self, project_id: str | None = None) -> Iterator[RunView]:
        """Runs, newest first."""
        return self._connection.pages(path_of("runs"), Page[RunView], {"project_id": project_id})

    def get(self, run_id: str) -> RunView:
        return self._connection.read(path_of("runs", run_id), RunView)

    def cancel(self, run_id: str, *, idempotency_key: str | None = None) -> RunView:
        """Stop a run that is queued or running. Raises Conflict when it is over."""
        path = path_of("runs", run_id, "cancel")
        answer = self._connection.write("POST", path, idempotency_key=idempotency_key)
        return RunView.model_validate_json(answer.content)

    def log(self, run_id: str) -> str:
        """What the trainer printed so far."""
        return self._connection.content(path_of("runs", run_id, "log")).decode("utf-8", "replace")

    def wait(self, run_id: str, *, timeout_s: float = 3_600.0, poll_s: float = 0.5) -> RunView:
        """The run once it has succeeded, failed or been cancelled. Raises WaitedTooLong."""
        over = ("succeeded", "failed", "cancelled")
        return self._connection.poll(lambda: self.get(run_id), lambda run: run.state in over, timeout_s, poll_s)


class Models:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, project_id: str | None = None) -> Iterator[ModelView]:
        """Registered models, newest first."""
        return self._connection.pages(path_of("models"), Page[ModelView], {"project_id": project_id})

    def get(self, model_id: str) -> ModelView:
        return self._connection.read(path_of("models", model_id), ModelView)

    def promote(
        self, model_id: str, *, only_if_better: bool = True, idempotency_key: str | None = None
    ) -> PromotionView:
        """Make it the project's model. With `only_if_better` the present one stays unless this one's
        held-out mIoU is higher; `promoted` and `reason` say what happened."""
        body = command(PromoteCreate, only_if_better=only_if_better)
        path = path_of("models", model_id, "promote")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return PromotionView.model_validate_json(answer.content)
