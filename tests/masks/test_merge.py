"""Three-way merges of label maps, as arrays and as stored masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from terrazzo_masks import merge
from terrazzo_masks.boxes import Box, tight_box
from terrazzo_masks.diff import diff_manifests
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.merge import merge_labels, merge_manifests
from terrazzo_masks.tiles import MemoryParts, blank, build, paint, read

Triple = tuple[LabelMap, LabelMap, LabelMap]


@st.composite
def triples(draw: st.DrawFn) -> Triple:
    """A base and two sides that each changed a few rectangles of it."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    base_HW = draw(hnp.arrays(np.uint8, (height, width), elements=st.integers(0, 2), fill=st.just(1)))
    sides = []
    for dtype in (np.uint8, np.uint16):
        side_HW = base_HW.astype(dtype)
        for _ in range(draw(st.integers(0, 3))):
            y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
            h, w = draw(st.integers(1, 12)), draw(st.integers(1, 12))
            side_HW[y : y + h, x : x + w] = draw(st.sampled_from([0, 1, 5] if dtype == np.uint8 else [0, 5, 300]))
        sides.append(side_HW)
    return base_HW, sides[0], sides[1]


@given(triple=triples())
@settings(deadline=None, max_examples=80)
def test_each_pixel_is_merged_by_the_rule(triple: Triple) -> None:
    base_HW, ours_HW, theirs_HW = triple
    merged_HW, conflict_HW = merge_labels(base_HW, ours_HW, theirs_HW)
    for base, ours, theirs, merged, conflict in zip(
        *(a.ravel().tolist() for a in (base_HW, ours_HW, theirs_HW, merged_HW, conflict_HW)), strict=True
    ):
        assert merged == (theirs if ours == base else ours)
        assert conflict == (ours != base and theirs != base and ours != theirs)


@given(triple=triples(), tile_px=st.sampled_from([1, 2, 8]), other_px=st.sampled_from([2, 8]))
@settings(deadline=None, max_examples=100)
def test_stored_masks_merge_as_their_pixels_do(triple: Triple, tile_px: int, other_px: int) -> None:
    parts = MemoryParts()
    base, ours, theirs = (
        build(labels_HW, parts, tile_px=px)
        for labels_HW, px in zip(triple, (tile_px, tile_px, other_px), strict=True)
    )
    found = merge_manifests(base, ours, theirs, parts)
    merged_HW, conflict_HW = merge_labels(*triple)
    np.testing.assert_array_equal(read(found.manifest, parts), merged_HW)
    assert found.manifest == build(merged_HW, MemoryParts(), tile_px=tile_px)
    assert found.num_conflict_pixels == conflict_HW.sum() == sum(found.flow.values())
    assert found.conflict_box == tight_box(conflict_HW)
    regions = ndimage.find_objects(ndimage.label(conflict_HW, np.ones((3, 3)))[0])
    boxes = [Box(r.start, c.start, r.stop - r.start, c.stop - c.start) for r, c in regions]
    assert sorted(found.conflicts) == sorted(boxes)
    pairs = zip(triple[1][conflict_HW].tolist(), triple[2][conflict_HW].tolist(), strict=True)
    assert set(found.flow) == set(pairs)


@given(triple=triples())
@settings(deadline=None, max_examples=30)
def test_merging_a_side_into_itself_or_into_the_base_gives_that_side(triple: Triple) -> None:
    parts = MemoryParts()
    base, ours, _ = (build(labels_HW, parts, tile_px=4) for labels_HW in triple)
    for first, second in ((ours, ours), (base, ours), (ours, base)):
        found = merge_manifests(base, first, second, parts)
        assert found.manifest == ours
        assert found.conflicts == ()


def test_what_one_side_changed_is_taken_without_reading_it(scenes, parts) -> None:
    base = build(scenes.spam(scenes.discs(512, 512)), parts, tile_px=16)
    ours = paint(base, np.full((200, 200), 8, np.uint8), 10, 10, parts)
    theirs = paint(base, np.full((200, 200), 9, np.uint8), 300, 300, parts)
    parts.num_node_reads = parts.num_tile_reads = 0
    found = merge_manifests(base, ours, theirs, parts)
    assert (parts.num_node_reads, parts.num_tile_reads) == (0, 0)
    assert found.manifest == paint(ours, np.full((200, 200), 9, np.uint8), 300, 300, parts)
    assert (found.num_conflict_pixels, found.conflict_box, found.conflicts, found.flow) == (0, None, (), {})


def test_two_strokes_that_cross_on_a_huge_map_are_one_conflict_across_tiles(parts) -> None:
    base = blank(100_000, 100_000, parts)
    ours = paint(base, np.full((10, 600), 8, np.uint8), 50_000, 50_000, parts)
    theirs = paint(base, np.full((600, 10), 9, np.uint8), 49_900, 50_174, parts)
    found = merge_manifests(base, ours, theirs, parts)
    assert found.conflicts == (Box(50_000, 50_174, 10, 10),)
    assert found.flow == {(8, 9): 100}
    assert found.manifest.counts == {0: 10**10 - 12_000 + 100, 8: 6000, 9: 5900}


def test_two_that_repaint_a_huge_map_whole_are_one_conflict_that_is_not_looked_at_pixel_by_pixel(parts) -> None:
    base, ours, theirs = (blank(70_000, 100_000, parts, class_id) for class_id in (0, 1, 2))
    ours = paint(ours, np.full((10, 10), 5, np.uint8), 500, 500, parts)
    found = merge_manifests(base, ours, theirs, parts)
    assert found.conflicts == (Box(0, 0, 70_000, 100_000),)
    assert found.flow == {(1, 2): 7 * 10**9 - 100, (5, 2): 100}
    assert found.manifest == ours
    between = diff_manifests(base, theirs, parts)
    assert between.flow == {(0, 2): 7 * 10**9}
    assert len(between.changed_tiles) == base.num_rows * base.num_cols


def test_too_many_conflicts_are_one_box_around_all_of_them(parts, monkeypatch: pytest.MonkeyPatch) -> None:
    base_HW = np.zeros((100, 100), np.uint8)
    spots_HW = np.zeros((100, 100), np.uint8)
    spots_HW[10:90:2, 20:80:2] = 1
    base, ours, theirs = (build(m, parts, tile_px=16) for m in (base_HW, spots_HW, spots_HW * 2))
    whole = Box(10, 20, 79, 59)
    assert merge_manifests(base, ours, theirs, parts).conflicts == (whole,)
    monkeypatch.setattr(merge, "CONFLICTS_MAX", 1200)
    assert len(merge_manifests(base, ours, theirs, parts).conflicts) == 1200
    monkeypatch.setattr(merge, "RUNS_MAX", 1000)
    found = merge_manifests(base, ours, theirs, parts)
    assert (found.conflicts, found.num_conflict_pixels) == ((whole,), 1200)


def test_masks_of_different_sizes_do_not_merge(parts) -> None:
    small, large = (build(np.ones(shape, np.uint8), parts) for shape in ((4, 5), (5, 4)))
    with pytest.raises(ShapeMismatch, match="4 x 5"):
        merge_manifests(large, small, small, parts)
    with pytest.raises(ShapeMismatch, match="theirs is 5 x 4"):
        merge_manifests(small, small, large, parts)
    with pytest.raises(ShapeMismatch, match="base and theirs"):
        merge_labels(np.ones((4, 5), np.uint8), np.ones((4, 5), np.uint8), np.ones((5, 4), np.uint8))
