"""Painting on stored maps, small ones and one of ten thousand million pixels."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.tiles import MemoryParts, blank, build, paint, read, read_region

SIDE = 100_000


@given(data=st.data(), tile_px=st.sampled_from([1, 2, 3, 5, 16]), num_strokes=st.integers(1, 5))
@settings(deadline=None, max_examples=80)
def test_a_painted_map_equals_the_map_built_from_the_same_pixels(
    data: st.DataObject, tile_px: int, num_strokes: int
) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    canvas_HW = np.full((height, width), data.draw(st.sampled_from([0, 300])), np.uint16)
    parts = MemoryParts()
    manifest = blank(height, width, parts, int(canvas_HW[0, 0]), tile_px)
    for _ in range(num_strokes):
        y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        h, w = data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x))
        dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
        ids = st.sampled_from([0, 1, 44] if dtype == np.uint8 else [0, 1, 300])
        patch_HW = data.draw(hnp.arrays(dtype, (h, w), elements=ids, fill=ids))
        where_HW = data.draw(st.none() | hnp.arrays(np.bool_, (h, w)))
        manifest = paint(manifest, patch_HW, y, x, parts, where_HW)
        np.copyto(canvas_HW[y : y + h, x : x + w], patch_HW, where=True if where_HW is None else where_HW)
    np.testing.assert_array_equal(read(manifest, parts), canvas_HW)
    assert manifest == build(canvas_HW, MemoryParts(), tile_px=tile_px)


def test_painting_over_everything_again_gives_the_blank_map(parts) -> None:
    empty = blank(900, 900, parts, tile_px=16)
    painted = paint(empty, np.eye(300, dtype=np.uint8), 200, 333, parts)
    assert painted != empty
    assert paint(painted, np.zeros((300, 300), np.uint8), 200, 333, parts) == empty


def test_a_stroke_that_changes_nothing_stores_nothing(scenes, parts) -> None:
    labels_HW = scenes.discs(300, 300)
    manifest = build(labels_HW, parts, tile_px=32)
    num_puts = parts.num_puts
    assert paint(manifest, labels_HW[40:90, 50:200], 40, 50, parts) is manifest
    assert paint(manifest, np.full((300, 300), 9, np.uint8), 0, 0, parts, np.zeros((300, 300), bool)) is manifest
    assert parts.num_puts == num_puts


def test_the_old_map_is_still_there_after_painting(scenes, parts) -> None:
    labels_HW = scenes.discs(300, 300)
    manifest = build(labels_HW, parts, tile_px=32)
    paint(manifest, np.full((100, 100), 9, np.uint8), 60, 60, parts)
    np.testing.assert_array_equal(read(manifest, parts), labels_HW)


def test_a_stroke_reads_and_stores_its_tiles_and_path_only(scenes, parts) -> None:
    manifest = build(scenes.spam(scenes.discs(512, 512)), parts, tile_px=16)  # 32 x 32 tiles, two levels
    parts.num_node_reads = parts.num_tile_reads = parts.num_puts = 0
    paint(manifest, np.full((10, 10), 9, np.uint8), 140, 220, parts)  # meets four tiles under one node
    assert (parts.num_node_reads, parts.num_tile_reads, parts.num_puts) == (1, 4, 4 + 1 + 1)


def test_tiles_that_are_covered_whole_are_not_read(scenes, parts) -> None:
    manifest = build(scenes.spam(scenes.discs(128, 128)), parts, tile_px=16)
    paint(manifest, np.full((32, 32), 9, np.uint8), 16, 16, parts)
    assert parts.num_tile_reads == 0


def filled(parts: MemoryParts):
    """A map of 100,000 x 100,000: every node on the way to its middle has 64 mixed children of many classes."""
    rng = np.random.default_rng(0)
    manifest = blank(SIDE, SIDE, parts)
    centre = SIDE // 2
    step = manifest.tile_px
    while step < SIDE:
        origin = centre // (step * 8) * step * 8
        for row in range(8):
            for col in range(8):
                y, x = origin + row * step + step // 3, origin + col * step + step // 3
                if y + 40 <= SIDE and x + 40 <= SIDE:
                    manifest = paint(manifest, rng.integers(1, 30, (20, 20), dtype=np.uint8), y, x, parts)
        step *= 8
    return manifest


def test_a_stroke_on_a_filled_map_of_ten_thousand_million_pixels_is_small_and_its_memory_bounded(parts) -> None:
    manifest = filled(parts)
    rng = np.random.default_rng(1)
    centre = SIDE // 2
    painted = []
    sizes = []
    tracemalloc.start()
    try:
        for i in range(40):
            y, x = centre - 900 + 43 * i, centre - 700 + 37 * i
            stroke_HW = np.full((24, 24), 1 + i % 20, np.uint8)
            before = parts.num_bytes
            manifest = paint(manifest, stroke_HW, y, x, parts)
            sizes.append(parts.num_bytes - before)
            painted.append((y, x, stroke_HW))
        for y, x, stroke_HW in painted:
            np.testing.assert_array_equal(read_region(manifest, parts, y, x, 24, 24), stroke_HW)
        far_HW = rng.integers(0, 9, (300, 300), dtype=np.uint8)
        manifest = paint(manifest, far_HW, SIDE - 300, SIDE - 300, parts)
        np.testing.assert_array_equal(read_region(manifest, parts, SIDE - 300, SIDE - 300, 300, 300), far_HW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(sizes) < 20 * 1024
    assert sum(manifest.counts.values()) == SIDE**2
    # What is kept is counted too: 41 strokes of a few KiB each, beside a few decoded tiles at a time.
    assert peak < 3 * 2**20


@pytest.mark.parametrize("place", [(-1, 0), (0, -1), (8, 0), (0, 9)])
def test_a_patch_that_leaves_the_map_is_refused(place: tuple[int, int], parts) -> None:
    manifest = blank(10, 11, parts)
    with pytest.raises(ShapeMismatch, match="10 x 11"):
        paint(manifest, np.ones((3, 3), np.uint8), *place, parts)


def test_a_patch_that_is_no_label_map_is_refused(parts) -> None:
    manifest = blank(10, 10, parts)
    with pytest.raises(UnsupportedMask, match="patch"):
        paint(manifest, np.ones((3, 3), np.float32), 0, 0, parts)
    with pytest.raises(UnsupportedMask, match="where"):
        paint(manifest, np.ones((3, 3), np.uint8), 0, 0, parts, np.ones((3, 3), np.uint8))
    with pytest.raises(ShapeMismatch, match="patch and where"):
        paint(manifest, np.ones((3, 3), np.uint8), 0, 0, parts, np.ones((3, 2), bool))
