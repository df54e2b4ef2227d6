"""HTTP in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from terrazzo_inference.handlers import jobs, models
from terrazzo_inference.ports import Deps
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import RequestOnce, allow, problems
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.inference import PredictionJobCreate, PredictionJobView, PredictionView, PredictorView

router = APIRouter(prefix="/v1", tags=["inference"])


def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


Given = Annotated[Deps, Depends(_deps)]
# Vendors see their tasks' proposals through the task, not the project's predictions.
Reader = Annotated[Principal, allow("manager", "reviewer", "annotator", "trainer", "viewer")]
Manager = Annotated[Principal, allow("manager")]
ProjectId = Annotated[str, Path(max_length=100)]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$", description="next_cursor of the page before")]
Limit = Annotated[int, Query(ge=1, le=1_000)]


@router.post(
    "/predictions/{project_id}",
    status_code=202,
    operation_id="create_prediction_job",
    responses=problems(401, 403, 404, 409, 413, 422),
)
def create_prediction_job(
    project_id: ProjectId, command: PredictionJobCreate, caller: Manager, once: RequestOnce, deps: Given
) -> PredictionJobView:
    """Queue predictions of samples by the project's current model."""
    return deps.uow.once(
        once, PredictionJobView, lambda tx: jobs.create_job(tx, caller.organisation_id, project_id, command)
    )


@router.get(
    "/predictions/{project_id}/jobs",
    operation_id="list_prediction_jobs",
    responses=problems(401, 403, 404, 422),
)
def list_prediction_jobs(
    project_id: ProjectId, caller: Reader, deps: Given, cursor: Cursor = None, limit: Limit = 100
) -> Page[PredictionJobView]:
    """The project's prediction jobs, oldest first."""
    with deps.uow.read() as store:
        return jobs.list_jobs(store, caller.organisation_id, project_id, int(cursor or 0), limit)


@router.get(
    "/predictions/{project_id}/jobs/{job_id}",
    operation_id="get_prediction_job",
    responses=problems(401, 403, 404, 422),
)
def get_prediction_job(
    project_id: ProjectId, job_id: Annotated[str, Path(max_length=100)], caller: Reader, deps: Given
) -> PredictionJobView:
    """How far a job is. It has failed when all of its samples have."""
    with deps.uow.read() as store:
        return jobs.get_job(store, caller.organisation_id, project_id, job_id)


@router.get("/predictions/{project_id}", operation_id="list_predictions", responses=problems(401, 403, 404, 422))
def list_predictions(
    project_id: ProjectId,
    caller: Reader,
    deps: Given,
    sample_id: Annotated[str | None, Query(max_length=100)] = None,
    model_id: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[PredictionView]:
    """The project's predictions, oldest first; of one sample or one model where it is named."""
    with deps.uow.read() as store:
        return jobs.list_predictions(
            store,
            caller.organisation_id,
            project_id,
            sample_id=sample_id,
            model_id=model_id,
            cursor=int(cursor or 0),
            limit=limit,
        )


@router.get(
    "/predictions/{project_id}/{prediction_id}",
    operation_id="get_prediction",
    responses=problems(401, 403, 404, 422),
)
def get_prediction(
    project_id: ProjectId, prediction_id: Annotated[str, Path(max_length=100)], caller: Reader, deps: Given
) -> PredictionView:
    """One prediction: uncertainty, per class too, and the image's embedding."""
    with deps.uow.read() as store:
        return jobs.get_prediction(store, caller.organisation_id, project_id, prediction_id)


@router.get("/predictors/{project_id}", operation_id="get_predictor", responses=problems(401, 403, 404, 422))
def get_predictor(project_id: ProjectId, caller: Reader, deps: Given) -> PredictorView:
    """The model that answers for the project now."""
    with deps.uow.read() as store:
        return models.view_predictor(store, caller.organisation_id, project_id)
