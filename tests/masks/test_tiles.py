"""Stored label maps: whole, by region, by count, by class; and when a store is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.boxes import Box
from terrazzo_masks.diff import diff_manifests, flow
from terrazzo_masks.errors import CorruptMask, MissingPart, ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.tiles import (
    Manifest,
    MemoryParts,
    blank,
    build,
    digests_of,
    load,
    read,
    read_region,
    rebuild,
    tile_digest,
    tiles_of,
)

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
LABEL_MAPS = st.one_of(
    hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 2), fill=st.just(1)),
    hnp.arrays(np.uint16, SHAPES, elements=st.sampled_from([0, 7, 300, 65534]), fill=st.just(7)),
)
# Of 1 px a map of 40 x 40 has two levels, of 5 px one that is full, of 64 px a single tile.
TILE_SIZES = st.sampled_from([1, 2, 5, 8, 64])


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES, data=st.data())
@settings(deadline=None, max_examples=80)
def test_a_region_read_is_the_crop_of_the_whole(labels_HW: LabelMap, tile_px: int, data: st.DataObject) -> None:
    parts = MemoryParts()
    manifest = build(labels_HW, parts, tile_px=tile_px)
    np.testing.assert_array_equal(read(manifest, parts), labels_HW)
    height, width = labels_HW.shape
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x))
    np.testing.assert_array_equal(read_region(manifest, parts, y, x, h, w), labels_HW[y : y + h, x : x + w])


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES)
@settings(deadline=None, max_examples=60)
def test_a_manifest_survives_its_bytes_and_counts_without_reading(labels_HW: LabelMap, tile_px: int) -> None:
    parts = MemoryParts()
    manifest = build(labels_HW, parts, tile_px=tile_px)
    again = load(manifest.digest, parts)
    assert again == manifest
    assert again.to_bytes() == manifest.to_bytes()
    ids, pixels = np.unique(labels_HW, return_counts=True)
    assert again.counts == dict(zip(ids.tolist(), pixels.tolist(), strict=True))
    assert again.dtype == ("uint8" if ids.max() < 256 else "uint16")
    assert parts.num_tile_reads == 0


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES, data=st.data())
@settings(deadline=None, max_examples=60)
def test_tiles_say_what_they_hold_and_where_a_class_is(
    labels_HW: LabelMap, tile_px: int, data: st.DataObject
) -> None:
    parts = MemoryParts()
    manifest = build(labels_HW, parts, tile_px=tile_px)
    tiles = {(tile.row, tile.col): tile for tile in tiles_of(manifest, parts)}
    assert len(tiles) == manifest.num_rows * manifest.num_cols
    for tile in tiles.values():
        y, x, height, width = tile.box
        pixels_HW = labels_HW[y : y + height, x : x + width]
        assert (y, x) == (tile.row * tile_px, tile.col * tile_px)
        ids, pixels = np.unique(pixels_HW, return_counts=True)
        assert tile.counts == dict(zip(ids.tolist(), pixels.tolist(), strict=True))
        assert tile.class_id == (ids[0] if ids.size == 1 else None)
        assert tile.digest == (None if ids.size == 1 else tile_digest(pixels_HW))
    class_id = data.draw(st.sampled_from(sorted(manifest.counts)))
    found = {(y // tile_px, x // tile_px) for y, x in np.argwhere(labels_HW == class_id).tolist()}
    assert {(tile.row, tile.col) for tile in tiles_of(manifest, parts, class_id=class_id)} == found
    y, x = (data.draw(st.integers(0, side - 1)) for side in labels_HW.shape)
    (under,) = tiles_of(manifest, parts, box=(y, x, 1, 1))
    assert (under.row, under.col) == (y // tile_px, x // tile_px)
    assert parts.num_tile_reads == 0


def test_the_mask_id_depends_on_the_pixels_and_on_nothing_else(scenes) -> None:
    labels_HW = scenes.discs(300, 400)
    mask_id = build(labels_HW, MemoryParts()).digest
    assert build(labels_HW.astype(np.uint16), MemoryParts()).digest == mask_id
    assert build(np.asfortranarray(labels_HW), MemoryParts()).digest == mask_id
    assert build(labels_HW.astype(np.dtype(">u2")).astype(np.uint16), MemoryParts("small")).digest == mask_id
    assert build(np.pad(labels_HW, 3)[3:-3, 3:-3], MemoryParts()).digest == mask_id
    changed_HW = labels_HW.copy()
    changed_HW[150, 200] ^= 1
    assert build(changed_HW, MemoryParts()).digest != mask_id
    assert len(mask_id) == 64


def test_a_tile_of_one_class_costs_no_part(parts) -> None:
    manifest = build(np.full((600, 700), 300, np.uint16), parts)
    assert parts.num_puts == 1  # the root
    assert digests_of(manifest, parts) == ((manifest.digest,), ())
    assert (read(manifest, parts) == 300).all()


def test_equal_tiles_and_equal_subtrees_are_stored_once(parts) -> None:
    labels_HW = np.tile(np.eye(4, dtype=np.uint8) + 1, (64, 64))
    manifest = build(labels_HW, parts, tile_px=4)
    needed = digests_of(manifest, parts)
    assert len(needed.tiles) == 1
    assert len(needed.nodes) == 2  # the root, and 64 times the same node


def test_what_many_masks_share_is_found_once(scenes, parts) -> None:
    before_HW = scenes.discs(512, 512)
    after_HW = before_HW.copy()
    after_HW[10, 10] ^= 7
    before, after = build(before_HW, parts), build(after_HW, parts)
    seen: set[str] = set()
    first, second = digests_of(before, parts, seen), digests_of(after, parts, seen)
    assert len(first.tiles) == 4
    assert second == ((after.digest,), tuple(t.digest for t in tiles_of(after, parts, box=(0, 0, 1, 1))))
    assert digests_of(after, parts, seen) == ((), ())


def test_a_correction_stores_one_tile_and_the_root(scenes, parts) -> None:
    before_HW = scenes.discs(512, 512)
    after_HW = before_HW.copy()
    after_HW[10, 10] = 250
    before = build(before_HW, parts)
    num_puts = parts.num_puts
    after = build(after_HW, parts, base=before)
    assert parts.num_puts - num_puts == 2
    assert after == build(after_HW, MemoryParts())
    wide_HW = before_HW.astype(np.uint16)
    wide_HW[10, 10] = 1000  # widens the dtype of the map, not that of the other tiles
    wide = build(wide_HW, parts, base=before)
    assert parts.num_puts - num_puts == 4
    assert wide.dtype == "uint16"
    np.testing.assert_array_equal(read(wide, parts), wide_HW)


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES, base_px=TILE_SIZES, data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_map_built_on_an_older_one_is_the_map_built_alone(
    labels_HW: LabelMap, tile_px: int, base_px: int, data: st.DataObject
) -> None:
    parts = MemoryParts()
    base_HW = labels_HW.copy()
    height, width = labels_HW.shape
    base_HW[data.draw(st.integers(0, height - 1)) :, data.draw(st.integers(0, width - 1)) :] = 1
    base = build(base_HW, parts, tile_px=base_px)
    manifest = build(labels_HW, parts, tile_px=tile_px, base=base)
    assert manifest == build(labels_HW, MemoryParts(), tile_px=tile_px)
    np.testing.assert_array_equal(read(manifest, parts), labels_HW)


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES, data=st.data())
@settings(deadline=None, max_examples=120)
def test_a_rebuilt_map_is_the_map_built_alone_and_says_what_changed(
    labels_HW: LabelMap, tile_px: int, data: st.DataObject
) -> None:
    parts = MemoryParts()
    base_HW = labels_HW.copy()
    height, width = labels_HW.shape
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    part = np.s_[top : top + data.draw(st.integers(0, 20)), left : left + data.draw(st.integers(0, 20))]
    base_HW[part] = data.draw(st.sampled_from([1, 250]))
    base = build(base_HW, parts, tile_px=tile_px)
    manifest, changed = rebuild(labels_HW, parts, base)
    assert manifest == build(labels_HW, MemoryParts(), tile_px=tile_px)
    assert changed == flow(base_HW, labels_HW) == diff_manifests(base, manifest, parts).flow
    np.testing.assert_array_equal(read(manifest, parts), labels_HW)


def test_of_a_rebuilt_map_the_tiles_that_changed_are_read(scenes, parts) -> None:
    before_HW = scenes.discs(512, 1024)
    after_HW = before_HW.copy()
    after_HW[10, 10] = 250
    base = build(before_HW, parts)
    parts.num_tile_reads = 0
    assert rebuild(after_HW, parts, base)[1] == {(int(before_HW[10, 10]), 250): 1}
    assert parts.num_tile_reads == 1
    with pytest.raises(ShapeMismatch, match="no later version"):
        rebuild(after_HW[1:], parts, base)


def test_a_rebuilt_map_does_not_believe_a_damaged_base(parts) -> None:
    before_HW = np.eye(8, dtype=np.uint8)
    after_HW = before_HW.copy()
    after_HW[0, 5] = 3
    base = build(before_HW, parts)
    for wrong_HW in (after_HW, np.eye(9, dtype=np.uint8), np.full((8, 8), 9, np.uint8)):
        with gives(parts, wrong_HW), pytest.raises(CorruptMask, match="tile"):
            rebuild(after_HW, parts, base)


@contextmanager
def gives(parts: MemoryParts, tile_HW: LabelMap) -> Iterator[None]:
    """A store that gives these pixels, whichever tile is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "tile", lambda _: tile_HW)
        yield


