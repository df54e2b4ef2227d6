"""Images in, and pictures of them out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from terrazzo_mask_storage.domain import pictures, pyramid
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import NewParts, reader
from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.ports import Image, Scope, Store
from terrazzo_runtime.unit_of_work import Once, Tx
from terrazzo_schema.errors import NotFound, TooLarge
from terrazzo_schema.events import ImageStored, SampleRef
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import ImageView, PyramidView
from terrazzo_schema.samples import sample_id_of

NAMES_MAX = 1_000


def upload(
    deps: Deps, scope: Scope, data: bytes, name: str, attributes: Mapping[str, str], once: Once | None
) -> ImageView:
    """Take an image file. The same bytes again are linked, not stored twice."""
    with deps.uow.read() as store:
        known_project(store, scope)
    prepared = prepare(deps, data, name, attributes)
    return deps.uow.once(once, ImageView, lambda tx: add(tx, scope, prepared))


def prepare(deps: Deps, data: bytes, name: str, attributes: Mapping[str, str]) -> Image:
    """Probe an image and store its bytes; `add` adds its row. Raises as `pictures.probe`, and StorageFull."""
    limit = deps.settings.max_image_bytes
    if len(data) > limit:
        raise TooLarge(
            f"the image file has {len(data)} bytes", field="body", value=len(data), remedy=f"at most {limit} bytes"
        )
    found = pictures.probe(data, deps.settings.max_image_pixels)
    image_hash = deps.blobs.put(data)
    return Image(
        image_hash,
        sample_id_of(image_hash),
        (name,),
        dict(attributes),
        found.height,
        found.width,
        found.channels,
        found.media_type,
        len(data),
        deps.clock.now(),
    )


def add(tx: Tx[Store], scope: Scope, image: Image) -> ImageView:
    """Make a prepared image one of the project's samples, or link its name to the sample that it is already."""
    known = tx.store.image(scope, image.image_hash)
    if known is None:
        tx.store.add_image(scope, image)
        _say_stored(tx, scope, image)
        return image_view(image, duplicate=False)
    is_named = image.name in known.names
    if is_named and image.attributes.items() <= known.attributes.items():
        return image_view(known, duplicate=True)
    # The latest names are kept when there are very many; the first is the sample's name for ever.
    names = known.names if is_named or len(known.names) >= NAMES_MAX else (*known.names, image.name)
    attributes = {**known.attributes, **image.attributes}
    tx.store.rename_image(scope, known.image_hash, names, attributes)
    _say_stored(tx, scope, image)
    linked = tx.store.image(scope, image.image_hash)
    assert linked is not None
    return image_view(linked, duplicate=True)


def _say_stored(tx: Tx[Store], scope: Scope, image: Image) -> None:
    message = ImageStored(
        sample=SampleRef(
            sample_id=image.sample_id, image_hash=image.image_hash, height=image.height, width=image.width
        ),
        name=image.name,
        media_type=image.media_type,
        size_bytes=image.size_bytes,
        attributes=dict(image.attributes),
    )
    tx.publish(message, key=image.sample_id, organisation_id=scope.organisation_id, project_id=scope.project_id)


def image_view(image: Image, *, duplicate: bool) -> ImageView:
    return ImageView(
        sample_id=image.sample_id,
        image_hash=image.image_hash,
        names=list(image.names),
        height=image.height,
        width=image.width,
        channels=image.channels,
        media_type=image.media_type,
        size_bytes=image.size_bytes,
        duplicate=duplicate,
        created_at=image.created_at,
    )


def known_image(store: Store, scope: Scope, image_hash: str) -> Image:
    image = store.image(scope, image_hash)
    if image is None:
        raise NotFound(f"no image {image_hash} in this project", field="image_hash", value=image_hash)
    return image


def listing(deps: Deps, scope: Scope, cursor: str | None, limit: int) -> Page[ImageView]:
    with deps.uow.read() as store:
        known_project(store, scope)
        found = store.images(scope, cursor or "", limit + 1)
    items = [image_view(image, duplicate=False) for image in found[:limit]]
    return Page(items=items, next_cursor=items[-1].image_hash if len(found) > limit else None)


def view(deps: Deps, scope: Scope, image_hash: str) -> ImageView:
    with deps.uow.read() as store:
        return image_view(known_image(store, scope, image_hash), duplicate=False)


def content(deps: Deps, scope: Scope, image_hash: str) -> tuple[bytes, str]:
    """(the file's bytes, its media type). Raises NotFound."""
    with deps.uow.read() as store:
        image = known_image(store, scope, image_hash)
    return deps.blobs.get(image_hash), image.media_type


def thumbnail(deps: Deps, scope: Scope, image_hash: str, size_px: int) -> bytes:
    data, _ = content(deps, scope, image_hash)
    return pictures.thumbnail(data, size_px, deps.settings.max_image_pixels)


def pyramid_view(deps: Deps, scope: Scope, image_hash: str) -> PyramidView:
    with deps.uow.read() as store:
        image = known_image(store, scope, image_hash)
    return PyramidView(tile_px=pyramid.TILE_PX, levels=pyramid.levels(image.height, image.width))


def tile(deps: Deps, scope: Scope, image_hash: str, level: int, row: int, col: int) -> bytes:
    """A JPEG tile of the pyramid. The first tile asked of an image cuts them all, and they are kept."""
    with deps.uow.read() as store:
        image = known_image(store, scope, image_hash)
        sizes = pyramid.levels(image.height, image.width)
        if level >= len(sizes) or (row, col) not in pyramid.Grid(*sizes[level]):
            raise NotFound(
                f"the image has no tile ({row}, {col}) at level {level}", field="tile", value=(level, row, col)
            )
        digest = store.pyramid(scope, image_hash)
    if digest is None:
        digest = _cut(deps, scope, image)
    with deps.uow.read() as store:
        read = reader(store, deps.packs, scope.organisation_id)
        index: list[list[str]] = json.loads(read(digest))
        num_cols = -(-sizes[level][1] // pyramid.TILE_PX)
        return read(index[level][row * num_cols + col])


def _cut(deps: Deps, scope: Scope, image: Image) -> str:
    """Cut, encode and store all tiles of an image's pyramid. Returns the digest of their list."""
    parts = NewParts()
    picture = pictures.display(deps.blobs.get(image.image_hash), deps.settings.max_image_pixels)
    index = [[parts.put(tile, kind="data") for tile in level] for level in pyramid.tiles(picture)]
    digest = parts.put(json.dumps(index).encode(), kind="data")
    with deps.uow.read() as store:
        parts.write_blobs(store, deps.blobs, scope.organisation_id)
    with deps.uow.begin() as tx:
        parts.add_rows(tx.store, scope.organisation_id)
        tx.store.add_pyramid(scope, image.image_hash, digest)
    return digest


def iterate(deps: Deps, scope: Scope) -> Iterator[Image]:
    """All images of a project, a page at a time."""
    cursor = ""
    while True:
        with deps.uow.read() as store:
            page = store.images(scope, cursor, 500)
        yield from page
        if not page:
            return
        cursor = page[-1].image_hash
