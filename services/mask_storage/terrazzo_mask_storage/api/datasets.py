"""Dataset versions over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Cursor, Given, ProjectId, Ref, SampleId, scope_of
from terrazzo_mask_storage.handlers import datasets
from terrazzo_mask_storage.handlers.merging.gates import keeping_reports
from terrazzo_mask_storage.handlers.refs import MAIN, resolve
from terrazzo_runtime.http import RequestOnce, problems
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import (
    BranchView,
    CommitCreate,
    CommitView,
    Entry,
    StageCreate,
    StatusView,
    TagCreate,
    TagView,
)

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
BranchName = Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]


@router.post("/{project_id}/stage", operation_id="stage", responses=problems(400, 401, 403, 404, 422))
def stage(
    project_id: ProjectId, command: StageCreate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> StatusView:
    """Put masks on a branch's working set by hand."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, StatusView, lambda tx: datasets.stage(tx, deps, scope, command))


@router.get("/{project_id}/status", operation_id="status", responses=problems(401, 403, 404, 422))
def status(project_id: ProjectId, caller: edge.Insider, deps: Given, branch: BranchName = MAIN) -> StatusView:
    """What the branch's next commit would change (at most 10,000 sample ids are listed)."""
    with deps.uow.read() as store:
        return datasets.status(store, scope_of(caller, project_id), branch)


@router.post(
    "/{project_id}/commits",
    status_code=201,
    operation_id="commit",
    responses=problems(400, 401, 403, 404, 409, 422, 507),
)
def commit(
    project_id: ProjectId, command: CommitCreate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> CommitView:
    """Make what is staged a new version, unless gates refuse it. Of `sample_ids` those that are staged count."""
    scope = scope_of(caller, project_id)
    with keeping_reports(deps, scope):
        return deps.uow.once(once, CommitView, lambda tx: datasets.commit(tx, deps, scope, command, caller))


@router.get("/{project_id}/commits", operation_id="log", responses=problems(401, 403, 404, 422))
def log(
    project_id: ProjectId,
    caller: edge.Insider,
    deps: Given,
    ref: Ref = MAIN,
    cursor: Cursor = None,
    limit: edge.Limit = 100,
) -> Page[CommitView]:
    """Commits from `ref` back to the first, newest first."""
    with deps.uow.read() as store:
        return datasets.log(store, scope_of(caller, project_id), ref, cursor, limit)


@router.get("/{project_id}/commits/{ref:path}", operation_id="show", responses=problems(401, 403, 404, 422))
def show(
    project_id: ProjectId,
    ref: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")],
    caller: edge.Insider,
    deps: Given,
) -> CommitView:
    """The commit that a commit id (or 8 and more digits of it), a branch or a tag names."""
    with deps.uow.read() as store:
        return datasets.commit_view(resolve(store, scope_of(caller, project_id), ref))


@router.get("/{project_id}/entries", operation_id="entries", responses=problems(401, 403, 404, 422))
def entries(
    project_id: ProjectId,
    caller: edge.Insider,
    deps: Given,
    ref: Ref = MAIN,
    cursor: Cursor = None,
    limit: edge.Limit = 1_000,
) -> Page[Entry]:
    """The samples of a version, by sample id."""
    return datasets.entries(deps, scope_of(caller, project_id), ref, cursor, limit)


@router.get("/{project_id}/entries/{sample_id}", operation_id="entry", responses=problems(401, 403, 404, 422))
def entry(project_id: ProjectId, sample_id: SampleId, caller: edge.Insider, deps: Given, ref: Ref = MAIN) -> Entry:
    return datasets.entry(deps, scope_of(caller, project_id), ref, sample_id)


@router.post(
    "/{project_id}/tags", status_code=201, operation_id="tag", responses=problems(400, 401, 403, 404, 409, 422)
)
def tag(
    project_id: ProjectId, command: TagCreate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> TagView:
    """Name a commit. A tag does not move."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, TagView, lambda tx: datasets.tag(tx, scope, command))


@router.get("/{project_id}/tags", operation_id="tags", responses=problems(401, 403, 404, 422))
def tags(
    project_id: ProjectId, caller: edge.Insider, deps: Given, cursor: Cursor = None, limit: edge.Limit = 100
) -> Page[TagView]:
    """Tags by name."""
    with deps.uow.read() as store:
        return datasets.tags(store, scope_of(caller, project_id), cursor, limit)


@router.get("/{project_id}/branches", operation_id="branches", responses=problems(401, 403, 404, 422))
def branches(project_id: ProjectId, caller: edge.Insider, deps: Given) -> Page[BranchView]:
    """Branches by name, with the commit that each is at."""
    with deps.uow.read() as store:
        return datasets.branches(store, scope_of(caller, project_id))