def test_a_region_reads_its_tiles_only(scenes, parts) -> None:
    manifest = build(scenes.spam(scenes.discs(512, 768)), parts, tile_px=64)
    parts.num_node_reads = parts.num_tile_reads = 0
    read_region(manifest, parts, 10, 60, 20, 20)
    assert (parts.num_node_reads, parts.num_tile_reads) == (1, 2)
    list(tiles_of(manifest, parts, box=(10, 60, 20, 20)))
    assert (parts.num_node_reads, parts.num_tile_reads) == (2, 2)


@pytest.mark.parametrize("region", [(-1, 0, 2, 2), (0, 0, 0, 1), (0, 0, 11, 1), (5, 5, 5, 6), (10, 0, 1, 1)])
def test_a_region_that_leaves_the_map_is_refused(region: tuple[int, int, int, int], parts) -> None:
    manifest = build(np.eye(10, dtype=np.uint8), parts)
    with pytest.raises(ShapeMismatch, match="10 x 10"):
        read_region(manifest, parts, *region)
    with pytest.raises(ShapeMismatch, match="10 x 10"):
        tiles_of(manifest, parts, box=Box(*region))


def test_a_blank_map_is_one_node_however_large(parts) -> None:
    manifest = blank(100_000, 100_000, parts, class_id=300)
    assert manifest.counts == {300: 10**10}
    assert parts.num_puts == 1
    assert parts.num_bytes < 200
    assert (read_region(manifest, parts, 99_000, 7, 1000, 5) == 300).all()
    assert blank(30, 40, parts, 2) == build(np.full((30, 40), 2, np.uint8), parts)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 5, 1, 256), "height is 0"),
        ((5, 2**31, 1, 256), "width is"),
        ((5, 5, -1, 256), "class id -1"),
        ((5, 5, 1, 0), "tile_px is 0"),
        ((5, 5, 1, 5000), "tile_px is 5000"),
    ],
)
def test_a_blank_map_of_an_impossible_size_is_refused(sizes: tuple[int, ...], message: str, parts) -> None:
    height, width, class_id, tile_px = sizes
    with pytest.raises(UnsupportedMask, match=message):
        blank(height, width, parts, class_id, tile_px)


