"""Label maps become stored masks: tiles and nodes first, as blobs; then rows, in a transaction.

One mask: `prepare`, then `PreparedMask.add`. Many (an import): `prepare_many`, then `add_all`; they share one
look-up of what is stored already, one pack and one statement per table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from numpy.typing import NDArray

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.labels import first_stray
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import NewParts, PartsReader
from terrazzo_mask_storage.ports import Flow, Mask, Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.diff import diff_manifests
from terrazzo_schema.errors import Unprocessable
from terrazzo_schema.ontology import UNLABELLED, Ontology

_CHUNK = 256
_MANY_BASES = 16
T = TypeVar("T")


class PreparedMask(NamedTuple):
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


class Base(NamedTuple):
    """A stored mask of the same size that another is made from."""

    mask_id: str
    size_bytes: int


class Built(NamedTuple):
    """A manifest, the base that it was made from and what changed from there, its lines of the parts' log."""

    manifest: tiles.Manifest
    base: Base | None
    flow: Flow | None
    mark: int
    end: int


class Batch:
    """Manifests that are made together."""

    def __init__(self, deps: Deps, store: Store, scope: Scope) -> None:
        self._deps, self._store, self._scope = deps, store, scope
        self._bases: dict[str, tuple[Base, tiles.Manifest]] = {}
        self._allowed: tuple[Ontology, frozenset[int]] | None = None
        self.parts = NewParts(PartsReader(store, deps.packs, scope.organisation_id))

    def expect(self, base_ids: Iterable[str]) -> None:
        """Look bases up together, and their tiles: masks that others are built on."""
        size_bytes_of = self._store.mask_bytes(self._scope, base_ids)
        self.parts.locate(size_bytes_of)
        self._bases = {
            mask_id: (Base(mask_id, size_bytes), tiles.load(mask_id, self.parts))
            for mask_id, size_bytes in size_bytes_of.items()
        }
        roots = [manifest.root for _, manifest in self._bases.values()]
        self.parts.locate(digest for root in roots for digest in root.digests())
        # Of many masks each old tile is looked at once: kept, they would push others out of the cache.
        self.parts.keeps_tiles = len(roots) < _MANY_BASES

    def build(self, labels_HW: NDArray[Any], ontology: Ontology, base_id: str | None) -> Built | Unprocessable:
        mark = len(self.parts.log)
        base, old = self._bases.get(base_id or "", (None, None))
        flow: Flow | None = None
        # A mask's id is that of its pixels in tiles of our size, whatever it was made from.
        if old is None or (old.height, old.width, old.tile_px) != (*labels_HW.shape, tiles.TILE_PX):
            base, manifest = None, tiles.build(labels_HW, self.parts)
        else:
            manifest, flow = tiles.rebuild(labels_HW, self.parts, old)
        if not manifest.counts.keys() <= self._allowed_by(ontology):
            try:
                refuse_unknown_classes(labels_HW, manifest.counts, ontology)
            except Unprocessable as error:
                self.parts.forget(mark)
                return error
        return Built(manifest, base, flow, mark, len(self.parts.log))

    def _allowed_by(self, ontology: Ontology) -> frozenset[int]:
        if self._allowed is None or self._allowed[0] is not ontology:
            self._allowed = (ontology, frozenset((UNLABELLED, *ontology.ids)))
        return self._allowed[1]

    def finish(self, make: Callable[[NewParts], tiles.Manifest], base: Mask | None = None) -> PreparedMask:
        """One manifest, made by `make(parts)`, and its blobs written. Raises StorageFull and what `make` does."""
        mark = len(self.parts.log)
        manifest = make(self.parts)
        old, flow = None, None
        if base is not None and (base.height, base.width) == (manifest.height, manifest.width):
            old = Base(base.mask_id, base.size_bytes)
            flow = diff_manifests(tiles.load(base.mask_id, self.parts), manifest, self.parts).flow
        self.parts.write_blobs(self._store, self._deps.blobs, self._scope.organisation_id)
        return self._prepared(Built(manifest, old, flow, mark, len(self.parts.log)))

    def stored(self, found: Sequence[Built | Unprocessable]) -> list[PreparedMask | Unprocessable]:
        """Write the blobs of all that was built."""
        self.parts.write_blobs(self._store, self._deps.blobs, self._scope.organisation_id)
        return [row if isinstance(row, Unprocessable) else self._prepared(row) for row in found]

    def _prepared(self, built: Built) -> PreparedMask:
        manifest, base, flow, mark, end = built
        held, fresh = self.parts.sizes(mark, end)
        if base is not None:
            held += base.size_bytes
        mask = Mask(
            manifest.digest,
            manifest.height,
            manifest.width,
            manifest.dtype,
            manifest.counts,
            max(held, len(manifest.data)),
            None if base is None else base.mask_id,
            flow,
        )
        return PreparedMask(mask, fresh, self.parts)
