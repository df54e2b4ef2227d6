"""Masks that nobody sends whole: blank ones of any size, and brush strokes on a stored one.

A stroke reads and stores only the tiles that it meets and the nodes above them, whatever the size of the map.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.masks import (
    known_mask,
    mask_view,
    origin_of,
    outside,
    read_label_map,
    refuse_unknown_masks,
)
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.prepare import Batch, PreparedMask, refuse_unknown_classes
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.ports import Scope
from terrazzo_masks import tiles
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import count_classes
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Once
from terrazzo_schema.errors import TooLarge, Unprocessable
from terrazzo_schema.ontology import UNLABELLED
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import BlankCreate, MaskTile, MaskView, Provenance


def blank(deps: Deps, scope: Scope, command: BlankCreate, caller: Principal, once: Once | None) -> MaskView:
    """A map of one class, e.g. 100,000 x 100,000: one node, whatever its size. Raises TooLarge, Unprocessable."""
    limit = deps.settings.max_mask_pixels
    if command.height * command.width > limit:
        raise TooLarge(
            f"a mask of {command.height} x {command.width} pixels",
            field="height",
            value=command.height * command.width,
            remedy=f"at most {limit} pixels (setting max_mask_pixels)",
        )
    with deps.uow.read() as store:
        ontology = ontology_of(known_project(store, scope).ontology_json)
        refuse_unknown_masks(store, scope, command.provenance)
        if command.class_id not in (UNLABELLED, *ontology.ids):
            raise Unprocessable(
                f"class id {command.class_id} is no class of the ontology {ontology.name!r}",
                field="class_id",
                value=command.class_id,
                remedy="use an id of the project's ontology, or 0 for unlabelled",
            )
        batch = Batch(deps, store, scope)
        prepared = batch.finish(lambda parts: tiles.blank(command.height, command.width, parts, command.class_id))
    return _added(deps, scope, prepared, *origin_of(command.provenance, caller), once)


def paint(
    deps: Deps,
    scope: Scope,
    mask_id: str,
    data: bytes,
    *,
    y: int,
    x: int,
    keep: int | None,
    caller: Principal,
    provenance: Provenance | None,
    once: Once | None,
) -> MaskView:
    """A new mask: `mask_id` with a patch (a label map file) laid on it, its first pixel at (y, x).

    Pixels of the patch with the value `keep` leave what is below as it is. The new mask's parent is `mask_id`.
    Raises NotFound, CorruptInput, Unprocessable, StorageFull.
    """
    with deps.uow.read() as store:
        ontology = ontology_of(known_project(store, scope).ontology_json)
        base = known_mask(store, scope, mask_id)
        refuse_unknown_masks(store, scope, provenance)
        patch_HW = read_label_map(data, deps.settings.max_image_pixels)
        where_HW = None if keep is None else patch_HW != keep
        counts = {value: n for value, n in count_classes(patch_HW).items() if value != keep}
        refuse_unknown_classes(patch_HW, counts, ontology)
        batch = Batch(deps, store, scope)
        old = tiles.load(mask_id, batch.parts)
        if keep is not None:
            patch_HW = _without(patch_HW, keep)
        try:
            prepared = batch.finish(lambda parts: tiles.paint(old, patch_HW, y, x, parts, where_HW), base)
        except ShapeMismatch as error:
            raise outside(old, (y, x, *patch_HW.shape), str(error)) from error
    sample_id, origin = origin_of(provenance, caller)
    if origin.parent_mask_id is None:
        origin = Origin(origin.source, origin.actor, origin.submission_id, mask_id, origin.source_mask_ids)
    return _added(deps, scope, prepared, sample_id, origin, once)


def _without(patch_HW: NDArray[Any], keep: int) -> NDArray[Any]:
    """The patch with 0 where it keeps: what stands there must not decide how wide the pixels are."""
    if not 0 <= keep <= np.iinfo(patch_HW.dtype).max:
        return patch_HW
    return np.where(patch_HW == keep, patch_HW.dtype.type(0), patch_HW)


def _added(
    deps: Deps, scope: Scope, prepared: PreparedMask, sample_id: str, origin: Origin, once: Once | None
) -> MaskView:
    view = mask_view(prepared.mask, prepared.new_bytes)

    def add(tx: Any) -> MaskView:
        prepared.add(tx.store, scope, sample_id, origin)
        return view

    return deps.uow.once(once, MaskView, add)


def where(deps: Deps, scope: Scope, mask_id: str, class_id: int | None, cursor: int, limit: int) -> Page[MaskTile]:
    """The tiles of a mask (those that hold `class_id`), each with its pixels per class.

    Answered from the manifest: no pixel is decoded. Raises NotFound.
    """
    with deps.uow.read() as store:
        known_mask(store, scope, mask_id)
        read = reader(store, deps.packs, scope.organisation_id)
        refs = tiles.tiles_of(tiles.load(mask_id, read), read, class_id=class_id)
        found = list(islice(refs, cursor, cursor + limit + 1))
    items = [
        MaskTile(
            row=ref.row,
            col=ref.col,
            y=ref.box.y,
            x=ref.box.x,
            height=ref.box.height,
            width=ref.box.width,
            counts=ref.counts,
        )
        for ref in found[:limit]
    ]
    return Page(items=items, next_cursor=str(cursor + limit) if len(found) > limit else None)