def test_a_map_above_the_limit_is_refused_before_memory_is_taken(parts) -> None:
    manifest = blank(2**31 - 1, 2**31 - 1, parts)
    with pytest.raises(CorruptMask, match=f"up to {2**31}"):
        read(manifest, parts)
    with pytest.raises(CorruptMask, match="up to 99"):
        read(build(np.eye(10, dtype=np.uint8), parts), parts, max_pixels=99)


class Damaged(MemoryParts):
    """A store that gives back what it should not."""

    def __init__(self) -> None:
        super().__init__()
        self.spoil_node: Callable[[bytes], bytes] = lambda data: data
        self.spoil_tile: Callable[[LabelMap], LabelMap] = lambda tile_HW: tile_HW

    def node(self, digest: str) -> bytes:
        return self.spoil_node(super().node(digest))

    def tile(self, digest: str) -> LabelMap:
        return self.spoil_tile(super().tile(digest))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tile_HW: tile_HW[:-1], "its node says"),
        (lambda tile_HW: tile_HW[::-1], "another digest"),
        (lambda tile_HW: tile_HW + np.uint8(1), "another digest"),
    ],
)
def test_a_tile_that_is_not_the_one_named_is_refused(spoil: Callable[[LabelMap], LabelMap], message: str) -> None:
    parts = Damaged()
    manifest = build(np.eye(8, dtype=np.uint8)[:, :7], parts)
    parts.spoil_tile = spoil
    with pytest.raises(CorruptMask, match=message):
        read(manifest, parts)


