"""Disputed regions that need one more person."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request

from terrazzo_qa.api.parameters import Cursor, Insider, Limit, PathId, deps_of, next_cursor
from terrazzo_qa.domain.records import Adjudication, Listing
from terrazzo_qa.handlers import projects
from terrazzo_runtime.http import problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Box, Page
from terrazzo_schema.rest.qa import AdjudicationView

router = APIRouter(prefix="/v1/adjudications", tags=["adjudications"])


@router.get("/{project_id}", operation_id="list_adjudications", responses=problems(401, 403, 404, 422))
def list_adjudications(
    project_id: PathId, caller: Insider, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[AdjudicationView]:
    """Adjudications, the oldest first."""
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        rows = store.adjudications(caller.organisation_id, project_id, Listing(limit + 1, cursor))
    return Page(
        items=[_view(row) for row in rows[:limit]],
        next_cursor=next_cursor(rows, limit, [row.adjudication_id for row in rows]),
    )


@router.get(
    "/{project_id}/{adjudication_id}",
    operation_id="get_adjudication",
    responses=problems(401, 403, 404, 422),
)
def get_adjudication(
    project_id: PathId, adjudication_id: PathId, caller: Insider, request: Request
) -> AdjudicationView:
    """One adjudication; `mask_id` is the settled mask once it is decided (null: removed)."""
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        row = store.adjudication(caller.organisation_id, project_id, adjudication_id)
    if row is None:
        raise NotFound(f"no adjudication {adjudication_id}", field="adjudication_id", value=adjudication_id)
    return _view(row)


def _view(row: Adjudication) -> AdjudicationView:
    return AdjudicationView(
        adjudication_id=row.adjudication_id,
        task_id=row.task_id,
        merge_id=row.merge_id,
        sample_id=row.sample.sample_id,
        region=Box(**asdict(row.region)),
        disputed_pixels=row.disputed_pixels,
        base_mask_id=row.base_mask_id,
        removed_by=row.removed_by,
        state=row.state,
        decided_by=row.decided_by,
        mask_id=row.mask_id,
        created_at=row.created_at,
    )
