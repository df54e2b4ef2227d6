"""Images over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Cursor, Given, ImageHash, ProjectId, RawBody, scope_of
from terrazzo_mask_storage.handlers import images
from terrazzo_runtime.http import Caller, RequestOnce, problems
from terrazzo_schema.errors import Unprocessable
from terrazzo_schema.rest.base import Name, Page, Text
from terrazzo_schema.rest.mask_storage import ImageView, PyramidView

router = APIRouter(prefix="/v1/images", tags=["images"])
IMAGE_TYPES = ("image/png", "image/jpeg", "image/tiff", "image/webp", "image/bmp")
_ATTRIBUTES = TypeAdapter(dict[Name, Text])
ATTRIBUTES_MAX = 100


@router.post(
    "/{project_id}",
    status_code=201,
    operation_id="upload_image",
    openapi_extra=edge.takes("application/octet-stream", *IMAGE_TYPES),
    responses=problems(400, 401, 403, 404, 413, 422, 507),
)
def upload(
    project_id: ProjectId,
    name: Annotated[Name, Query(description="the file's name; it says nothing about its type")],
    body: RawBody,
    caller: edge.Manager,
    deps: Given,
    once: RequestOnce,
    attributes: Annotated[str, Query(max_length=20_000, description="JSON object of texts")] = "{}",
) -> ImageView:
    """Take an image. The same bytes again are linked to the sample that they are already."""
    return images.upload(deps, scope_of(caller, project_id), body, name, _attributes(attributes), once)


def _attributes(text: str) -> dict[str, str]:
    try:
        found = _ATTRIBUTES.validate_json(text)
    except ValidationError as error:
        raise Unprocessable(
            f"attributes: {error.errors()[0]['msg']}",
            field="attributes",
            value=text,
            remedy='a JSON object of texts, e.g. {"site": "north"}',
        ) from error
    if len(found) > ATTRIBUTES_MAX:
        raise Unprocessable(
            f"{len(found)} attributes", field="attributes", value=len(found), remedy=f"at most {ATTRIBUTES_MAX}"
        )
    return found


@router.get("/{project_id}", operation_id="list_images", responses=problems(401, 403, 404, 422))
def list_images(
    project_id: ProjectId, caller: edge.Insider, deps: Given, cursor: Cursor = None, limit: edge.Limit = 100
) -> Page[ImageView]:
    """The project's images, by hash."""
    return images.listing(deps, scope_of(caller, project_id), cursor, limit)


@router.get("/{project_id}/{image_hash}", operation_id="get_image", responses=problems(401, 404, 422))
def get_image(project_id: ProjectId, image_hash: ImageHash, caller: Caller, deps: Given) -> ImageView:
    return images.view(deps, scope_of(caller, project_id), image_hash)


@router.get(
    "/{project_id}/{image_hash}/content",
    operation_id="image_content",
    response_class=Response,
    responses={**edge.gives(*IMAGE_TYPES), **problems(401, 404, 422)},
)
def content(
    project_id: ProjectId, image_hash: ImageHash, caller: Caller, deps: Given, request: Request
) -> Response:
    """The file as it came."""
    scope = scope_of(caller, project_id)
    images.view(deps, scope, image_hash)  # what is not the caller's is not even 'unchanged'
    same = edge.unchanged(request, image_hash)
    return same or edge.immutable(*images.content(deps, scope, image_hash), image_hash)


@router.get(
    "/{project_id}/{image_hash}/thumbnail",
    operation_id="image_thumbnail",
    response_class=Response,
    responses={**edge.gives("image/jpeg"), **problems(401, 404, 422)},
)
def thumbnail(
    project_id: ProjectId,
    image_hash: ImageHash,
    caller: Caller,
    deps: Given,
    request: Request,
    size: Annotated[int, Query(ge=16, le=1_024, description="longest side, pixels")] = 256,
) -> Response:
    """A JPEG that fits in a square of `size`."""
    scope, etag = scope_of(caller, project_id), f"{image_hash}-{size}"
    images.view(deps, scope, image_hash)
    same = edge.unchanged(request, etag)
    return same or edge.immutable(images.thumbnail(deps, scope, image_hash, size), "image/jpeg", etag)


@router.get("/{project_id}/{image_hash}/pyramid", operation_id="image_pyramid", responses=problems(401, 404, 422))
def pyramid(project_id: ProjectId, image_hash: ImageHash, caller: Caller, deps: Given) -> PyramidView:
    """The levels of the image's tiles, for viewers."""
    return images.pyramid_view(deps, scope_of(caller, project_id), image_hash)


@router.get(
    "/{project_id}/{image_hash}/tiles/{level}/{row}/{col}",
    operation_id="image_tile",
    response_class=Response,
    responses={**edge.gives("image/jpeg"), **problems(401, 404, 422, 507)},
)
def tile(
    project_id: ProjectId,
    image_hash: ImageHash,
    level: edge.TileIndex,
    row: edge.TileIndex,
    col: edge.TileIndex,
    caller: Caller,
    deps: Given,
    request: Request,
) -> Response:
    """A JPEG tile of 256 px (smaller at the right and lower edge)."""
    scope, etag = scope_of(caller, project_id), f"{image_hash}-{level}-{row}-{col}"
    images.view(deps, scope, image_hash)
    same = edge.unchanged(request, etag)
    return same or edge.immutable(images.tile(deps, scope, image_hash, level, row, col), "image/jpeg", etag)
