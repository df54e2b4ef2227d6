"""What the endpoints share: parameters with their limits, the raw body, answers made of bytes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response

from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.ports import Scope
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import allow
from terrazzo_schema.ids import HASH_PATTERN, ID_PATTERN

INT_MAX = 2**31 - 1

ProjectId = Annotated[str, Path(pattern=ID_PATTERN, max_length=100)]
ImageHash = Annotated[str, Path(pattern=HASH_PATTERN)]
MaskId = Annotated[str, Path(pattern=HASH_PATTERN)]
SampleId = Annotated[str, Path(pattern=r"^smp_[0-9a-f]{24}$")]
TileIndex = Annotated[int, Path(ge=0, le=INT_MAX)]
Cursor = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9._/-]{1,128}$")]
Limit = Annotated[int, Query(ge=1, le=5_000)]
Ref = Annotated[
    str,
    Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$", description="commit id (8 digits will do), branch, tag"),
]
Pixel = Annotated[int, Query(ge=0, le=INT_MAX)]

# A vendor gets the images and masks whose ids its tasks name, and may not look around.
Insider = Annotated[Principal, allow("manager", "reviewer", "annotator", "trainer", "viewer")]
Manager = Annotated[Principal, allow("manager")]
Labeller = Annotated[Principal, allow("manager", "reviewer", "annotator", "vendor")]

IMMUTABLE = "private, max-age=31536000, immutable"


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


Given = Annotated[Deps, Depends(deps_of)]


async def _body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_body)]


def scope_of(caller: Principal, project_id: str) -> Scope:
    return Scope(caller.organisation_id, project_id)


def takes(*media_types: str) -> dict[str, Any]:
    """The OpenAPI text of an endpoint that reads its body as bytes."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
    return {"requestBody": {"required": True, "content": content}}


def gives(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI text of an answer made of bytes."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
    return {200: {"description": "Bytes that never change", "content": content}, 304: {"description": "Unchanged"}}


def unchanged(request: Request, etag: str) -> Response | None:
    """304 when the client holds these bytes already (RFC 9110, 13.1.2)."""
    held = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if f'"{etag}"' in held:
        return Response(status_code=304, headers={"ETag": f'"{etag}"', "Cache-Control": IMMUTABLE})
    return None


def immutable(data: bytes, media_type: str, etag: str) -> Response:
    headers = {"ETag": f'"{etag}"', "Cache-Control": IMMUTABLE, "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=media_type, headers=headers)
