"""Merging two trees that come from one: which samples change, which masks are made, what people must decide."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.merge_records import BoxTuple, Clashing, Strategy
from terrazzo_mask_storage.domain.merging import Blend, Change, Clash, Take, resolve_entry
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import NewParts, PartsReader
from terrazzo_mask_storage.ports import Mask, Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.boxes import Box
from terrazzo_masks.merge import MaskMerge, merge_manifests

BOXES_MAX = 100
Key = tuple[str, str | None, str | None, str | None]
Rulings = Mapping[Key, str | None]
"""What people decided: `Clashing.key` -> mask id, None: the sample is removed."""


@dataclass(frozen=True)
class Blended:
    """A mask that was made of two: `mask` lacks its size until the parts are written."""

    sample_id: str
    mask: Mask
    origin: Origin
    log: tuple[int, int]


@dataclass
class Merged:
    """What a merge does to ours: sample id -> its new entry, None removes it. `ruled`: rulings that were used."""

    changes: dict[str, TreeEntry | None] = field(default_factory=dict)
    blended: list[Blended] = field(default_factory=list)
    clashing: list[Clashing] = field(default_factory=list)
    ruled: set[Key] = field(default_factory=set)


class Workshop:
    """Reads the stored parts and collects new ones, for one or several merges; inside one read transaction."""

    def __init__(self, deps: Deps, store: Store, scope: Scope, author: str, parts: NewParts | None = None) -> None:
        self.deps, self.store, self.scope, self.author = deps, store, scope, author
        self.parts = parts or NewParts(PartsReader(store, deps.packs, scope.organisation_id))
        self.masks: dict[str, Mask] = {}
        self.virtual: list[Blended] = []  # masks of virtual bases: kept only where people are shown them

    def mask(self, mask_id: str) -> Mask:
        """A mask that is stored, or was made here."""
        if mask_id in self.masks:
            return self.masks[mask_id]
        return self.store.masks(self.scope, [mask_id])[mask_id]

    def counts_of(self, mask_ids: Collection[str]) -> dict[str, dict[int, int]]:
        """Class id -> pixels of masks that are stored, or were made here."""
        found = self.store.mask_counts(self.scope, [mask_id for mask_id in mask_ids if mask_id not in self.masks])
        made = {mask_id: dict(self.masks[mask_id].counts) for mask_id in mask_ids if mask_id in self.masks}
        return {**{mask_id: dict(pairs) for mask_id, pairs in found.items()}, **made}

    def merge(
        self,
        base_tree: str | None,
        ours_tree: str | None,
        theirs_tree: str | None,
        strategy: Strategy,
        *,
        rulings: Rulings | None = None,
        only: Collection[str] | None = None,
    ) -> Merged:
        """Three-way, by sample, tile, pixel. `only`: these samples alone, the others stay ours.

        In a conflict under "adjudicate" and "fail" the merged version keeps ours, and `clashing` has it.
        """
        merged = Merged()
        for change in self._changes(base_tree, ours_tree, theirs_tree):
            if only is None or change.sample_id in only:
                self._merge_sample(merged, change, strategy, rulings or {})
        return merged

    def _changes(self, base: str | None, ours: str | None, theirs: str | None) -> Iterator[Change]:
        """Samples that theirs changed since the base. Nothing is kept: a merge costs what differs."""
        for sides in versions.compare3(base, ours, theirs, self.parts.node, self.parts.prefetch):
            if sides[2] != sides[0]:
                sample_id = next(entry.sample_id for entry in sides if entry is not None)
                yield Change(sample_id, *sides)

    def _merge_sample(self, merged: Merged, change: Change, strategy: Strategy, rulings: Rulings) -> None:
        decision = resolve_entry(change)
        if isinstance(decision, Take):
            if decision.changes_ours:
                merged.changes[change.sample_id] = decision.entry
            return
        clashing = _clashing(change, "removed" if isinstance(decision, Clash) else "pixels")
        if clashing.key in rulings:
            merged.ruled.add(clashing.key)
            self._apply_ruling(merged, change, rulings[clashing.key])
        elif isinstance(decision, Blend):
            self._blend(merged, change, clashing, strategy)
        elif strategy == "theirs":
            merged.changes[change.sample_id] = change.theirs
        elif strategy != "ours":
            merged.clashing.append(clashing)

    def _apply_ruling(self, merged: Merged, change: Change, mask_id: str | None) -> None:
        entry = change.ours or change.theirs
        assert entry is not None, "a conflict has a side that is there"
        ruled = None if mask_id is None else entry._replace(mask_id=mask_id)
        if ruled != change.ours:
            merged.changes[change.sample_id] = ruled

    def _blend(self, merged: Merged, change: Change, clashing: Clashing, strategy: Strategy) -> None:
        ours, theirs = change.ours, change.theirs
        assert ours is not None and theirs is not None  # noqa: PT018 - one fact: both sides are there
        mark = len(self.parts.log)
        result = self._merged_mask(change.base, ours, theirs, flipped=strategy == "theirs")
        mask_id = result.manifest.digest
        if strategy in ("adjudicate", "fail") and result.num_conflict_pixels:
            merged.clashing.append(_with_pixels(clashing, mask_id, result))
        if mask_id != ours.mask_id:
            merged.changes[change.sample_id] = ours._replace(mask_id=mask_id)
        if mask_id not in (ours.mask_id, theirs.mask_id):
            manifest = result.manifest
            size_bytes = self.mask(ours.mask_id).size_bytes
            mask = Mask(
                mask_id, manifest.height, manifest.width, manifest.dtype, dict(manifest.counts), size_bytes
            )
            self.masks[mask_id] = mask
            origin = Origin("merge", self.author, None, clashing.base_mask_id, (ours.mask_id, theirs.mask_id))
            merged.blended.append(Blended(change.sample_id, mask, origin, (mark, len(self.parts.log))))

    def _merged_mask(self, base: TreeEntry | None, ours: TreeEntry, theirs: TreeEntry, flipped: bool) -> MaskMerge:
        mine, other = (tiles.load(entry.mask_id, self.parts) for entry in (ours, theirs))
        if base is not None:
            common = tiles.load(base.mask_id, self.parts)
        else:
            # Both sides added the sample: what one of them left unlabelled is the other's to say.
            common = tiles.blank(mine.height, mine.width, self.parts, tile_px=mine.tile_px)
        return merge_manifests(common, *((other, mine) if flipped else (mine, other)), self.parts)

    def write(self, blended: Sequence[Blended], keep: bool) -> list[Blended]:
        """Write the blobs of all that was made, unless nothing is kept. Returns `blended` with the masks' sizes.

        Raises StorageFull.
        """
        if not keep:
            return list(blended)
        self.parts.write_blobs(self.store, self.deps.blobs, self.scope.organisation_id)
        sized = []
        for made in blended:
            held, _ = self.parts.sizes(*made.log)
            mask = made.mask._replace(size_bytes=max(0, made.mask.size_bytes + held))
            self.masks[mask.mask_id] = mask
            sized.append(replace(made, mask=mask))
        return sized


def _clashing(change: Change, kind: Literal["pixels", "removed"]) -> Clashing:
    base, ours, theirs = (entry.mask_id if entry else None for entry in (change.base, change.ours, change.theirs))
    return Clashing(change.sample_id, kind, base, ours, theirs)


def _with_pixels(clashing: Clashing, merged_mask_id: str, result: MaskMerge) -> Clashing:
    return replace(
        clashing,
        merged_mask_id=merged_mask_id,
        num_pixels=result.num_conflict_pixels,
        box=None if result.conflict_box is None else _plain(result.conflict_box),
        boxes=tuple(_plain(box) for box in result.conflicts[:BOXES_MAX]),
        flow=tuple(
            (*pair, pixels) for pair, pixels in sorted(result.flow.items(), key=lambda item: (-item[1], item[0]))
        ),
    )


def _plain(box: Box) -> BoxTuple:
    return (box.y, box.x, box.height, box.width)
