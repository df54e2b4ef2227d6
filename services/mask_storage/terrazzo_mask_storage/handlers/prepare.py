"""Label maps become stored masks: tiles and nodes first, as blobs; then rows, in a transaction.

One mask: `prepare`, then `PreparedMask.add`. Many (an import): `prepare_many`, then `add_all`; they share one
look-up of what is stored already, one pack and one statement per table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.labels import first_stray
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import NewParts, PartsReader
from terrazzo_mask_storage.ports import Flow, Mask, Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.boxes import Box
from terrazzo_masks.diff import change_between, diff_manifests, summed, uniform_change
from terrazzo_masks.labels import LabelMap, dtype_for
from terrazzo_masks.manifest import MIXED, Node
from terrazzo_schema.errors import Unprocessable
from terrazzo_schema.ontology import UNLABELLED, Ontology

_CHUNK = 256
T = TypeVar("T")


@dataclass(frozen=True)
class PreparedMask:
    """A label map whose tiles are stored and whose rows are not: `add` does those in a transaction."""

    mask: Mask
    new_bytes: int
    parts: NewParts

    def add(self, store: Store, scope: Scope, sample_id: str, origin: Origin) -> None:
        add_all(store, scope, [(self, sample_id, origin)])


def add_all(store: Store, scope: Scope, rows: Iterable[tuple[PreparedMask, str, Origin]]) -> None:
    """The rows of many prepared masks: (mask, its sample, where it comes from)."""
    listed = list(rows)
    for parts in {id(prepared.parts): prepared.parts for prepared, _, _ in listed}.values():
        parts.add_rows(store, scope.organisation_id)
    store.add_masks(scope, [prepared.mask for prepared, _, _ in listed])
    store.add_origins(scope, [(prepared.mask.mask_id, sample, origin) for prepared, sample, origin in listed])


def refuse_unknown_classes(labels_HW: NDArray[Any], counts: Mapping[int, int], ontology: Ontology) -> None:
    """Raises Unprocessable that names the first pixel of an id that is no class."""
    stray = first_stray(labels_HW, (UNLABELLED, *ontology.ids), counts)
    if stray is not None:
        raise Unprocessable(
            f"class id {stray.value} (first at row {stray.y}, column {stray.x}; {stray.num_pixels} pixels) "
            f"is no class of the ontology {ontology.name!r}",
            field="body",
            value=stray.value,
            remedy="use the ids of the project's ontology, and 0 for unlabelled",
        )


def prepare(
    deps: Deps, scope: Scope, labels_HW: NDArray[Any], ontology: Ontology, base_id: str | None = None
) -> PreparedMask:
    """Store a label map's new tiles; `base_id` is the mask that it is a new version of.

    Raises Unprocessable that names the first pixel of an id that is no class, StorageFull.
    """
    [prepared] = prepare_many(deps, scope, [(labels_HW, base_id)], ontology)
    if isinstance(prepared, Unprocessable):
        raise prepared
    return prepared


def prepare_many(
    deps: Deps, scope: Scope, maps: Iterable[tuple[NDArray[Any], str | None]], ontology: Ontology
) -> list[PreparedMask | Unprocessable]:
    """Store the new tiles of many label maps (H, W), each with the mask that it is a new version of, or None.

    In their order; a map with an id that is no class is refused alone, as the error that `prepare` would raise.
    Raises StorageFull.
    """
    with deps.uow.read() as store:
        batch = Batch(deps, store, scope)
        found: list[Built | Unprocessable] = []
        for chunk in _chunks(maps):
            batch.expect(base_id for _, base_id in chunk if base_id is not None)
            found += [batch.build(labels_HW, ontology, base_id) for labels_HW, base_id in chunk]
        return batch.stored(found)


def _chunks(maps: Iterable[T]) -> Iterator[list[T]]:
    """What is built with one look-up of its bases; maps are not held longer than that."""
    rest = iter(maps)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


class Built(NamedTuple):
    """A manifest, the base that it was made from, what changed from there, and its lines of the parts' log."""

    manifest: tiles.Manifest
    base: Mask | None
    flow: Flow | None
    mark: int
    end: int


