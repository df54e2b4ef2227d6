"""Random audits of accepted masks."""

from __future__ import annotations

from fastapi import APIRouter, Request

from terrazzo_qa.api.parameters import Cursor, Limit, Manager, PathId, Staff, deps_of, next_cursor
from terrazzo_qa.domain.records import Listing
from terrazzo_qa.handlers import audits, projects
from terrazzo_runtime.http import RequestOnce, problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.qa import AuditCreate, AuditView

router = APIRouter(prefix="/v1/audits", tags=["audits"])


@router.post(
    "/{project_id}",
    status_code=201,
    operation_id="create_audit",
    responses=problems(401, 403, 404, 409, 422),
)
def create_audit(
    project_id: PathId, body: AuditCreate, caller: Manager, once: RequestOnce, request: Request
) -> AuditView:
    """Draw accepted masks of a batch by `seed`; each becomes a task for someone who did not make it.

    The same masks and the same seed give the same draw.
    """
    return deps_of(request).uow.once(
        once, AuditView, lambda tx: audits.create_audit(tx, caller.organisation_id, project_id, body)
    )


@router.get("/{project_id}", operation_id="list_audits", responses=problems(401, 403, 404, 422))
def list_audits(
    project_id: PathId, caller: Staff, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[AuditView]:
    """Audits with their items, the oldest first."""
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        rows = store.audits(caller.organisation_id, project_id, Listing(limit + 1, cursor))
        views = [
            audits.audit_view(row, store.audit_items(caller.organisation_id, project_id, row.audit_id))
            for row in rows[:limit]
        ]
    return Page(items=views, next_cursor=next_cursor(rows, limit, [row.audit_id for row in rows]))


@router.get("/{project_id}/{audit_id}", operation_id="get_audit", responses=problems(401, 403, 404, 422))
def get_audit(project_id: PathId, audit_id: PathId, caller: Staff, request: Request) -> AuditView:
    """One audit; the bound is there when every item is judged."""
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        row = store.audit(caller.organisation_id, project_id, audit_id)
        if row is None:
            raise NotFound(f"no audit {audit_id}", field="audit_id", value=audit_id)
        return audits.audit_view(row, store.audit_items(caller.organisation_id, project_id, audit_id))
