"""What changed between two versions: which samples, how many pixels, from which class to which.

A mask that was made from another one says what changed from there (`Mask.flow`): where one version has the one and
the other version the other, no pixel is read. Of other pairs, the tiles that differ are read.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import numpy as np

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.tree_nodes import mask_of, sample_of
from terrazzo_mask_storage.domain.versions import RowPair
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import PartsReader, reader
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Flow, Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.diff import diff_manifests
from terrazzo_masks.manifest import MIXED
from terrazzo_schema.rest import mask_storage as rest
from terrazzo_schema.rest.mask_storage import DiffView, SampleDiff

# Pairs of masks that are looked up together, and those whose parts are located together.
_AT_ONCE, _READ_AT_ONCE = 5_000, 500
MaskPair = tuple[str, str]


class DiffCache:
    """Flows between pairs of masks. Masks never change, so neither does what lies between two of them."""

    def __init__(self, num_max: int = 20_000) -> None:
        self._num_max = num_max
        self._flows: OrderedDict[MaskPair, Flow] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pairs: Iterable[MaskPair]) -> dict[MaskPair, Flow]:
        """Of those that are known."""
        with self._lock:
            return {pair: self._flows[pair] for pair in pairs if pair in self._flows}

    def put(self, made: Mapping[MaskPair, Flow]) -> None:
        with self._lock:
            self._flows.update(made)
            while len(self._flows) > self._num_max:
                self._flows.popitem(last=False)


@dataclass
class _Found:
    """What a comparison adds up to, and the page of it that is shown: rows, and the flow between their masks."""

    change: Counter[str] = field(default_factory=Counter)
    flow: Counter[tuple[int, int]] = field(default_factory=Counter)
    page: list[tuple[RowPair, Flow]] = field(default_factory=list)


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
    Without `pixels` no mask is looked up: the trees say which samples differ.
    """
    found = _Found()
    with deps.uow.read() as store:
        base, head = resolve(store, scope, base_ref), resolve(store, scope, head_ref)
        read = reader(store, deps.packs, scope.organisation_id)
        differing = versions.compare_rows(base.tree_id, head.tree_id, read.node, read.prefetch)
        for rows in iter(lambda: list(islice(differing, _AT_ONCE)), []):
            pairs = [_masks_of(row) for row in rows]
            flows = flows_between(store, read, cache, scope, pairs) if pixels else {}
            _add_up(found, rows, pairs, flows)
            for row, pair in zip(rows, pairs, strict=True):
                if len(found.page) > limit:
                    break
                if sample_of(row[0] or row[1]) > (cursor or ""):
                    found.page.append((row, {} if pair is None else flows.get(pair, {})))
        samples = _described(store, scope, found.page[:limit], pixels)
    return DiffView(
        base=base.commit_id,
        head=head.commit_id,
        num_added=found.change["added"],
        num_removed=found.change["removed"],
        num_changed=found.change["changed"],
        changed_pixels=found.flow.total() if pixels else None,
        flow=_flow_view(found.flow),
        samples=samples,
        next_cursor=samples[-1].sample_id if len(found.page) > limit else None,
    )


def _masks_of(row: RowPair) -> MaskPair | None:
    """None where there is one mask alone."""
    old, new = row
    return (mask_of(old), mask_of(new)) if old and new else None


def _change_of(row: RowPair) -> Literal["added", "removed", "changed"]:
    return "added" if not row[0] else "removed" if not row[1] else "changed"


def _add_up(
    found: _Found,
    rows: Iterable[RowPair],
    pairs: Iterable[MaskPair | None],
    flows: Mapping[MaskPair, Flow],
) -> None:
    found.change.update(map(_change_of, rows))
    for pair, times in Counter(pair for pair in pairs if pair in flows).items():
        assert pair is not None
        for way, num_pixels in flows[pair].items():
            found.flow[way] += times * num_pixels


def flows_between(
    store: Store, read: PartsReader, cache: DiffCache, scope: Scope, pairs: Iterable[MaskPair | None]
) -> dict[MaskPair, Flow]:
    """The pixels that differ between the masks of each pair (old, new), by (old class, new class).

    What is not cached is looked up together: what masks say of their bases, and for the rest their tiles.
    """
    wanted = dict.fromkeys(pair for pair in pairs if pair is not None)
    flows = cache.get(wanted)
    unknown = [pair for pair in wanted if pair not in flows]
    if unknown:
        made = _told(store, scope, unknown)
        others = [pair for pair in unknown if pair not in made]
        for start in range(0, len(others), _READ_AT_ONCE):
            made |= _measured(read, others[start : start + _READ_AT_ONCE])
        cache.put(made)
        flows |= made
    return flows


def _told(store: Store, scope: Scope, pairs: Sequence[MaskPair]) -> dict[MaskPair, Flow]:
    """Of those pairs of which one mask was made from the other."""
    made: dict[MaskPair, Flow] = {}
    from_old = store.mask_flows(scope, (new for _, new in pairs))
    for old, new in pairs:
        base, flow = from_old.get(new, (None, {}))
        if base == old:
            made[old, new] = flow
    turned = [pair for pair in pairs if pair not in made]
    from_new = store.mask_flows(scope, (old for old, _ in turned)) if turned else {}
    for old, new in turned:
        base, flow = from_new.get(old, (None, {}))
        if base == new:
            made[old, new] = {(to, from_): num_pixels for (from_, to), num_pixels in flow.items()}
    return made


def _measured(read: PartsReader, pairs: Sequence[MaskPair]) -> dict[MaskPair, Flow]:
    """From their pixels: the masks are located in one query, then the tiles that they do not share."""
    read.prefetch(mask_id for pair in pairs for mask_id in pair)
    loaded = {pair: (tiles.load(pair[0], read), tiles.load(pair[1], read)) for pair in pairs}
    read.prefetch(digest for old, new in loaded.values() for digest in _apart(old, new))
    return {pair: diff_manifests(old, new, read).flow for pair, (old, new) in loaded.items()}


def _apart(old: tiles.Manifest, new: tiles.Manifest) -> Iterator[str]:
    """The nodes or tiles right below two roots that differ."""
    if (old.height, old.width, old.tile_px) != (new.height, new.width, new.tile_px):
        return
    for child in np.flatnonzero(new.root.differs_from(old.root)).tolist():
        for node in (old.root, new.root):
            if node.uniform_N[child] == MIXED:
                yield node.digest_of_child(child)


def _described(store: Store, scope: Scope, page: Sequence[tuple[RowPair, Flow]], pixels: bool) -> list[SampleDiff]:
    ids = [sample_of(old or new) for (old, new), _ in page]
    names = store.names_of(scope, ids)
    return [
        SampleDiff(
            sample_id=sample_id,
            name=names[sample_id],
            change=_change_of(row),
            old_mask_id=mask_of(row[0]) if row[0] else None,
            new_mask_id=mask_of(row[1]) if row[1] else None,
            changed_pixels=sum(flow.values()) if pixels else None,
            flow=_flow_view(flow),
        )
        for sample_id, (row, flow) in zip(ids, page, strict=True)
    ]


def _flow_view(flow: Flow) -> list[rest.Flow]:
    """The largest flow first; ties by class ids."""
    ways = sorted(flow.items(), key=lambda item: (-item[1], item[0]))
    return [rest.Flow(from_class=from_, to_class=to, pixels=num_pixels) for (from_, to), num_pixels in ways]
