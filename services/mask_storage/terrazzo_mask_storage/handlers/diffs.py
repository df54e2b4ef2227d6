"""What changed between two versions: which samples, how many pixels, from which class to which."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import PartsReader, reader
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.diff import ManifestDiff, diff_manifests
from terrazzo_masks.manifest import MIXED
from terrazzo_schema.rest.mask_storage import DiffView, Flow, SampleDiff

# Pairs of masks whose parts are located together.
_AT_ONCE = 1_000
PairFlow = dict[tuple[int, int], int]


class DiffCache:
    """Differences of pairs of masks. Masks never change, so neither does what lies between two of them."""

    def __init__(self, num_max: int = 20_000) -> None:
        self._num_max = num_max
        self._diffs: OrderedDict[tuple[str, str], ManifestDiff] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pair: tuple[str, str]) -> ManifestDiff | None:
        with self._lock:
            return self._diffs.get(pair)

    def put(self, pair: tuple[str, str], made: ManifestDiff) -> None:
        with self._lock:
            self._diffs[pair] = made
            while len(self._diffs) > self._num_max:
                self._diffs.popitem(last=False)


def diff(
    deps: Deps,
    cache: DiffCache,
    scope: Scope,
    base_ref: str,
    head_ref: str,
    cursor: str | None,
    limit: int,
    *,
    pixels: bool = True,
) -> DiffView:
    """Totals over all samples that differ, and a page of them by sample id.

    Pixels are those of samples that both versions have; an added or removed sample counts as a sample alone.
    Without `pixels` no mask is read: the trees say which samples differ.
    """
    counts = {"added": 0, "removed": 0, "changed": 0}
    changed_pixels = 0
    total: PairFlow = {}
    page: list[tuple[TreeEntry | None, TreeEntry | None, ManifestDiff | None]] = []
    with deps.uow.read() as store:
        base, head = resolve(store, scope, base_ref), resolve(store, scope, head_ref)
        read = reader(store, deps.packs, scope.organisation_id)
        differing = versions.compare(base.tree_id, head.tree_id, read.node, read.prefetch)
        for pairs in iter(lambda: list(islice(differing, _AT_ONCE)), []):
            found = _between(read, cache, pairs) if pixels else [None] * len(pairs)
            for (old, new), between in zip(pairs, found, strict=True):
                counts["added" if old is None else "removed" if new is None else "changed"] += 1
                if between is not None:
                    changed_pixels += between.changed_pixels
                    for flow, num_pixels in between.flow.items():
                        total[flow] = total.get(flow, 0) + num_pixels
                entry = old or new
                assert entry is not None
                if entry.sample_id > (cursor or "") and len(page) <= limit:
                    page.append((old, new, between))
        samples = _described(store, scope, page[:limit], pixels)
    return DiffView(
        base=base.commit_id,
        head=head.commit_id,
        num_added=counts["added"],
        num_removed=counts["removed"],
        num_changed=counts["changed"],
        changed_pixels=changed_pixels if pixels else None,
        flow=_flow_view(total),
        samples=samples,
        next_cursor=samples[-1].sample_id if len(page) > limit else None,
    )


def _between(
    read: PartsReader, cache: DiffCache, pairs: Sequence[tuple[TreeEntry | None, TreeEntry | None]]
) -> list[ManifestDiff | None]:
    """What lies between the masks of each pair; None where there is one mask alone.

    What is not known yet is located together: the masks in one query, then the tiles that they do not share.
    """
    wanted = [(old.mask_id, new.mask_id) if old and new else None for old, new in pairs]
    known = {pair: cache.get(pair) for pair in wanted if pair is not None}
    unknown = [pair for pair, found in known.items() if found is None]
    if unknown:
        read.prefetch(mask_id for pair in unknown for mask_id in pair)
        loaded = {pair: (tiles.load(pair[0], read), tiles.load(pair[1], read)) for pair in unknown}
        read.prefetch(digest for old, new in loaded.values() for digest in _apart(old, new))
        for pair, (old, new) in loaded.items():
            known[pair] = made = diff_manifests(old, new, read)
            cache.put(pair, made)
    return [None if pair is None else known[pair] for pair in wanted]


def _apart(old: tiles.Manifest, new: tiles.Manifest) -> Iterator[str]:
    """The nodes or tiles right below two roots that differ."""
    if (old.height, old.width, old.tile_px) != (new.height, new.width, new.tile_px):
        return
    for child in np.flatnonzero(new.root.differs_from(old.root)).tolist():
        for node in (old.root, new.root):
            if node.uniform_N[child] == MIXED:
                yield node.digest_of_child(child)


def _described(
    store: Store,
    scope: Scope,
    rows: list[tuple[TreeEntry | None, TreeEntry | None, ManifestDiff | None]],
    pixels: bool,
) -> list[SampleDiff]:
    ids = [entry.sample_id for old, new, _ in rows for entry in islice(filter(None, (old, new)), 1)]
    images = store.images_of(scope, ids)
    return [
        SampleDiff(
            sample_id=sample_id,
            name=images[sample_id].name,
            change="added" if old is None else "removed" if new is None else "changed",
            old_mask_id=old.mask_id if old else None,
            new_mask_id=new.mask_id if new else None,
            changed_pixels=(between.changed_pixels if between else 0) if pixels else None,
            flow=_flow_view(between.flow) if between else [],
        )
        for sample_id, (old, new, between) in zip(ids, rows, strict=True)
    ]


def _flow_view(flow: PairFlow) -> list[Flow]:
    """The largest flow first; ties by class ids."""
    rows = sorted(flow.items(), key=lambda item: (-item[1], item[0]))
    return [Flow(from_class=pair[0], to_class=pair[1], pixels=pixels) for pair, pixels in rows]
