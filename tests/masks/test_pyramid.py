"""Smaller versions of stored maps: the same as of the whole map, from what lies under the view."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from masks.downsampling import downsampled

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.pyramid import level_size, num_levels, read_level
from terrazzo_masks.render import downsample_mode
from terrazzo_masks.tiles import Manifest, MemoryParts, blank, build, paint, read_region

MAPS = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16]),
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.integers(0, 4),
    fill=st.just(1),
)


def whole(manifest: Manifest, parts: MemoryParts, level: int, **limits: int) -> LabelMap:
    return read_level(manifest, parts, level, 0, 0, *level_size(manifest, level), **limits)


@given(labels_HW=MAPS, tile_px=st.sampled_from([1, 2, 8, 64]), level=st.integers(1, 7), data=st.data())
@settings(deadline=None, max_examples=150)
def test_a_view_is_the_crop_of_the_level_of_the_whole_map(
    labels_HW: LabelMap, tile_px: int, level: int, data: st.DataObject
) -> None:
    parts = MemoryParts()
    manifest = build(labels_HW, parts, tile_px=tile_px)
    small_HW = downsampled(labels_HW, 2**level)
    np.testing.assert_array_equal(whole(manifest, parts, level), small_HW)
    rows, cols = small_HW.shape
    y, x = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    h, w = data.draw(st.integers(1, rows - y)), data.draw(st.integers(1, cols - x))
    np.testing.assert_array_equal(read_level(manifest, parts, level, y, x, h, w), small_HW[y : y + h, x : x + w])


def test_views_side_by_side_are_the_level_of_a_scene(scenes, parts) -> None:
    labels_HW = scenes.traced(scenes.discs(500, 700, num_classes=6), 2.0)
    labels_HW[:, 333] = 9
    manifest = build(labels_HW.astype(np.uint16) * 100, parts, tile_px=32)
    for level in (1, 3, 5, 6):
        small_HW = downsample_mode(labels_HW.astype(np.uint16) * 100, 2**level)
        out_HW = np.empty_like(small_HW)
        for y in range(0, small_HW.shape[0], 17):
            for x in range(0, small_HW.shape[1], 13):
                h, w = min(17, small_HW.shape[0] - y), min(13, small_HW.shape[1] - x)
                out_HW[y : y + h, x : x + w] = read_level(manifest, parts, level, y, x, h, w)
        np.testing.assert_array_equal(out_HW, small_HW)
        assert (small_HW[:, 333 // 2**level] == 900).mean() > 0.9  # the line is still there


def test_level_zero_is_the_map(scenes, parts) -> None:
    labels_HW = scenes.discs(100, 90)
    manifest = build(labels_HW, parts, tile_px=16)
    np.testing.assert_array_equal(read_level(manifest, parts, 0, 5, 6, 20, 30), labels_HW[5:25, 6:36])


def test_a_view_reads_what_is_under_it_and_beside_it_only(scenes, parts) -> None:
    manifest = build(scenes.spam(scenes.discs(512, 512)), parts, tile_px=16)  # 32 x 32 tiles under 4 x 4 nodes
    parts.num_node_reads = parts.num_tile_reads = 0
    read_level(manifest, parts, 2, 33, 33, 6, 6)  # pixels 132 to 156: with the blocks beside, 128 to 160
    assert (parts.num_node_reads, parts.num_tile_reads) == (1, 4)


def test_blocks_as_large_as_tiles_are_drawn_without_reading_tiles(scenes, parts) -> None:
    labels_HW = scenes.spam(scenes.discs(512, 512))
    manifest = build(labels_HW, parts, tile_px=16)
    for level in range(4, 11):
        parts.num_node_reads = 0
        np.testing.assert_array_equal(whole(manifest, parts, level), downsample_mode(labels_HW, 2**level))
        assert parts.num_node_reads == (16 if level < 7 else 0)  # a node covers 128 pixels
    assert parts.num_tile_reads == 0


def test_what_would_be_too_much_to_read_is_drawn_as_squares_of_the_most_frequent_class(scenes, parts) -> None:
    labels_HW = scenes.discs(512, 512)
    manifest = build(labels_HW, parts, tile_px=16)
    parts.num_node_reads = 0
    squares_HW = whole(manifest, parts, 2, parts_max=20)
    assert parts.num_tile_reads == 0
    assert parts.num_node_reads <= 16
    assert squares_HW.shape == (128, 128)
    total = np.bincount(labels_HW.ravel())
    tiles = (labels_HW[y : y + 16, x : x + 16] for y in range(0, 512, 16) for x in range(0, 512, 16))
    counts = [np.bincount(tile_HW.ravel(), minlength=total.size) for tile_HW in tiles]
    most_HW = np.array([np.lexsort((-total, n))[-1] for n in counts]).reshape(32, 32)
    np.testing.assert_array_equal(squares_HW, np.kron(most_HW, np.ones((4, 4), np.uint8)))


def test_the_top_of_a_map_of_ten_thousand_million_pixels_is_seen_at_once(parts) -> None:
    manifest = blank(100_000, 100_000, parts, class_id=1)
    manifest = paint(manifest, np.full((3_000, 2_000), 7, np.uint8), 60_000, 30_010, parts)
    manifest = paint(manifest, np.full((40, 20_000), 8, np.uint8), 20_000, 0, parts)
    assert num_levels(manifest) == 10
    assert level_size(manifest, 9) == (196, 196)
    parts.num_tile_reads = 0
    top_HW = whole(manifest, parts, 9)
    assert parts.num_tile_reads == 0
    np.testing.assert_array_equal(np.unique(top_HW), [1, 7, 8])
    assert (top_HW[20_000 // 512, : 20_000 // 512] == 8).all()  # 40 of 512 pixels high, and there
    assert abs(int((top_HW == 7).sum()) - 3_000 * 2_000 // 512**2) <= 12
    near_HW = read_level(manifest, parts, 5, 60_000 // 32 - 5, 30_000 // 32 - 5, 40, 40)
    exact_HW = read_region(manifest, parts, 60_000 // 32 * 32, 30_000 // 32 * 32, 32, 32)
    assert near_HW[5, 5] == np.bincount(exact_HW.ravel()).argmax()
    assert (read_level(manifest, parts, 5, 20_000 // 32, 0, 2, 100) == 8).any(axis=0).all()


def test_a_level_or_region_that_is_not_there_is_refused(parts) -> None:
    manifest = build(np.eye(40, dtype=np.uint8), parts, tile_px=8)
    with pytest.raises(UnsupportedMask, match="level is 32"):
        level_size(manifest, 32)
    with pytest.raises(UnsupportedMask, match="level is -1"):
        read_level(manifest, parts, -1, 0, 0, 1, 1)
    for region in ((0, 0, 11, 1), (0, 0, 0, 1), (-1, 0, 1, 1), (9, 9, 1, 2)):
        with pytest.raises(ShapeMismatch, match="10 x 10"):
            read_level(manifest, parts, 2, *region)
    with pytest.raises(UnsupportedMask, match="power of two"):
        read_level(build(np.eye(40, dtype=np.uint8), parts, tile_px=5), parts, 1, 0, 0, 1, 1)


@pytest.mark.parametrize(("side", "levels"), [(1, 1), (256, 1), (257, 2), (512, 2), (513, 3), (100_000, 10)])
def test_the_last_level_fits_into_one_view(side: int, levels: int, parts) -> None:
    manifest = blank(side, 3, parts)
    assert num_levels(manifest) == levels
    assert level_size(manifest, levels - 1)[0] <= 256