def test_a_node_that_is_not_the_one_named_is_refused() -> None:
    parts = Damaged()
    manifest = build(np.eye(40, dtype=np.uint8), parts, tile_px=2)
    parts.spoil_node = lambda data: data[:-1]
    for use in (read, lambda m, p: list(tiles_of(m, p)), digests_of):
        with pytest.raises(CorruptMask, match="its bytes have the digest"):
            use(manifest, parts)
    with pytest.raises(CorruptMask, match="its manifest has the digest"):
        load(manifest.digest, parts)


def test_a_tree_whose_parent_and_child_disagree_is_refused(parts) -> None:
    """Every digest is right, but the root counts other pixels than are below, or names a node of another level."""
    first = build(np.eye(40, dtype=np.uint8), parts, tile_px=2)
    second = build(np.eye(40, dtype=np.uint8)[::-1].copy(), parts, tile_px=2)
    third = build(np.eye(640, dtype=np.uint8), parts, tile_px=2)

    def grafted(stock: Manifest, scion: Manifest) -> Manifest:
        """The root of `stock` with the digests of `scion`."""
        data = stock.to_bytes()
        stocks, scions = (
            [m.root.digests_N[i].tobytes() for i in np.flatnonzero(m.root.uniform_N < 0)] for m in (stock, scion)
        )
        for old, new in zip(stocks, scions, strict=False):
            data = data.replace(old, new)
        assert data != stock.to_bytes()
        return Manifest.from_bytes(data)

    with pytest.raises(CorruptMask, match="other classes or counts than its parent says"):
        read(grafted(first, second), parts)
    with pytest.raises(CorruptMask, match="header is"):
        read(grafted(first, third), parts)


def test_a_part_that_is_not_there_is_named(scenes) -> None:
    manifest = build(scenes.discs(100, 100), MemoryParts())
    with pytest.raises(MissingPart, match=manifest.root.digest_of_child(0)):
        read(manifest, MemoryParts())
    with pytest.raises(MissingPart, match=manifest.digest):
        load(manifest.digest, MemoryParts())
