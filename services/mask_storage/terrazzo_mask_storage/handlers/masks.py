"""Label maps in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import PartsReader, reader
from terrazzo_mask_storage.handlers.prepare import PreparedMask, prepare, prepare_many
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.ports import Mask, Scope, Store
from terrazzo_masks import pyramid, tiles
from terrazzo_masks.errors import MaskError, ShapeMismatch
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Once
from terrazzo_schema.errors import CorruptInput, NotFound, TooLarge, Unprocessable
from terrazzo_schema.rest.mask_storage import MaskView, Provenance

__all__ = ["PreparedMask", "labels_of", "load", "prepare", "prepare_many", "read_label_map"]

MaskFormat = Literal["png", "npy", "fast", "small", "manifest"]
RegionFormat = Literal["png", "npy", "color"]
TILE_LEVEL_MAX = pyramid.LEVEL_MAX


def read_label_map(data: bytes, max_pixels: int) -> NDArray[Any]:
    """The label map in an uploaded file. Raises CorruptInput with what would be right."""
    from terrazzo_masks.formats import read_label_image

    try:
        return read_label_image(data, max_pixels=max_pixels)
    except MaskError as error:
        raise CorruptInput(
            f"the body is no label map: {error}",
            field="body",
            remedy="send an index PNG, a palette PNG, a grayscale TIFF or a .npy array (H, W) of uint8 or uint16",
        ) from error


def put_mask(
    deps: Deps,
    scope: Scope,
    data: bytes,
    *,
    caller: Principal,
    provenance: Provenance | None,
    expected_height: int | None,
    expected_width: int | None,
    once: Once | None,
    base_id: str | None = None,
) -> MaskView:
    """Take a label map. The same pixels again get the same id; their provenance rows add up.

    `base_id` (else the parent that the provenance names) is the mask that this is a new version of: what changed
    may be stored as a patch on it. Raises CorruptInput, Unprocessable, StorageFull.
    """
    with deps.uow.read() as store:
        project = known_project(store, scope)
        refuse_unknown_masks(store, scope, provenance)
        if base_id is not None:
            known_mask(store, scope, base_id)
    labels_HW = read_label_map(data, deps.settings.max_image_pixels)
    for axis, size, expected in (
        ("height", labels_HW.shape[0], expected_height),
        ("width", labels_HW.shape[1], expected_width),
    ):
        if expected is not None and size != expected:
            raise Unprocessable(
                f"the mask's {axis} is {size}, not {expected}",
                field=axis,
                value=size,
                remedy="send a mask of the image's size",
            )
    sample_id, origin = origin_of(provenance, caller)
    ontology = ontology_of(project.ontology_json)
    prepared = prepare(deps, scope, labels_HW, ontology, base_id or origin.parent_mask_id)
    view = mask_view(prepared.mask, prepared.new_bytes)

    def add(tx: Any) -> MaskView:
        prepared.add(tx.store, scope, sample_id, origin)
        return view

    return deps.uow.once(once, MaskView, add)


def refuse_unknown_masks(store: Store, scope: Scope, provenance: Provenance | None) -> None:
    if provenance is None:
        return
    named = {"source_mask_ids": provenance.source_mask_ids, "parent_mask_id": [provenance.parent_mask_id or ""]}
    for field, mask_ids in named.items():
        wanted = [mask_id for mask_id in mask_ids if mask_id]
        known = store.masks(scope, wanted)
        for mask_id in wanted:
            if mask_id not in known:
                raise Unprocessable(
                    f"provenance names the mask {mask_id}, which this project does not have",
                    field=f"provenance.{field}",
                    value=mask_id,
                    remedy="put that mask first",
                )


def origin_of(provenance: Provenance | None, caller: Principal) -> tuple[str, Origin]:
    """(sample id, origin). Who may not speak for others is the actor, whatever the body says."""
    if provenance is None:
        return "", Origin("submission", caller.key_id)
    speaks_for_others = caller.role in ("service", "admin", "manager")
    return provenance.sample_id, Origin(
        provenance.source,
        provenance.actor if speaks_for_others else caller.key_id,
        provenance.submission_id,
        provenance.parent_mask_id,
        tuple(provenance.source_mask_ids),
    )


def mask_view(mask: Mask, new_bytes: int = 0) -> MaskView:
    return MaskView(
        mask_id=mask.mask_id,
        height=mask.height,
        width=mask.width,
        dtype="uint8" if mask.dtype == "uint8" else "uint16",
        counts=dict(mask.counts),
        size_bytes=mask.size_bytes,
        new_bytes=new_bytes,
    )


def known_mask(store: Store, scope: Scope, mask_id: str) -> Mask:
    mask = store.mask(scope, mask_id)
    if mask is None:
        raise NotFound(f"no mask {mask_id} in this project", field="mask_id", value=mask_id)
    return mask


def load(deps: Deps, store: Store, organisation_id: str, mask_id: str) -> tuple[tiles.Manifest, PartsReader]:
    """A stored mask's manifest, and the reader of its tiles."""
    read = reader(store, deps.packs, organisation_id)
    return tiles.load(mask_id, read), read


