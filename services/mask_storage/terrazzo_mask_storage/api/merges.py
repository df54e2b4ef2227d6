"""Merges, reverts, cherry-picks and branches over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Cursor, Given, ProjectId, scope_of
from terrazzo_mask_storage.handlers import blames
from terrazzo_mask_storage.handlers.merging import branches, merges, picks, rulings
from terrazzo_mask_storage.handlers.merging.gates import refusal
from terrazzo_mask_storage.handlers.merging.merge_views import merge_view
from terrazzo_runtime.http import RequestOnce, problems
from terrazzo_schema.errors import Forbidden
from terrazzo_schema.ids import ID_PATTERN
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import BranchView, CommitView
from terrazzo_schema.rest.merges import (
    BlameRegionView,
    BranchCreate,
    CherryPickCreate,
    ConflictView,
    MergeComplete,
    MergeCreate,
    MergeView,
    Resolution,
    RevertCreate,
)

router = APIRouter(prefix="/v1/datasets", tags=["merges"])
MergeId = Annotated[str, Path(pattern=ID_PATTERN, max_length=100)]


@router.post(
    "/{project_id}/merges",
    status_code=201,
    operation_id="merge",
    responses=problems(400, 401, 403, 404, 409, 422, 507),
)
def merge(
    project_id: ProjectId, command: MergeCreate, caller: edge.Insider, deps: Given, once: RequestOnce
) -> MergeView:
    """Merge a version into a branch, by sample, tile and pixel. Conflicts become tasks; gates may refuse it.

    A dry run changes nothing, and every role but a vendor's may do one (a CI job needs no manager's key).
    """
    if not command.dry_run and caller.role not in ("manager", "admin", "service"):
        raise Forbidden(
            f"the role {caller.role!r} may not merge",
            field="role",
            value=caller.role,
            remedy="use a manager's key, or a dry run",
        )
    view = merges.merge(deps, scope_of(caller, project_id), command, caller, once)
    return view if command.dry_run else _let_pass(view)


def _let_pass(view: MergeView) -> MergeView:
    """A refused merge is kept, and its answer is a problem with the reasons."""
    if view.state == "refused" and view.gates is not None:
        raise refusal(view.gates, f"the merge {view.merge_id} into {view.target!r}")
    return view


@router.get("/{project_id}/merges", operation_id="merges", responses=problems(401, 403, 404, 422))
def list_merges(
    project_id: ProjectId, caller: edge.Insider, deps: Given, cursor: Cursor = None, limit: edge.Limit = 100
) -> Page[MergeView]:
    """Merges, the newest first."""
    with deps.uow.read() as store:
        return rulings.merges(store, scope_of(caller, project_id), cursor, limit)


@router.get("/{project_id}/merges/{merge_id}", operation_id="get_merge", responses=problems(401, 403, 404, 422))
def get_merge(project_id: ProjectId, merge_id: MergeId, caller: edge.Insider, deps: Given) -> MergeView:
    """One merge, with its first conflicts and what the gates said."""
    scope = scope_of(caller, project_id)
    with deps.uow.read() as store:
        return merge_view(store, scope, rulings.known_merge(store, scope, merge_id))


@router.get(
    "/{project_id}/merges/{merge_id}/conflicts", operation_id="conflicts", responses=problems(401, 403, 404, 422)
)
def conflicts(
    project_id: ProjectId,
    merge_id: MergeId,
    caller: edge.Insider,
    deps: Given,
    cursor: Cursor = None,
    limit: edge.Limit = 100,
) -> Page[ConflictView]:
    """A merge's conflicts by sample: where, how many pixels, and the masks of both sides."""
    with deps.uow.read() as store:
        return rulings.conflicts(store, scope_of(caller, project_id), merge_id, cursor, limit)


