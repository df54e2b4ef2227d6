"""/v1/projects: projects, ontologies, samples."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from terrazzo_runtime.http import Caller, RequestOnce, problems
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.task import (
    OntologyUpdate,
    OntologyView,
    ProjectCreate,
    ProjectView,
    SampleState,
    SampleView,
)
from terrazzo_task.api.parameters import (
    Cursor,
    IdCursor,
    Insider,
    Limit,
    Manager,
    ProjectId,
    SampleId,
    deps_of,
    page,
    sequence,
)
from terrazzo_task.handlers import projects as handlers
from terrazzo_task.handlers.views import ontology_view, project_view, sample_view

router = APIRouter(prefix="/v1/projects", tags=["projects"])


@router.post("", status_code=201, operation_id="create_project", responses=problems(400, 401, 403, 422))
def create_project(command: ProjectCreate, caller: Manager, once: RequestOnce, request: Request) -> ProjectView:
    """A project with its ontology, in the file form that is used everywhere."""
    uow = deps_of(request).uow
    return uow.once(once, ProjectView, lambda tx: handlers.create_project(tx, caller, command))


@router.get("", operation_id="list_projects", responses=problems(401, 403, 422))
def list_projects(
    caller: Insider, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[ProjectView]:
    """The organisation's projects, oldest first."""
    with deps_of(request).uow.read() as store:
        found = store.projects(caller.organisation_id, sequence(cursor), limit + 1)
    return page([project_view(p) for p in found], [str(p.sequence) for p in found], limit)


@router.get("/{project_id}", operation_id="get_project", responses=problems(401, 404, 422))
def get_project(project_id: ProjectId, caller: Caller, request: Request) -> ProjectView:
    """One project."""
    with deps_of(request).uow.read() as store:
        return project_view(handlers.project_of(store, caller.organisation_id, project_id))


@router.get("/{project_id}/ontology", operation_id="get_ontology", responses=problems(401, 404, 422))
def get_ontology(
    project_id: ProjectId,
    caller: Caller,
    request: Request,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> OntologyView:
    """The newest version of the ontology, or the one asked for."""
    with deps_of(request).uow.read() as store:
        return ontology_view(handlers.ontology_of(store, caller.organisation_id, project_id, version))


@router.put("/{project_id}/ontology", operation_id="update_ontology", responses=problems(400, 401, 403, 404, 422))
def update_ontology(
    project_id: ProjectId, command: OntologyUpdate, caller: Manager, once: RequestOnce, request: Request
) -> OntologyView:
    """A new version. Classes may be added, renamed, recoloured, moved and removed; ids never change meaning."""
    uow = deps_of(request).uow
    return uow.once(once, OntologyView, lambda tx: handlers.update_ontology(tx, caller, project_id, command))


@router.get("/{project_id}/samples", operation_id="list_samples", responses=problems(401, 403, 404, 422))
def list_samples(
    project_id: ProjectId,
    caller: Insider,
    request: Request,
    split: Annotated[str | None, Query(pattern="^(train|held_out)$")] = None,
    state: SampleState | None = None,
    cursor: IdCursor = None,
    limit: Limit = 100,
) -> Page[SampleView]:
    """Samples by id."""
    with deps_of(request).uow.read() as store:
        handlers.project_of(store, caller.organisation_id, project_id)
        found = store.samples(
            caller.organisation_id, project_id, split=split, state=state, after=cursor, limit=limit + 1
        )
    return page([sample_view(s) for s in found], [s.sample_id for s in found], limit)


@router.get("/{project_id}/samples/{sample_id}", operation_id="get_sample", responses=problems(401, 403, 404, 422))
def get_sample(project_id: ProjectId, sample_id: SampleId, caller: Insider, request: Request) -> SampleView:
    """One sample. An image that was just stored is known here a moment later."""
    with deps_of(request).uow.read() as store:
        handlers.project_of(store, caller.organisation_id, project_id)
        sample = store.sample(caller.organisation_id, project_id, sample_id)
    if sample is None:
        raise NotKnownYet(f"no sample {sample_id}", field="sample_id", value=sample_id)
    return sample_view(sample)
