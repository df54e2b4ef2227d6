"""Three-way merges of whole trees against a model in NumPy: sample by sample, pixel by pixel. In memory."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.merge_records import Strategy
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.merging.three_way import Merged, Workshop
from terrazzo_mask_storage.ports import Mask, Scope
from terrazzo_masks import tiles
from terrazzo_masks.parts import MemoryParts, digest_of

H, W = 24, 32
SAMPLES = [f"smp_{n:024x}" for n in range(3)]
Version = dict[str, NDArray[np.uint8]]


class Memory(MemoryParts):
    """The service's parts, in memory: tree nodes too, and a log of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Any] = []

    def put(self, data: bytes, base: str | None = None, kind: str = "tree") -> str:
        assert self.put_node(data, base) == digest_of(data)
        return digest_of(data)


class Masks:
    """The store, as far as a merge asks it: mask rows."""

    def __init__(self) -> None:
        self.rows: dict[str, Mask] = {}

    def masks(self, _scope: Scope, mask_ids: list[str]) -> dict[str, Mask]:
        return {m: self.rows[m] for m in mask_ids if m in self.rows}


class Bench:
    """Trees of label maps, built and merged in memory."""

    def __init__(self) -> None:
        self.parts, self.masks = Memory(), Masks()
        self.shop = Workshop(cast(Any, None), cast(Any, self.masks), Scope("o", "p"), "ann", cast(Any, self.parts))

    def tree(self, version: Version) -> str:
        changes: dict[str, TreeEntry | None] = {}
        for sample, labels_HW in version.items():
            made = tiles.build(labels_HW, self.parts, tile_px=8)
            self.masks.rows[made.digest] = Mask(made.digest, H, W, made.dtype, dict(made.counts), 1)
            changes[sample] = TreeEntry(sample, sample[4:] + "0" * 40, made.digest)
        return versions.apply(None, changes, self.parts.node, self.parts.put).tree_id

    def labels(self, tree_id: str) -> Version:
        return {
            entry.sample_id: np.asarray(tiles.read(tiles.load(entry.mask_id, self.parts), self.parts), np.uint8)
            for entry in versions.walk(tree_id, self.parts.node)
        }

    def merged(self, base: Version, ours: Version, theirs: Version, strategy: Strategy) -> tuple[Version, Merged]:
        trees = [self.tree(version) for version in (base, ours, theirs)]
        result = self.shop.merge(trees[0], trees[1], trees[2], strategy)
        tree = versions.apply(trees[1], result.changes, self.parts.node, self.parts.put)
        return self.labels(tree.tree_id), result


BOXES = st.tuples(st.integers(0, 20), st.integers(0, 28), st.integers(1, 9), st.integers(0, 3))
EDITS = st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), BOXES)), max_size=5)


def edited(base: Version, edits: list[tuple[int, tuple[int, int, int, int] | None]]) -> Version:
    """Boxes painted in samples; None removes one."""
    found = {sample: labels.copy() for sample, labels in base.items()}
    for index, box in edits:
        sample = SAMPLES[index]
        if box is None:
            found.pop(sample, None)
        elif sample in found:
            y, x, size, class_id = box
            found[sample][y : y + size, x : x + size] = class_id
    return found


def same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return (one is None) == (other is None) and (one is None or bool((one == other).all()))


BASE: Version = {sample: np.full((H, W), 1, np.uint8) for sample in SAMPLES}


@given(EDITS, EDITS)
@settings(deadline=None, max_examples=80)
def test_a_merge_is_both_sides_edits_and_the_sides_may_be_swapped(ours_edits: Any, theirs_edits: Any) -> None:
    ours, theirs = edited(BASE, ours_edits), edited(BASE, theirs_edits)
    found, result = Bench().merged(BASE, ours, theirs, "ours")
    swapped, _ = Bench().merged(BASE, theirs, ours, "theirs")
    assert not result.clashing
    assert found.keys() == swapped.keys()
    for sample in SAMPLES:
        assert same(found.get(sample), swapped.get(sample))
        mine, other = ours.get(sample), theirs.get(sample)
        if same(mine, BASE[sample]):
            expected = other
        elif mine is None or other is None:
            expected = mine  # it was changed or removed by us, and "ours" decides
        else:
            expected = np.where(mine != BASE[sample], mine, other)
        assert same(found.get(sample), expected)


@given(EDITS, EDITS)
@settings(deadline=None, max_examples=80)
def test_conflicts_are_the_pixels_that_both_changed_to_different_classes(
    ours_edits: Any, theirs_edits: Any
) -> None:
    ours, theirs = edited(BASE, ours_edits), edited(BASE, theirs_edits)
    found, result = Bench().merged(BASE, ours, theirs, "adjudicate")
    expected = {}
    for sample in SAMPLES:
        mine, other = ours.get(sample), theirs.get(sample)
        if mine is None or other is None:
            survivor = other if mine is None else mine
            if survivor is not None and not same(survivor, BASE[sample]):
                expected[sample] = ("removed", 0)
        else:
            where = (mine != BASE[sample]) & (other != BASE[sample]) & (mine != other)
            if where.any():
                expected[sample] = ("pixels", int(where.sum()))
                assert (found[sample][where] == mine[where]).all(), "ours until somebody decides"
    assert {c.sample_id: (c.kind, c.num_pixels) for c in result.clashing} == expected
    for clashing in result.clashing:
        if clashing.box is not None:
            y, x, height, width = clashing.box
            sample = clashing.sample_id
            where = (ours[sample] != 1) & (theirs[sample] != 1) & (ours[sample] != theirs[sample])
            assert where[y : y + height, x : x + width].sum() == where.sum() == clashing.num_pixels


@given(EDITS)
@settings(deadline=None, max_examples=40)
def test_merging_a_version_with_itself_or_with_its_base_changes_nothing(edits: Any) -> None:
    side = edited(BASE, edits)
    for base, ours, theirs in ((BASE, side, side), (BASE, side, BASE), (side, side, side)):
        found, result = Bench().merged(base, ours, theirs, "adjudicate")
        assert not result.changes
        assert not result.clashing
        assert found.keys() == side.keys()


@given(EDITS, EDITS)
@settings(deadline=None, max_examples=40)
def test_undoing_an_edit_restores_what_was_and_keeps_what_came_after_elsewhere(first: Any, later: Any) -> None:
    """A revert is a merge of the head with the commit before, from the commit that is undone."""
    undone = edited(BASE, first)
    head = edited(undone, later)
    found, result = Bench().merged(undone, head, BASE, "ours")
    assert not result.clashing
    for sample in SAMPLES:
        was, now = undone.get(sample), head.get(sample)
        if same(was, now):
            assert same(found.get(sample), BASE[sample]), "nothing came after: it is as it was"
        elif was is not None and now is not None:
            assert (found[sample] == np.where(now != was, now, BASE[sample])).all()


@given(EDITS, EDITS, st.sets(st.sampled_from(SAMPLES)))
@settings(deadline=None, max_examples=40)
def test_a_pick_touches_the_named_samples_alone(ours_edits: Any, theirs_edits: Any, only: set[str]) -> None:
    bench = Bench()
    ours, theirs = edited(BASE, ours_edits), edited(BASE, theirs_edits)
    trees = [bench.tree(version) for version in (BASE, ours, theirs)]
    whole = bench.shop.merge(*trees, "ours")
    part = bench.shop.merge(*trees, "ours", only=only)
    assert part.changes == {s: entry for s, entry in whole.changes.items() if s in only}
