"""Gates over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Cursor, Given, ProjectId, scope_of
from terrazzo_mask_storage.handlers.merging import gates
from terrazzo_runtime.http import RequestOnce, problems
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.merges import GateReportView, GatesUpdate, GatesView

router = APIRouter(prefix="/v1/datasets", tags=["gates"])


@router.put("/{project_id}/gates", operation_id="put_gates", responses=problems(400, 401, 403, 404, 422))
def put(
    project_id: ProjectId, command: GatesUpdate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> GatesView:
    """Set the rules that proposed versions must keep (YAML). A mistake is named by its line and field."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, GatesView, lambda tx: gates.put_gates(tx, deps, scope, command, caller))


@router.get("/{project_id}/gates", operation_id="get_gates", responses=problems(401, 403, 404, 422))
def get(
    project_id: ProjectId,
    caller: edge.Insider,
    deps: Given,
    version: Annotated[int | None, Query(ge=0, le=edge.INT_MAX, description="an earlier version")] = None,
) -> GatesView:
    """The project's gates."""
    with deps.uow.read() as store:
        return gates.gates_of(store, scope_of(caller, project_id), version)


@router.get("/{project_id}/gate-reports", operation_id="gate_reports", responses=problems(401, 403, 404, 422))
def reports(
    project_id: ProjectId, caller: edge.Insider, deps: Given, cursor: Cursor = None, limit: edge.Limit = 100
) -> Page[GateReportView]:
    """What the gates said of proposed versions, the newest first."""
    with deps.uow.read() as store:
        return gates.reports(store, scope_of(caller, project_id), cursor, limit)
