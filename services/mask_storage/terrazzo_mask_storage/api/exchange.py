"""Differences, blame, export and import over HTTP."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Cursor, Given, Pixel, ProjectId, Ref, SampleId, scope_of
from terrazzo_mask_storage.handlers import blames, diffs
from terrazzo_mask_storage.handlers.exchange import exports, imports
from terrazzo_mask_storage.handlers.refs import MAIN
from terrazzo_runtime.http import Fingerprint, IdempotencyKey, problems
from terrazzo_runtime.unit_of_work import Once
from terrazzo_schema.errors import StorageFull
from terrazzo_schema.rest.mask_storage import BlameView, DiffView, ExportFormat, ImportReport

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
_CHUNK_BYTES = 2**20
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
    pixels: Annotated[bool, Query(description="false: which samples differ, and nothing of their pixels")] = True,
) -> DiffView:
    """What changed from `base` to `head`: totals over all samples, and a page of them by sample id."""
    cache: diffs.DiffCache = request.app.state.diffs
    return diffs.diff(deps, cache, scope_of(caller, project_id), base, head, cursor, limit, pixels=pixels)


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
    """A version as a zip archive in a format; its last member, export-report.json, says what did not fit."""
    commit, chunks = exports.export(deps, scope_of(caller, project_id), ref, format)
    headers = {
        "Content-Disposition": f'attachment; filename="{project_id}-{commit.commit_id[:12]}-{format}.zip"',
        "Terrazzo-Commit": commit.commit_id,
        "Terrazzo-Samples": str(commit.num_samples),
    }
    return StreamingResponse(chunks, media_type="application/zip", headers=headers)


@dataclass(frozen=True)
class Upload:
    """A request's body in a temporary file, and the write it is."""

    file: IO[bytes]
    once: Once | None


async def _upload(
    request: Request, caller: edge.Manager, idempotency_key: IdempotencyKey = None
) -> AsyncIterator[Upload]:
    """The body goes to the disk as it comes; the fingerprint is made on the way. Raises StorageFull."""
    fingerprint = Fingerprint(request)
    with tempfile.TemporaryFile() as file:
        pending = bytearray()
        async for chunk in request.stream():
            pending += chunk
            if len(pending) >= _CHUNK_BYTES:
                await _write(file, fingerprint, bytes(pending))
                pending.clear()
        await _write(file, fingerprint, bytes(pending))
        file.seek(0)
        yield Upload(file, fingerprint.once(caller, idempotency_key))


async def _write(file: IO[bytes], fingerprint: Fingerprint, data: bytes) -> None:
    fingerprint.update(data)
    try:
        await run_in_threadpool(file.write, data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull("there is no room for the uploaded archive", field="body") from error


@router.post(
    "/{project_id}/import",
    operation_id="import",
    openapi_extra=edge.takes("application/zip", "application/octet-stream"),
    responses=problems(400, 401, 403, 404, 413, 422, 507),
)
def import_(
    project_id: ProjectId,
    upload: Annotated[Upload, Depends(_upload)],
    caller: edge.Manager,
    deps: Given,
    branch: BranchName = MAIN,
    format: Annotated[ExportFormat, Query(description="how the archive is laid out")] = "index",
) -> ImportReport:
    """Take a zip of images and masks in one of the formats of export, and stage the masks."""
    scope = scope_of(caller, project_id)
    return imports.import_archive(
        deps, scope, upload.file, branch=branch, format=format, caller=caller, once=upload.once
    )
