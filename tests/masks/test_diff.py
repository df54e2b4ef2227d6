"""Differences between label maps, as arrays and as stored masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.diff import diff_manifests, flow
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import LabelMap, count_classes
from terrazzo_masks.tiles import build, digest_of

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
    counts = count_classes(old_HW)
    for (old_id, new_id), pixels in changes.items():
        counts[old_id] -= pixels
        counts[new_id] = counts.get(new_id, 0) + pixels
    assert {class_id: n for class_id, n in counts.items() if n} == count_classes(new_HW)
    assert flow(new_HW, old_HW) == {(b, a): n for (a, b), n in changes.items()}


@given(pair=PAIRS, old_px=st.sampled_from([4, 8]), new_px=st.sampled_from([4, 8]))
@settings(deadline=None, max_examples=60)
def test_stored_masks_differ_as_their_pixels_do(pair: tuple[LabelMap, LabelMap], old_px: int, new_px: int) -> None:
    tiles: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        tiles[digest_of(data)] = data
        return digest_of(data)

    old_HW, new_HW = pair
    old, new = build(old_HW, put, tile_px=old_px), build(new_HW, put, tile_px=new_px)
    found = diff_manifests(old, new, tiles.__getitem__)
    assert found.flow == flow(old_HW, new_HW)
    assert found.changed_pixels == np.count_nonzero(old_HW != new_HW)
    touched = {(y // old_px, x // old_px) for y, x in np.argwhere(old_HW != new_HW)}
    assert set(found.changed_tiles) == touched


def test_only_the_tiles_that_differ_are_decoded(scenes, store) -> None:
    old_HW = scenes.spam(scenes.discs(512, 512))
    new_HW = old_HW.copy()
    new_HW[300:310, 300:310] = 9
    old, new = build(old_HW, store.put), build(new_HW, store.put)
    found = diff_manifests(old, new, store.get)
    assert found.changed_tiles == ((1, 1),)
    assert found.changed_pixels == 100
    assert store.num_gets == 2


def test_two_one_class_tiles_are_compared_without_decoding(store) -> None:
    old = build(np.full((300, 300), 2, np.uint8), store.put)
    new = build(np.full((300, 300), 700, np.uint16), store.put)
    assert diff_manifests(old, new, store.get).flow == {(2, 700): 90_000}
    assert diff_manifests(old, old, store.get).changed_tiles == ()
    assert store.num_gets == 0


def test_masks_of_different_sizes_are_not_compared(store) -> None:
    small, large = np.ones((4, 5), np.uint8), np.ones((5, 4), np.uint8)
    with pytest.raises(ShapeMismatch):
        flow(small, large)
    with pytest.raises(ShapeMismatch, match="4 x 5"):
        diff_manifests(build(small, store.put), build(large, store.put), store.get)
