"""/v1/projects/{project_id}/batches."""

from __future__ import annotations

from fastapi import APIRouter, Request

from terrazzo_runtime.http import RequestOnce, problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.task import BatchCreate, BatchView
from terrazzo_task.api.parameters import (
    BatchId,
    Cursor,
    Insider,
    Limit,
    Manager,
    ProjectId,
    deps_of,
    page,
    sequence,
)
from terrazzo_task.handlers import batches as handlers
from terrazzo_task.handlers.projects import project_of
from terrazzo_task.handlers.views import batch_view

router = APIRouter(prefix="/v1/projects/{project_id}/batches", tags=["batches"])


@router.post("", status_code=201, operation_id="create_batch", responses=problems(400, 401, 403, 404, 409, 422))
def create_batch(
    project_id: ProjectId, command: BatchCreate, caller: Manager, once: RequestOnce, request: Request
) -> BatchView:
    """Choose what is worth labelling next, and make its tasks. They wait for proposals if there is a model."""
    uow = deps_of(request).uow
    return uow.once(once, BatchView, lambda tx: handlers.create_batch(tx, caller, project_id, command))


@router.get("", operation_id="list_batches", responses=problems(401, 403, 404, 422))
def list_batches(
    project_id: ProjectId, caller: Insider, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[BatchView]:
    """Batches, oldest first."""
    with deps_of(request).uow.read() as store:
        project_of(store, caller.organisation_id, project_id)
        found = store.batches(caller.organisation_id, project_id, sequence(cursor), limit + 1)
    return page([batch_view(b) for b in found], [str(b.sequence) for b in found], limit)


@router.get("/{batch_id}", operation_id="get_batch", responses=problems(401, 403, 404, 422))
def get_batch(project_id: ProjectId, batch_id: BatchId, caller: Insider, request: Request) -> BatchView:
    """One batch. It is closed when all its tasks are final, adjudications and audits included."""
    with deps_of(request).uow.read() as store:
        batch = store.batch(caller.organisation_id, batch_id)
    if batch is None or batch.project_id != project_id:
        raise NotFound(f"no batch {batch_id}", field="batch_id", value=batch_id)
    return batch_view(batch)


@router.post("/{batch_id}/cancel", operation_id="cancel_batch", responses=problems(401, 403, 404, 409, 422))
def cancel_batch(
    project_id: ProjectId, batch_id: BatchId, caller: Manager, once: RequestOnce, request: Request
) -> BatchView:
    """Cancel every task that is not final. Work that came in is kept."""
    uow = deps_of(request).uow
    return uow.once(once, BatchView, lambda tx: handlers.cancel_batch(tx, caller, project_id, batch_id))
