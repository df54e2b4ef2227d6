"""What changed between two versions: which samples, how many pixels, from which class to which."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.masks import load
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_masks.diff import ManifestDiff, diff_manifests
from terrazzo_schema.rest.mask_storage import DiffView, Flow, SampleDiff

PairFlow = dict[tuple[int, int], int]


class DiffCache:
    """Differences of pairs of masks. Masks never change, so neither does what lies between two of them."""

    def __init__(self, num_max: int = 20_000) -> None:
        self._num_max = num_max
        self._diffs: OrderedDict[tuple[str, str], ManifestDiff] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, old_id: str, new_id: str, make: Callable[[], ManifestDiff]) -> ManifestDiff:
        with self._lock:
            known = self._diffs.get((old_id, new_id))
        if known is not None:
            return known
        made = make()
        with self._lock:
            self._diffs[old_id, new_id] = made
            while len(self._diffs) > self._num_max:
                self._diffs.popitem(last=False)
        return made


def diff(
    deps: Deps, cache: DiffCache, scope: Scope, base_ref: str, head_ref: str, cursor: str | None, limit: int
) -> DiffView:
    """Totals over all samples that differ, and a page of them by sample id.

    Pixels are those of samples that both versions have; an added or removed sample counts as a sample alone.
    """
    counts = {"added": 0, "removed": 0, "changed": 0}
    changed_pixels = 0
    total: PairFlow = {}
    page: list[tuple[TreeEntry | None, TreeEntry | None, ManifestDiff | None]] = []
    with deps.uow.read() as store:
        base, head = resolve(store, scope, base_ref), resolve(store, scope, head_ref)
        read = reader(store, deps.packs, scope.organisation_id)
        for old, new in versions.compare(base.tree_id, head.tree_id, read):
            counts["added" if old is None else "removed" if new is None else "changed"] += 1
            between = _between(deps, cache, store, scope, old, new)
            if between is not None:
                changed_pixels += between.changed_pixels
                for pair, pixels in between.flow.items():
                    total[pair] = total.get(pair, 0) + pixels
            entry = old or new
            assert entry is not None
            if entry.sample_id > (cursor or "") and len(page) <= limit:
                page.append((old, new, between))
        samples = _described(store, scope, page[:limit])
    return DiffView(
        base=base.commit_id,
        head=head.commit_id,
        num_added=counts["added"],
        num_removed=counts["removed"],
        num_changed=counts["changed"],
        changed_pixels=changed_pixels,
        flow=_flow_view(total),
        samples=samples,
        next_cursor=samples[-1].sample_id if len(page) > limit else None,
    )


def _between(
    deps: Deps, cache: DiffCache, store: Store, scope: Scope, old: TreeEntry | None, new: TreeEntry | None
) -> ManifestDiff | None:
    if old is None or new is None:
        return None

    def make() -> ManifestDiff:
        before, read_before = load(deps, store, scope.organisation_id, old.mask_id)
        after, _ = load(deps, store, scope.organisation_id, new.mask_id)
        return diff_manifests(before, after, read_before)

    return cache.get(old.mask_id, new.mask_id, make)


def _described(
    store: Store, scope: Scope, rows: list[tuple[TreeEntry | None, TreeEntry | None, ManifestDiff | None]]
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
            changed_pixels=between.changed_pixels if between else 0,
            flow=_flow_view(between.flow) if between else [],
        )
        for sample_id, (old, new, between) in zip(ids, rows, strict=True)
    ]


def _flow_view(flow: PairFlow) -> list[Flow]:
    """The largest flow first; ties by class ids."""
    rows = sorted(flow.items(), key=lambda item: (-item[1], item[0]))
    return [Flow(from_class=pair[0], to_class=pair[1], pixels=pixels) for pair, pixels in rows]
