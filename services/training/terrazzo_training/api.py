"""HTTP in: runs and models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import PlainTextResponse

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import RequestOnce, allow, problems
from terrazzo_schema.ids import ID_PATTERN
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.training import ModelView, PromoteCreate, PromotionView, RunCreate, RunView
from terrazzo_training import handlers
from terrazzo_training.handlers import Deps

router = APIRouter(prefix="/v1", tags=["training"])

# A vendor sees only what was handed to it: no runs, no models.
Reader = Annotated[Principal, allow("manager", "reviewer", "annotator", "trainer", "viewer")]
Trainer = Annotated[Principal, allow("manager", "trainer")]
Manager = Annotated[Principal, allow("manager")]
IdInPath = Annotated[str, Path(pattern=ID_PATTERN, max_length=70)]
ProjectId = Annotated[str | None, Query(pattern=ID_PATTERN, max_length=70)]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")]
Limit = Annotated[int, Query(ge=1, le=1_000)]


def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


def _sequence(cursor: str | None) -> int | None:
    return None if cursor is None else int(cursor)


@router.post("/runs", status_code=201, operation_id="create_run", responses=problems(401, 403, 404, 422))
def create_run(request: Request, caller: Trainer, once: RequestOnce, body: RunCreate) -> RunView:
    """Queue a training on a dataset version."""
    return _deps(request).uow.once(once, RunView, lambda tx: handlers.create_run(tx, caller.organisation_id, body))


@router.get("/runs", operation_id="list_runs", responses=problems(401, 403, 422))
def list_runs(
    request: Request, caller: Reader, project_id: ProjectId = None, cursor: Cursor = None, limit: Limit = 100
) -> Page[RunView]:
    """Runs, newest first."""
    with _deps(request).uow.read() as store:
        return handlers.list_runs(store, caller.organisation_id, project_id, _sequence(cursor), limit)


@router.get("/runs/{run_id}", operation_id="get_run", responses=problems(401, 403, 404, 422))
def get_run(request: Request, caller: Reader, run_id: IdInPath) -> RunView:
    """A run and its epochs so far."""
    with _deps(request).uow.read() as store:
        return handlers.get_run(store, caller.organisation_id, run_id)


@router.post("/runs/{run_id}/cancel", operation_id="cancel_run", responses=problems(401, 403, 404, 409, 422))
def cancel_run(request: Request, caller: Trainer, once: RequestOnce, run_id: IdInPath) -> RunView:
    """Stop a run that is queued or running. Cancelling it again changes nothing."""
    return _deps(request).uow.once(
        once, RunView, lambda tx: handlers.cancel_run(tx, caller.organisation_id, run_id)
    )


@router.get(
    "/runs/{run_id}/log",
    operation_id="get_run_log",
    response_class=PlainTextResponse,
    responses=problems(401, 403, 404, 422),
)
def get_run_log(request: Request, caller: Reader, run_id: IdInPath) -> PlainTextResponse:
    """What the trainer printed so far; the end of it where it is long."""
    deps = _deps(request)
    with deps.uow.read() as store:
        handlers.get_run(store, caller.organisation_id, run_id)
    return PlainTextResponse(deps.launcher.log(run_id))


@router.get("/models", operation_id="list_models", responses=problems(401, 403, 422))
def list_models(
    request: Request, caller: Reader, project_id: ProjectId = None, cursor: Cursor = None, limit: Limit = 100
) -> Page[ModelView]:
    """Registered models, newest first."""
    with _deps(request).uow.read() as store:
        return handlers.list_models(store, caller.organisation_id, project_id, _sequence(cursor), limit)


@router.get("/models/{model_id}", operation_id="get_model", responses=problems(401, 403, 404, 422))
def get_model(request: Request, caller: Reader, model_id: IdInPath) -> ModelView:
    """A model version: its lineage and its figures."""
    with _deps(request).uow.read() as store:
        return handlers.get_model(store, caller.organisation_id, model_id)


@router.post("/models/{model_id}/promote", operation_id="promote_model", responses=problems(401, 403, 404, 422))
def promote_model(
    request: Request, caller: Manager, once: RequestOnce, model_id: IdInPath, body: PromoteCreate
) -> PromotionView:
    """Make it the model that the project is served with, if it is better (or in any case)."""
    return _deps(request).uow.once(
        once, PromotionView, lambda tx: handlers.promote_model(tx, caller.organisation_id, model_id, body)
    )
