"""Masks over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Given, MaskId, Pixel, ProjectId, RawBody, scope_of
from terrazzo_mask_storage.handlers import masks, strokes
from terrazzo_runtime.http import Caller, RequestOnce, problems
from terrazzo_schema.errors import Unprocessable
from terrazzo_schema.ids import HASH_PATTERN
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import BlankCreate, MaskTile, MaskView, Provenance

router = APIRouter(prefix="/v1/masks", tags=["masks"])
MEDIA_TYPES = {
    "png": "image/png",
    "color": "image/png",
    "npy": "application/x-npy",
    "fast": "application/x-terrazzo-mask",
    "small": "application/x-terrazzo-mask",
    "manifest": "application/x-terrazzo-manifest",
}
ProvenanceText = Annotated[str | None, Query(max_length=10_000, description="JSON of Provenance")]
Expected = Annotated[int | None, Query(ge=1, le=edge.INT_MAX, description="refuse a mask of another size")]
Side = Annotated[int, Query(ge=1, le=edge.INT_MAX)]


@router.put(
    "/{project_id}",
    status_code=201,
    operation_id="put_mask",
    openapi_extra=edge.takes("application/octet-stream", "image/png", "image/tiff", "application/x-npy"),
    responses=problems(400, 401, 403, 404, 413, 422, 507),
)
def put(
    project_id: ProjectId,
    body: RawBody,
    caller: edge.Labeller,
    deps: Given,
    once: RequestOnce,
    provenance: ProvenanceText = None,
    height: Expected = None,
    width: Expected = None,
    base: Annotated[
        str | None, Query(pattern=HASH_PATTERN, description="mask that this is a new version of; else the parent")
    ] = None,
) -> MaskView:
    """Take a label map: index PNG, palette PNG, grayscale TIFF or .npy. The same pixels have the same id.

    What differs from `base` (or from the provenance's parent) may be stored as a patch on it. The actor of an
    annotator's, reviewer's or vendor's mask is the key that sends it, whatever `provenance` says.
    """
    return masks.put_mask(
        deps,
        scope_of(caller, project_id),
        body,
        caller=caller,
        provenance=_provenance(provenance),
        expected_height=height,
        expected_width=width,
        once=once,
        base_id=base,
    )


@router.post(
    "/{project_id}/blank",
    status_code=201,
    operation_id="blank_mask",
    responses=problems(401, 403, 404, 413, 422, 507),
)
def blank(
    project_id: ProjectId, body: BlankCreate, caller: edge.Labeller, deps: Given, once: RequestOnce
) -> MaskView:
    """Make a mask of one class, of any size: it costs one small part, and is painted on by regions."""
    return strokes.blank(deps, scope_of(caller, project_id), body, caller, once)


@router.post(
    "/{project_id}/{mask_id}/region",
    status_code=201,
    operation_id="paint_mask",
    openapi_extra=edge.takes("application/octet-stream", "image/png", "image/tiff", "application/x-npy"),
    responses=problems(400, 401, 403, 404, 413, 422, 507),
)
def paint(
    project_id: ProjectId,
    mask_id: MaskId,
    body: RawBody,
    y: Pixel,
    x: Pixel,
    caller: edge.Labeller,
    deps: Given,
    once: RequestOnce,
    keep: Annotated[int | None, Query(ge=0, le=65_535, description="pixels of this value change nothing")] = None,
    provenance: ProvenanceText = None,
) -> MaskView:
    """Lay a label map on a region of a mask: a new mask, whose parent is this one.

    A brush stroke on a mask of any size: only the tiles that it meets are read and stored.
    """
    return strokes.paint(
        deps,
        scope_of(caller, project_id),
        mask_id,
        body,
        y=y,
        x=x,
        keep=keep,
        caller=caller,
        provenance=_provenance(provenance),
        once=once,
    )


def _provenance(text: str | None) -> Provenance | None:
    if text is None:
        return None
    try:
        return Provenance.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["provenance", *(str(part) for part in first["loc"])])
        raise Unprocessable(f"{field}: {first['msg']}", field=field, value=first.get("input")) from error


@router.get("/{project_id}/{mask_id}", operation_id="get_mask", responses=problems(401, 404, 422))
def get(project_id: ProjectId, mask_id: MaskId, caller: Caller, deps: Given) -> MaskView:
    with deps.uow.read() as store:
        return masks.mask_view(masks.known_mask(store, scope_of(caller, project_id), mask_id))


@router.get(
    "/{project_id}/{mask_id}/content",
    operation_id="mask_content",
    response_class=Response,
    responses={**edge.gives(*sorted(set(MEDIA_TYPES.values()))), **problems(401, 404, 422)},
)
def content(
    project_id: ProjectId,
    mask_id: MaskId,
    caller: Caller,
    deps: Given,
    request: Request,
    format: masks.MaskFormat = "png",
) -> Response:
    """The whole mask: an index PNG of class ids, a .npy array, the codec's bytes, or the manifest of its tiles.

    `fast` and `small` are the profiles of the codec (docs/mask-format.md): quick to make and read, or as small as
    can be.
    """
    scope, etag = scope_of(caller, project_id), f"{mask_id}-{format}"
    with deps.uow.read() as store:
        masks.known_mask(store, scope, mask_id)
    same = edge.unchanged(request, etag)
    return same or edge.immutable(masks.content(deps, scope, mask_id, format), MEDIA_TYPES[format], etag)


@router.get(
    "/{project_id}/{mask_id}/region",
    operation_id="mask_region",
    response_class=Response,
    responses={**edge.gives("image/png", "application/x-npy"), **problems(401, 404, 422)},
)
def region(
    project_id: ProjectId,
    mask_id: MaskId,
    y: Pixel,
    x: Pixel,
    height: Side,
    width: Side,
    caller: Caller,
    deps: Given,
    format: masks.RegionFormat = "png",
) -> Response:
    """A rectangle of the mask; only its tiles are decoded."""
    data = masks.region(deps, scope_of(caller, project_id), mask_id, (y, x, height, width), format)
    return edge.immutable(data, MEDIA_TYPES[format], f"{mask_id}-{y}-{x}-{height}-{width}-{format}")


@router.get("/{project_id}/{mask_id}/tiles", operation_id="list_mask_tiles", responses=problems(401, 404, 422))
def tiles(
    project_id: ProjectId,
    mask_id: MaskId,
    caller: Caller,
    deps: Given,
    class_id: Annotated[int | None, Query(ge=0, le=65_535, description="only tiles that hold this class")] = None,
    cursor: Annotated[int, Query(ge=0, le=2**40)] = 0,
    limit: edge.Limit = 1_000,
) -> Page[MaskTile]:
    """Where a class is, and how many pixels of each class a tile has; no pixel is decoded for it."""
    return strokes.where(deps, scope_of(caller, project_id), mask_id, class_id, cursor, limit)


@router.get(
    "/{project_id}/{mask_id}/tiles/{row}/{col}",
    operation_id="mask_tile",
    response_class=Response,
    responses={**edge.gives("image/png", "application/x-npy"), **problems(401, 404, 422)},
)
def tile(
    project_id: ProjectId,
    mask_id: MaskId,
    row: edge.TileIndex,
    col: edge.TileIndex,
    caller: Caller,
    deps: Given,
    level: Annotated[int, Query(ge=0, le=masks.TILE_LEVEL_MAX, description="each level halves the scale")] = 0,
    format: masks.RegionFormat = "color",
) -> Response:
    """A tile of 256 px for viewers, in the ontology's colours unless asked otherwise."""
    data = masks.tile(deps, scope_of(caller, project_id), mask_id, row, col, level, format)
    # Colours follow the ontology, which may get a new version: the tag says so, and it is not cached for ever.
    headers = {"Cache-Control": "private, max-age=300"}
    return Response(data, media_type=MEDIA_TYPES[format], headers=headers)


@router.get(
    "/{project_id}/{mask_id}/provenance", operation_id="mask_provenance", responses=problems(401, 403, 404, 422)
)
def provenance(project_id: ProjectId, mask_id: MaskId, caller: edge.Insider, deps: Given) -> list[Provenance]:
    """Who put this mask, and what it was made of."""
    return masks.provenance_of(deps, scope_of(caller, project_id), mask_id)