@router.post(
    "/{project_id}/merges/{merge_id}/resolutions",
    operation_id="resolve_conflict",
    responses=problems(400, 401, 403, 404, 409, 422),
)
def resolve(
    project_id: ProjectId,
    merge_id: MergeId,
    command: Resolution,
    caller: edge.Manager,
    deps: Given,
    once: RequestOnce,
) -> MergeView:
    """Decide one sample's conflict by hand. When all are decided the merge is made by itself."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, MergeView, lambda tx: rulings.resolve_by_hand(tx, scope, merge_id, command, caller))


@router.post(
    "/{project_id}/merges/{merge_id}/complete",
    operation_id="complete_merge",
    responses=problems(400, 401, 403, 404, 409, 422, 507),
)
def complete(
    project_id: ProjectId,
    merge_id: MergeId,
    command: MergeComplete,
    caller: edge.Manager,
    deps: Given,
    once: RequestOnce,
) -> MergeView:
    """Try again to make an open or refused merge, on the branch as it is now."""
    by = caller.name or caller.key_id
    return _let_pass(rulings.complete(deps, scope_of(caller, project_id), merge_id, command, by, once))


@router.post(
    "/{project_id}/merges/{merge_id}/abandon",
    operation_id="abandon_merge",
    responses=problems(400, 401, 403, 404, 409, 422),
)
def abandon(
    project_id: ProjectId, merge_id: MergeId, caller: edge.Manager, deps: Given, once: RequestOnce
) -> MergeView:
    """Give a merge up; tasks for its conflicts are called off."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, MergeView, lambda tx: rulings.abandon(tx, scope, merge_id))


@router.post(
    "/{project_id}/reverts",
    status_code=201,
    operation_id="revert",
    responses=problems(400, 401, 403, 404, 409, 422, 507),
)
def revert(
    project_id: ProjectId, command: RevertCreate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> CommitView:
    """Undo what a commit changed, and keep what came after it."""
    return picks.revert(deps, scope_of(caller, project_id), command, caller, once)


@router.post(
    "/{project_id}/cherry-picks",
    status_code=201,
    operation_id="cherry_pick",
    responses=problems(400, 401, 403, 404, 409, 422, 507),
)
def cherry_pick(
    project_id: ProjectId, command: CherryPickCreate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> CommitView:
    """Bring what another version changed in some samples onto a branch."""
    return picks.cherry_pick(deps, scope_of(caller, project_id), command, caller, once)


@router.post(
    "/{project_id}/branches",
    status_code=201,
    operation_id="create_branch",
    responses=problems(400, 401, 403, 404, 409, 422),
)
def create_branch(
    project_id: ProjectId, command: BranchCreate, caller: edge.Manager, deps: Given, once: RequestOnce
) -> BranchView:
    """A new branch at a version."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, BranchView, lambda tx: branches.create_branch(tx, scope, command))


@router.delete(
    "/{project_id}/branches/{name:path}",
    operation_id="delete_branch",
    responses=problems(400, 401, 403, 404, 409, 422),
)
def delete_branch(
    project_id: ProjectId,
    name: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")],
    caller: edge.Manager,
    deps: Given,
    once: RequestOnce,
    force: Annotated[bool, Query(description="its staged samples are lost")] = False,
) -> BranchView:
    """Take a branch's name away; its commits stay."""
    scope = scope_of(caller, project_id)
    return deps.uow.once(once, BranchView, lambda tx: branches.delete_branch(tx, scope, name, force))


Length = Annotated[int, Query(ge=1, le=edge.INT_MAX)]


@router.get(
    "/{project_id}/blame/{sample_id}/region",
    operation_id="blame_region",
    responses=problems(401, 403, 404, 422),
)
def blame_region(
    project_id: ProjectId,
    sample_id: edge.SampleId,
    y: edge.Pixel,
    x: edge.Pixel,
    height: Length,
    width: Length,
    caller: edge.Insider,
    deps: Given,
    ref: edge.Ref = "main",
) -> BlameRegionView:
    """Who set the pixels of a rectangle: how many, where, in which submission and commit."""
    return blames.blame_region(deps, scope_of(caller, project_id), sample_id, (y, x, height, width), ref)
