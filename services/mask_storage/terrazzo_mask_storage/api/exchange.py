"""Differences, blame, export and import over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Cursor, Given, Pixel, ProjectId, RawBody, Ref, SampleId, scope_of
from terrazzo_mask_storage.handlers import blames, diffs, exports, imports
from terrazzo_mask_storage.handlers.refs import MAIN
from terrazzo_runtime.http import RequestOnce, problems
from terrazzo_schema.rest.mask_storage import BlameView, DiffView, ExportFormat, ImportReport

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
BranchName = Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]


@router.get("/{project_id}/diff", operation_id="diff", responses=problems(401, 403, 404, 422))
def diff(
    project_id: ProjectId,
    base: Ref,
    head: Ref,
    caller: edge.Insider,
    deps: Given,
    request: Request,
    cursor: Cursor = None,
    limit: edge.Limit = 100,
) -> DiffView:
    """What changed from `base` to `head`: totals over all samples, and a page of them by sample id."""
    cache: diffs.DiffCache = request.app.state.diffs
    return diffs.diff(deps, cache, scope_of(caller, project_id), base, head, cursor, limit)


@router.get("/{project_id}/blame/{sample_id}", operation_id="blame", responses=problems(401, 403, 404, 422))
def blame(
    project_id: ProjectId,
    sample_id: SampleId,
    y: Pixel,
    x: Pixel,
    caller: edge.Insider,
    deps: Given,
    ref: Ref = MAIN,
) -> BlameView:
    """Who set the pixel at row y, column x, and in which commit it came."""
    return blames.blame(deps, scope_of(caller, project_id), sample_id, y, x, ref)


@router.get(
    "/{project_id}/export",
    operation_id="export",
    response_class=StreamingResponse,
    responses={**edge.gives("application/zip"), **problems(401, 403, 404, 422)},
)
def export(
    project_id: ProjectId,
    caller: edge.Insider,
    deps: Given,
    ref: Ref = MAIN,
    format: ExportFormat = "index",
) -> StreamingResponse:
    """A version as a zip archive: images, masks and classes.json; or COCO, or Cityscapes' layout."""
    commit, chunks = exports.export(deps, scope_of(caller, project_id), ref, format)
    headers = {"Content-Disposition": f'attachment; filename="{project_id}-{commit.commit_id[:12]}-{format}.zip"'}
    return StreamingResponse(chunks, media_type="application/zip", headers=headers)


@router.post(
    "/{project_id}/import",
    operation_id="import",
    openapi_extra=edge.takes("application/zip", "application/octet-stream"),
    responses=problems(400, 401, 403, 404, 413, 422, 507),
)
def import_(
    project_id: ProjectId,
    body: RawBody,
    caller: edge.Manager,
    deps: Given,
    once: RequestOnce,
    branch: BranchName = MAIN,
    format: Annotated[ExportFormat, Query(description="how the archive is laid out")] = "index",
) -> ImportReport:
    """Take a zip of images and masks in one of the layouts of export, and stage the masks."""
    return imports.import_archive(
        deps, scope_of(caller, project_id), body, branch=branch, format=format, caller=caller, once=once
    )
