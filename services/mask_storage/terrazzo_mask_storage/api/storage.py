"""Upkeep of what is stored, over HTTP: statistics, verification, garbage collection. For admins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from terrazzo_mask_storage.api.edge import Given
from terrazzo_mask_storage.handlers.upkeep import collect, stats, verify
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import allow, problems
from terrazzo_schema.rest.mask_storage import GcReport, StorageStats

router = APIRouter(prefix="/v1/storage", tags=["storage"])
NDJSON = "application/x-ndjson"
Admin = Annotated[Principal, allow("admin")]


@router.get("/stats", operation_id="storage_stats", responses=problems(401, 403))
def storage_stats(caller: Admin, deps: Given) -> StorageStats:
    """How many images, masks, versions and packs there are, and the bytes of parts by kind and encoding."""
    return stats.stats(deps, caller.organisation_id)


@router.get(
    "/verify",
    operation_id="verify_storage",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A line of JSON (VerifyLine) per step or damage; the last has the report",
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **problems(401, 403),
    },
)
def verify_storage(caller: Admin, deps: Given) -> StreamingResponse:
    """Read and hash everything again: a line of JSON (VerifyLine) per step or damage, the report last."""

    def lines() -> Iterator[bytes]:
        for line in verify.verify(deps, caller.organisation_id):
            yield line.model_dump_json().encode() + b"\n"

    return StreamingResponse(lines(), media_type=NDJSON, headers={"Cache-Control": "no-store"})


@router.post("/gc", operation_id="collect_garbage", responses=problems(401, 403, 422, 507))
def collect_garbage(
    caller: Admin,
    deps: Given,
    dry_run: Annotated[bool, Query(description="only say what would be done")] = False,
) -> GcReport:
    """Remove packs that nothing refers to and that are older than the grace period; put together what is sparse.

    It looks at the packs of the whole system: nothing that any organisation can name is removed.
    """
    return collect.collect(deps, dry_run=dry_run)
