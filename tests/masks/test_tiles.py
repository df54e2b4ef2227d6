"""Manifests of tiles: whole, by region, by count, and against hostile bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks import codec
from terrazzo_masks.errors import CorruptMask, ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.tiles import TILE_PX, Manifest, build, digest_of, read, read_region

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
LABEL_MAPS = st.one_of(
    hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 2), fill=st.just(1)),
    hnp.arrays(np.uint16, SHAPES, elements=st.sampled_from([0, 7, 300, 65534]), fill=st.just(7)),
)
TILE_SIZES = st.sampled_from([1, 5, 8, 16, 64])


def stored(labels_HW: LabelMap, tile_px: int = TILE_PX) -> tuple[Manifest, dict[str, bytes]]:
    tiles: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        tiles[digest_of(data)] = data
        return digest_of(data)

    return build(labels_HW, put, tile_px=tile_px), tiles


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES, data=st.data())
@settings(deadline=None, max_examples=80)
def test_a_region_read_is_the_crop_of_the_whole(labels_HW: LabelMap, tile_px: int, data: st.DataObject) -> None:
    manifest, tiles = stored(labels_HW, tile_px)
    np.testing.assert_array_equal(read(manifest, tiles.__getitem__), labels_HW)
    height, width = labels_HW.shape
    y = data.draw(st.integers(0, height - 1))
    x = data.draw(st.integers(0, width - 1))
    h = data.draw(st.integers(1, height - y))
    w = data.draw(st.integers(1, width - x))
    region_HW = read_region(manifest, tiles.__getitem__, y, x, h, w)
    np.testing.assert_array_equal(region_HW, labels_HW[y : y + h, x : x + w])


@given(labels_HW=LABEL_MAPS, tile_px=TILE_SIZES)
@settings(deadline=None, max_examples=60)
def test_a_manifest_survives_its_bytes_and_counts_without_decoding(labels_HW: LabelMap, tile_px: int) -> None:
    manifest, _ = stored(labels_HW, tile_px)
    again = Manifest.from_bytes(manifest.to_bytes())
    assert again == manifest
    assert again.digest == manifest.digest
    ids, pixels = np.unique(labels_HW, return_counts=True)
    assert again.counts == dict(zip(ids.tolist(), pixels.tolist(), strict=True))


def test_the_mask_id_depends_on_the_pixels_and_on_nothing_else(scenes) -> None:
    labels_HW = scenes.discs(300, 400)
    mask_id = stored(labels_HW)[0].digest
    assert stored(labels_HW.astype(np.uint16))[0].digest == mask_id
    assert stored(np.asfortranarray(labels_HW))[0].digest == mask_id
    changed_HW = labels_HW.copy()
    changed_HW[150, 200] ^= 1
    assert stored(changed_HW)[0].digest != mask_id
    assert len(mask_id) == 64


def test_a_tile_of_one_class_costs_no_blob(store) -> None:
    manifest = build(np.full((600, 700), 300, np.uint16), store.put)
    assert store.num_puts == 0
    assert manifest.size_bytes == 0
    assert (read(manifest, store.get) == 300).all()


def test_equal_tiles_are_stored_once(store) -> None:
    labels_HW = np.tile(np.eye(16, dtype=np.uint8) + 1, (4, 4))
    manifest = build(labels_HW, store.put, tile_px=16)
    assert store.num_puts == 1
    assert len(manifest.digests) == 1
    assert manifest.size_bytes == len(store.tiles[manifest.digests[0]])


def test_a_correction_in_one_tile_keeps_the_digests_of_the_others(scenes, store) -> None:
    before_HW = scenes.discs(512, 512)
    after_HW = before_HW.copy()
    after_HW[10, 10] = 1000 % 256  # an ordinary id
    wide_HW = before_HW.astype(np.uint16)
    wide_HW[10, 10] = 1000  # widens the dtype of the map, not that of the other tiles
    before, after, wide = (build(m, store.put) for m in (before_HW, after_HW, wide_HW))
    assert [b == a for b, a in zip(before.tiles, after.tiles, strict=True)] == [False, True, True, True]
    assert [b == w for b, w in zip(before.tiles, wide.tiles, strict=True)] == [False, True, True, True]
    assert wide.dtype == "uint16"
    np.testing.assert_array_equal(read(wide, store.get), wide_HW)


def test_a_region_decodes_its_tiles_only(scenes, store) -> None:
    labels_HW = scenes.spam(scenes.discs(512, 768))
    manifest = build(labels_HW, store.put)
    read_region(manifest, store.get, 10, 250, 20, 20)
    assert store.num_gets == 2


@pytest.mark.parametrize("region", [(-1, 0, 2, 2), (0, 0, 0, 1), (0, 0, 11, 1), (5, 5, 5, 6), (10, 0, 1, 1)])
def test_a_region_that_leaves_the_map_is_refused(region: tuple[int, int, int, int], store) -> None:
    manifest = build(np.eye(10, dtype=np.uint8), store.put)
    with pytest.raises(ShapeMismatch, match="10 x 10"):
        read_region(manifest, store.get, *region)


def test_a_tile_that_is_not_the_one_described_is_refused(store) -> None:
    manifest = build(np.eye(10, dtype=np.uint8), store.put)
    other = codec.encode(np.ones((10, 10), np.uint8))
    with pytest.raises(CorruptMask, match="other classes or pixel counts"):
        read(manifest, lambda digest: other)
    with pytest.raises(CorruptMask, match="its manifest says"):
        read(manifest, lambda digest: codec.encode(np.ones((5, 5), np.uint8)))
    with pytest.raises(CorruptMask):
        read(manifest, lambda digest: store.tiles[digest][:-1])


def test_a_map_above_the_limit_is_refused_before_memory_is_taken(store) -> None:
    manifest = build(np.eye(10, dtype=np.uint8), store.put)
    with pytest.raises(CorruptMask, match="up to 99"):
        read(manifest, store.get, max_pixels=99)


def test_a_tile_size_out_of_range_is_refused(store) -> None:
    with pytest.raises(UnsupportedMask, match="tile_px is 0"):
        build(np.eye(10, dtype=np.uint8), store.put, tile_px=0)


def document(**changes: Any) -> bytes:
    """The manifest bytes of a 10 x 10 map with fields replaced."""
    manifest, _ = stored(np.eye(10, dtype=np.uint8))
    return json.dumps(json.loads(manifest.to_bytes()) | changes, separators=(",", ":")).encode()


def entry(**changes: Any) -> list[list[Any]]:
    """The `tiles` field of that map with parts of its one tile replaced."""
    parts = {"digest": "0" * 64, "size": 30, "counts": [[0, 90], [1, 10]]} | changes
    return [list(parts.values())]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"format":"terrazzo-mask"}',
        document(version=2),
        document(version=True),
        document(height=0),
        document(height=10.0),
        document(height=2**40),
        document(height=11),
        document(tile_px=10**9),
        document(dtype="float64"),
        document(dtype="uint16"),
        document(tiles=[]),
        document(tiles=[70000]),
        document(tiles=[-1]),
        document(tiles=[True]),
        document(tiles=["7"]),
        document(tiles=[None]),
        document(tiles=entry(digest="../../etc/passwd")),
        document(tiles=entry(digest="0" * 64 + "\n")),
        document(tiles=entry(digest=5)),
        document(tiles=entry(size=-1)),
        document(tiles=entry(counts=[[0, 100]])),
        document(tiles=entry(counts=[[0, 90], [1, 11]])),
        document(tiles=entry(counts=[[1, 10], [0, 90]])),
        document(tiles=entry(counts=[[0, 90], [0, 10]])),
        document(tiles=entry(counts=[[0, 90], 1])),
        document(tiles=entry(counts="ab")),
        document(extra=1),
        document() + b" ",
        json.dumps(json.loads(document())).encode(),
    ],
)
def test_a_hostile_manifest_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptMask):
        Manifest.from_bytes(data)


def test_the_hostile_manifests_differ_from_one_that_is_read() -> None:
    assert Manifest.from_bytes(document()).counts == {0: 90, 1: 10}
    assert Manifest.from_bytes(document(tiles=entry())).counts == {0: 90, 1: 10}
    assert Manifest.from_bytes(document(tiles=[7])).counts == {7: 100}


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_a_damaged_manifest_never_crashes(data: st.DataObject) -> None:
    sound = document()
    place = data.draw(st.integers(0, len(sound) - 1))
    damaged = sound[:place] + data.draw(st.binary(max_size=3)) + sound[place + data.draw(st.integers(0, 3)) :]
    try:
        manifest = Manifest.from_bytes(damaged)
    except CorruptMask:
        return
    assert manifest.to_bytes() == damaged