def labels_of(deps: Deps, store: Store, organisation_id: str, mask_id: str) -> NDArray[Any]:
    """The label map (H, W), uint8 or uint16, of a mask that is known to exist.

    Raises TooLarge for a map that must be read by regions.
    """
    manifest, read = load(deps, store, organisation_id, mask_id)
    _refuse_large(deps, manifest.height, manifest.width)
    return tiles.read(manifest, read)


def _refuse_large(deps: Deps, height: int, width: int) -> None:
    limit = deps.settings.max_image_pixels
    if height * width > limit:
        raise TooLarge(
            f"{height} x {width} pixels are more than are decoded at once",
            field="mask_id",
            value=height * width,
            remedy=f"ask for regions of at most {limit} pixels",
        )


def content(deps: Deps, scope: Scope, mask_id: str, format: MaskFormat) -> bytes:
    """The whole mask as bytes. Raises NotFound, TooLarge."""
    with deps.uow.read() as store:
        known_mask(store, scope, mask_id)
        if format == "manifest":
            return reader(store, deps.packs, scope.organisation_id)(mask_id)
        palette = palette_of(store, scope)
        labels_HW = labels_of(deps, store, scope.organisation_id, mask_id)
    return encode(labels_HW, format, palette)


def region(deps: Deps, scope: Scope, mask_id: str, box: tuple[int, int, int, int], format: RegionFormat) -> bytes:
    """`box` (y, x, height, width) of a mask, decoding its tiles only. Raises NotFound, Unprocessable, TooLarge."""
    with deps.uow.read() as store:
        known_mask(store, scope, mask_id)
        palette = palette_of(store, scope)
        manifest, read = load(deps, store, scope.organisation_id, mask_id)
        try:
            tiles.require_region(manifest, *box)
        except ShapeMismatch as error:
            raise outside(manifest, box, str(error)) from error
        _refuse_large(deps, box[2], box[3])
        labels_HW = tiles.read_region(manifest, read, *box)
    return encode(labels_HW, format, palette)


def outside(manifest: tiles.Manifest, box: tuple[int, int, int, int], reason: str) -> Unprocessable:
    return Unprocessable(
        reason,
        field="region",
        value=f"y={box[0]}, x={box[1]}, height={box[2]}, width={box[3]}",
        remedy=f"stay inside {manifest.height} x {manifest.width}",
    )


def tile(deps: Deps, scope: Scope, mask_id: str, row: int, col: int, level: int, format: RegionFormat) -> bytes:
    """A tile for viewers: `level` n shows 2**n x 2**n pixels of the mask as one, by the library's pyramid.

    However large the mask, and at every level, a bounded number of parts is read. Raises NotFound.
    """
    with deps.uow.read() as store:
        known_mask(store, scope, mask_id)
        palette = palette_of(store, scope)
        manifest, read = load(deps, store, scope.organisation_id, mask_id)
        height, width = pyramid.level_size(manifest, level)
        y, x = row * pyramid.VIEW_PX, col * pyramid.VIEW_PX
        if y >= height or x >= width:
            raise NotFound(f"the mask has no tile ({row}, {col}) at level {level}", field="tile", value=(row, col))
        shown = (min(pyramid.VIEW_PX, height - y), min(pyramid.VIEW_PX, width - x))
        labels_HW = pyramid.read_level(manifest, read, level, y, x, *shown)
    return encode(labels_HW, format, palette)


def palette_of(store: Store, scope: Scope) -> Mapping[int, tuple[int, int, int]]:
    return ontology_of(known_project(store, scope).ontology_json).palette()


def encode(
    labels_HW: NDArray[Any], format: MaskFormat | RegionFormat, palette: Mapping[int, tuple[int, int, int]]
) -> bytes:
    """A label map as an index PNG (coloured by the ontology if ids fit a palette), .npy, codec bytes, RGB PNG."""
    from terrazzo_masks import codec, formats

    if format in ("fast", "small"):
        return codec.encode(labels_HW, format)
    if format == "npy":
        return formats.to_npy(labels_HW)
    if format == "png":
        return formats.to_png(labels_HW, palette)
    from terrazzo_mask_storage.domain.pictures import png_of

    return png_of(formats.colorize(labels_HW, palette))


def provenance_of(deps: Deps, scope: Scope, mask_id: str) -> list[Provenance]:
    """Who put this mask and why, in the order in which it was told. Raises NotFound."""
    with deps.uow.read() as store:
        known_mask(store, scope, mask_id)
        rows = store.origins(scope, mask_id)
    return [
        Provenance(
            source=origin.source,
            actor=origin.actor,
            sample_id=sample_id,
            submission_id=origin.submission_id,
            parent_mask_id=origin.parent_mask_id,
            source_mask_ids=list(origin.source_mask_ids),
        )
        for sample_id, origin in rows
    ]
