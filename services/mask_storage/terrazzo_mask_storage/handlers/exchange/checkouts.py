"""The label files that lead from one version to another, or from nothing to a version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from posixpath import basename, splitext

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.exchange import packed_pngs
from terrazzo_mask_storage.handlers.parts import PartsReader, reader
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats.label_files import to_png
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.manifest import MIXED
from terrazzo_masks.parts import tile_digest
from terrazzo_schema.label_bundle import frame
from terrazzo_schema.rest.mask_storage import CheckoutCreate

_FRAME_FILES = 256
# Fewer files are not worth being read pack by pack.
_MANY_FILES = 1_000
# So many masks are located at once, to be read in the order in which they lie: some 20 MB.
_LOCATED_FILES = 32_768


def checkout(deps: Deps, scope: Scope, command: CheckoutCreate) -> Iterator[bytes]:
    """A bundle (terrazzo_schema.label_bundle): first what goes, then the index PNGs of what comes.

    The first frame's head is `{"commit_id": ..., "removed": [sample id, ...], "files": []}`; a file's row is
    `[image name, size, sample id, mask id]`; files come in no special order. Raises NotFound before anything is
    given.
    """
    with deps.uow.read() as store:
        commit_id, coming, gone = _changes(deps, store, scope, command)
        names = {s: splitext(basename(name))[0] for s, name in store.names_of(scope, coming).items()}
    entries = list(coming.values())

    def framed(files: Iterable[tuple[TreeEntry, bytes]]) -> bytes:
        return frame([(names[e.sample_id], png, (e.sample_id, e.mask_id)) for e, png in files])

    def frames() -> Iterator[bytes]:
        yield frame([], commit_id=commit_id, removed=gone)
        for start in range(0, len(entries), _LOCATED_FILES):
            some = entries[start : start + _LOCATED_FILES]
            others = some
            if len(some) >= _MANY_FILES:
                others = []
                with deps.uow.read() as store:
                    located = store.parts(scope.organisation_id, [entry.mask_id for entry in some])
                found = packed_pngs.pngs_of(deps.packs, some, located)
                while files := list(islice(found, _FRAME_FILES)):
                    yield framed((entry, png) for entry, png in files if png is not None)
                    others += [entry for entry, png in files if png is None]
            for at in range(0, len(others), _FRAME_FILES):
                rows = others[at : at + _FRAME_FILES]
                with deps.uow.read() as store:
                    pngs = _pngs(reader(store, deps.packs, scope.organisation_id), rows)
                yield framed(zip(rows, pngs, strict=True))

    return frames()


def _changes(
    deps: Deps, store: Store, scope: Scope, command: CheckoutCreate
) -> tuple[str, dict[str, TreeEntry], list[str]]:
    """(commit id, entries whose files are to be written, samples whose files go)."""
    head = resolve(store, scope, command.ref)
    base = resolve(store, scope, command.base) if command.base is not None else None
    read = reader(store, deps.packs, scope.organisation_id)
    differing = versions.compare(base.tree_id if base else None, head.tree_id, read.node, read.prefetch)
    target = {entry.sample_id: new for old, new in differing if (entry := old or new) is not None}
    if command.masks:
        unsaid = [sample_id for sample_id in command.masks if sample_id not in target]
        found = versions.find_many(head.tree_id, unsaid, read.node, read.prefetch)
        target |= {sample_id: found.get(sample_id) for sample_id in unsaid}
        for sample_id, mask_id in command.masks.items():
            entry = target[sample_id]
            if (entry.mask_id if entry else None) == mask_id:
                del target[sample_id]
    coming = {sample_id: entry for sample_id, entry in target.items() if entry is not None}
    return head.commit_id, coming, [sample_id for sample_id, entry in target.items() if entry is None]


def _pngs(read: PartsReader, entries: Sequence[TreeEntry]) -> list[bytes]:
    """Index PNGs of masks; what they are made of is located together."""
    read.prefetch(entry.mask_id for entry in entries)
    manifests = [tiles.load(entry.mask_id, read) for entry in entries]
    read.prefetch(digest for manifest in manifests for digest in manifest.root.digests())
    return [to_png(_labels(manifest, read)) for manifest in manifests]


def _labels(manifest: tiles.Manifest, read: PartsReader) -> LabelMap:
    """The label map, not to be written to. Raises CorruptMask.

    Of a map of one tile its digest alone is checked: classes and pixels were counted from it when it was stored.
    """
    root = manifest.root
    if root.level > 0 or root.num_children > 1 or root.uniform_N[0] != MIXED:
        return tiles.read(manifest, read)
    digest = root.digest_of_child(0)
    tile_HW = read.tile(digest)
    if tile_digest(tile_HW) != digest or tile_HW.shape != (manifest.height, manifest.width):
        raise CorruptMask(f"tile {digest}: its pixels have another digest or size")
    return tile_HW