class Batch:
    """Manifests that are made together."""

    def __init__(self, deps: Deps, store: Store, scope: Scope) -> None:
        self._deps, self._store, self._scope = deps, store, scope
        self._bases: dict[str, tuple[Mask, tiles.Manifest]] = {}
        self._allowed: tuple[Ontology, frozenset[int]] | None = None
        self.parts = NewParts(PartsReader(store, deps.packs, scope.organisation_id))

    def expect(self, base_ids: Iterable[str]) -> None:
        """Look bases up together, and their tiles: masks that others are built on."""
        masks = self._store.masks(self._scope, base_ids)
        self.parts.prefetch(masks)
        self._bases = {mask_id: (mask, tiles.load(mask_id, self.parts)) for mask_id, mask in masks.items()}
        roots = [manifest.root for _, manifest in self._bases.values()]
        self.parts.prefetch(digest for root in roots for digest in root.digests())

    def build(self, labels_HW: NDArray[Any], ontology: Ontology, base_id: str | None) -> Built | Unprocessable:
        mark = len(self.parts.log)
        base, old = self._bases.get(base_id, (None, None)) if base_id is not None else (None, None)
        manifest = tiles.build(labels_HW, self.parts, base=old)
        if not manifest.counts.keys() <= self._allowed_by(ontology):
            try:
                refuse_unknown_classes(labels_HW, manifest.counts, ontology)
            except Unprocessable as error:
                self.parts.forget(mark)
                return error
        return Built(manifest, base, self._flow(old, manifest), mark, len(self.parts.log))

    def _allowed_by(self, ontology: Ontology) -> frozenset[int]:
        if self._allowed is None or self._allowed[0] is not ontology:
            self._allowed = (ontology, frozenset((UNLABELLED, *ontology.ids)))
        return self._allowed[1]

    def _flow(self, old: tiles.Manifest | None, new: tiles.Manifest) -> Flow | None:
        """What changed between two masks of one shape; None where there is no such base."""
        if old is None or (old.height, old.width) != (new.height, new.width):
            return None
        if old.data == new.data:
            return {}
        if old.root.level > 0 or old.tile_px != new.tile_px:
            return diff_manifests(old, new, self.parts).flow
        # As that does, but the tiles are at hand, and were checked or made just now.
        changes = []
        single = new.root.num_children == 1
        differing = [0] if single else np.flatnonzero(new.root.differs_from(old.root)).tolist()
        for child in differing:
            box = new.root.box_of(child)
            before, after = int(old.root.uniform_N[child]), int(new.root.uniform_N[child])
            if before != MIXED and after != MIXED:
                changes.append(uniform_change(before, after, box))
                continue
            before_HW, after_HW = self._pixels(old.root, child, box), self._pixels(new.root, child, box)
            change = change_between(before_HW, after_HW, box.y, box.x)
            changes += [] if change is None else [change]
        return summed(changes)

    def _pixels(self, node: Node, child: int, box: Box) -> LabelMap:
        class_id = int(node.uniform_N[child])
        if class_id == MIXED:
            return self.parts.tile(node.digest_of_child(child))
        return np.full((box.height, box.width), class_id, dtype_for(class_id))

    def finish(self, make: Callable[[NewParts], tiles.Manifest], base: Mask | None = None) -> PreparedMask:
        """One manifest, made by `make(parts)`, and its blobs written. Raises StorageFull and what `make` does."""
        mark = len(self.parts.log)
        manifest = make(self.parts)
        flow = None if base is None else self._flow(tiles.load(base.mask_id, self.parts), manifest)
        self.parts.write_blobs(self._store, self._deps.blobs, self._scope.organisation_id)
        return self._prepared(Built(manifest, base, flow, mark, len(self.parts.log)))

    def stored(self, found: Sequence[Built | Unprocessable]) -> list[PreparedMask | Unprocessable]:
        """Write the blobs of all that was built."""
        self.parts.write_blobs(self._store, self._deps.blobs, self._scope.organisation_id)
        return [row if isinstance(row, Unprocessable) else self._prepared(row) for row in found]

    def _prepared(self, built: Built) -> PreparedMask:
        manifest, base, flow, mark, end = built
        held, fresh = self.parts.sizes(mark, end)
        if base is not None and (base.height, base.width) == (manifest.height, manifest.width):
            held += base.size_bytes
        mask = Mask(
            manifest.digest,
            manifest.height,
            manifest.width,
            manifest.dtype,
            manifest.counts,
            max(held, len(manifest.data)),
            None if flow is None or base is None else base.mask_id,
            flow,
        )
        return PreparedMask(mask, fresh, self.parts)
