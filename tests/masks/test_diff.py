"""Differences between label maps, as arrays and as stored masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.boxes import Box, tight_box
from terrazzo_masks.diff import diff_manifests, flow
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import LabelMap, count_classes
from terrazzo_masks.tiles import MemoryParts, blank, build, paint

PAIRS = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 3), fill=st.just(1)),
        hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 2, 400]), fill=st.just(1)),
    )
)


@given(pair=PAIRS)
@settings(deadline=None, max_examples=60)
def test_a_flow_explains_the_new_counts_from_the_old(pair: tuple[LabelMap, LabelMap]) -> None:
    old_HW, new_HW = pair
    changes = flow(old_HW, new_HW)
    assert sum(changes.values()) == np.count_nonzero(old_HW != new_HW)
    assert all(old_id != new_id and pixels > 0 for (old_id, new_id), pixels in changes.items())
    assert list(changes) == sorted(changes)
    counts = count_classes(old_HW)
    for (old_id, new_id), pixels in changes.items():
        counts[old_id] -= pixels
        counts[new_id] = counts.get(new_id, 0) + pixels
    assert {class_id: n for class_id, n in counts.items() if n} == count_classes(new_HW)
    assert flow(new_HW, old_HW) == {(b, a): n for (a, b), n in changes.items()}


@pytest.mark.parametrize("num_ids", [2, 256, 65535])
def test_a_flow_of_many_classes_is_the_histogram_of_pairs(num_ids: int) -> None:
    rng = np.random.default_rng(num_ids)
    old_HW, new_HW = rng.integers(0, num_ids, (2, 133, 101), dtype=np.uint16)
    pairs, pixels = np.unique(np.stack([old_HW, new_HW])[:, old_HW != new_HW].T, axis=0, return_counts=True)
    assert flow(old_HW, new_HW) == {(int(a), int(b)): int(n) for (a, b), n in zip(pairs, pixels, strict=True)}


def test_a_map_that_begins_between_two_words_is_compared_like_any_other(scenes) -> None:
    bytes_P = scenes.spam(scenes.discs(40, 41)).ravel()
    old_HW, new_HW = bytes_P[1:1601].reshape(40, 40), bytes_P[3:1603].reshape(40, 40)
    assert old_HW.__array_interface__["data"][0] % 8 != new_HW.__array_interface__["data"][0] % 8
    assert flow(old_HW, new_HW) == flow(old_HW.copy(), new_HW.copy())
    assert build(old_HW, MemoryParts()).counts == count_classes(old_HW)


@given(pair=PAIRS, old_px=st.sampled_from([1, 2, 8]), new_px=st.sampled_from([1, 2, 8]))
@settings(deadline=None, max_examples=80)
def test_stored_masks_differ_as_their_pixels_do(pair: tuple[LabelMap, LabelMap], old_px: int, new_px: int) -> None:
    parts = MemoryParts()
    old_HW, new_HW = pair
    old, new = build(old_HW, parts, tile_px=old_px), build(new_HW, parts, tile_px=new_px)
    found = diff_manifests(old, new, parts)
    assert found.flow == flow(old_HW, new_HW)
    assert found.changed_pixels == np.count_nonzero(old_HW != new_HW)
    touched = {(y // old_px, x // old_px) for y, x in np.argwhere(old_HW != new_HW).tolist()}
    assert found.changed_tiles == tuple(sorted(touched))
    assert found.box == tight_box(old_HW != new_HW)


def test_only_the_tiles_that_differ_are_read(scenes, parts) -> None:
    old_HW = scenes.spam(scenes.discs(512, 512))
    new_HW = old_HW.copy()
    new_HW[300:310, 300:310] = 9
    old, new = build(old_HW, parts, tile_px=16), build(new_HW, parts, tile_px=16)
    parts.num_node_reads = 0
    found = diff_manifests(old, new, parts)
    assert found.changed_tiles == ((18, 18), (18, 19), (19, 18), (19, 19))
    assert (found.changed_pixels, found.box) == (100, Box(300, 300, 10, 10))
    assert (parts.num_node_reads, parts.num_tile_reads) == (2, 8)


def test_two_strokes_on_a_map_of_ten_thousand_million_pixels_are_found_at_once(parts) -> None:
    empty = blank(100_000, 100_000, parts)
    one = paint(empty, np.full((30, 30), 7, np.uint8), 90_000, 500, parts)
    two = paint(one, np.full((10, 10), 8, np.uint8), 90_010, 500, parts)
    assert diff_manifests(empty, two, parts).flow == {(0, 7): 800, (0, 8): 100}
    parts.num_node_reads = parts.num_tile_reads = 0
    assert diff_manifests(one, two, parts).flow == {(7, 8): 100}
    assert (parts.num_node_reads, parts.num_tile_reads) == (4, 2)


def test_one_class_is_compared_with_another_without_reading(parts) -> None:
    old = build(np.full((300, 300), 2, np.uint8), parts)
    new = build(np.full((300, 300), 700, np.uint16), parts)
    assert diff_manifests(old, new, parts).flow == {(2, 700): 90_000}
    assert diff_manifests(old, old, parts).changed_tiles == ()
    assert diff_manifests(old, old, parts).box is None
    assert (parts.num_node_reads, parts.num_tile_reads) == (0, 0)


def test_masks_of_different_sizes_are_not_compared(parts) -> None:
    small, large = np.ones((4, 5), np.uint8), np.ones((5, 4), np.uint8)
    with pytest.raises(ShapeMismatch):
        flow(small, large)
    with pytest.raises(ShapeMismatch, match="4 x 5"):
        diff_manifests(build(small, parts), build(large, parts), parts)
