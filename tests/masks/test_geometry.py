"""Regions, boxes and boundary lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.geometry import (
    Box,
    boundary_length_px,
    components,
    holes,
    islands,
    slivers,
    tight_box,
    wrong_boundary_length_px,
)
from terrazzo_masks.labels import LabelMap

SMALL_MAPS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10), elements=st.integers(0, 2)
)


def drawn(*rows: str) -> LabelMap:
    """A label map from one digit per pixel."""
    return np.array([[int(c) for c in row] for row in rows], dtype=np.uint8)


@given(labels_HW=SMALL_MAPS, connectivity=st.sampled_from([4, 8]))
@settings(deadline=None, max_examples=80)
def test_components_are_those_of_each_class_alone(labels_HW: LabelMap, connectivity: int) -> None:
    structure = np.ones((3, 3)) if connectivity == 8 else None
    for class_id in range(3):
        numbered, num = ndimage.label(labels_HW == class_id, structure=structure)
        expected = {
            (int((numbered == i).sum()), box[0].start, box[1].start, box[0].stop, box[1].stop)
            for i, box in zip(range(1, num + 1), ndimage.find_objects(numbered), strict=True)
        }
        found = components(labels_HW, class_id, connectivity=connectivity)
        assert len(found) == num
        assert {(c.area_px, c.y, c.x, c.y + c.height, c.x + c.width) for c in found} == expected
        assert all(c.class_id == class_id for c in found)


def test_components_of_all_classes_leave_unlabelled_out_and_come_in_reading_order() -> None:
    found = components(drawn("0220", "1103", "0003"))
    assert [(c.class_id, c.area_px, c.box) for c in found] == [
        (2, 2, Box(0, 1, 1, 2)),
        (1, 2, Box(1, 0, 1, 2)),
        (3, 2, Box(1, 3, 2, 1)),
    ]


def test_crossing_diagonals_of_two_classes_are_both_connected() -> None:
    crossing = drawn("12", "21")
    assert len(components(crossing)) == 2
    assert len(components(crossing, connectivity=4)) == 4
    with pytest.raises(UnsupportedMask, match="4 or 8, not 6"):
        components(crossing, connectivity=6)


def test_many_classes_cost_no_more_than_few() -> None:
    every_id = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert len(components(every_id)) == 65535


def test_a_hole_is_unlabelled_and_enclosed() -> None:
    labels_HW = drawn("1111100", "1011200", "1111211", "1122201", "1120211", "0122211")
    found = holes(labels_HW, max_area_px=3)
    assert [(h.area_px, h.y, h.x, h.class_id) for h in found] == [(1, 1, 1, 1), (1, 3, 5, 1), (1, 4, 3, 2)]
    wide = drawn("11111", "10001", "11111")
    assert holes(wide, max_area_px=2) == []
    assert [h.area_px for h in holes(wide, max_area_px=3)] == [3]


def test_a_region_that_opens_to_the_border_is_no_hole() -> None:
    assert holes(drawn("1101", "1101", "1111"), 9) == []


def test_an_island_has_one_class_around_it() -> None:
    labels_HW = drawn("111112222", "131112222", "111132222", "111112242", "511112222")
    found = islands(labels_HW, max_area_px=4)
    assert [(i.class_id, i.y, i.x) for i in found] == [(3, 1, 1), (4, 3, 7)]
    assert islands(labels_HW, max_area_px=0) == []


def test_a_region_in_unlabelled_surroundings_is_no_island() -> None:
    assert islands(drawn("0000", "0200", "0000"), 9) == []


def test_a_sliver_is_thin_and_lies_between_classes() -> None:
    labels_HW = np.ones((20, 40), np.uint8)
    labels_HW[:, 20:] = 2
    labels_HW[2:14, 19:21] = 3  # two wide, between 1 and 2
    labels_HW[16:19, 19:22] = 4  # three wide: not thin
    labels_HW[5:10, 5] = 5  # thin, but enclosed: an island
    found = slivers(labels_HW, max_area_px=64, max_width_px=2)
    assert [(s.class_id, s.area_px, s.box) for s in found] == [(3, 24, Box(2, 19, 12, 2))]
    assert slivers(labels_HW, max_area_px=23, max_width_px=2) == []
    assert slivers(labels_HW, max_area_px=64, max_width_px=1) == []
    assert {s.class_id for s in slivers(labels_HW, max_area_px=64, max_width_px=3)} == {3, 4}
    assert [i.class_id for i in islands(labels_HW, 64)] == [5]


def test_a_map_of_one_thin_region_has_no_sliver() -> None:
    assert slivers(np.ones((1, 30), np.uint8), 64) == []


@given(
    labels_HW=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        elements=st.integers(0, 3),
    ),
    area=st.integers(1, 12),
    width=st.integers(1, 3),
)
@settings(deadline=None, max_examples=150)
def test_holes_islands_and_slivers_are_what_their_definitions_say(
    labels_HW: LabelMap, area: int, width: int
) -> None:
    """Region by region: dilate it, look at what is around."""
    expected: dict[str, list[tuple[int, int, int]]] = {"hole": [], "island": [], "sliver": []}
    num_labelled = 0
    for class_id in range(4):
        numbered, num = ndimage.label(labels_HW == class_id, structure=np.ones((3, 3)))
        num_labelled += num if class_id else 0
        for i in range(1, num + 1):
            region = np.pad(numbered == i, 1)
            around = ndimage.binary_dilation(region) & ~region
            at_border = around[[0, -1]].any() or around[:, [0, -1]].any()
            beside = set(labels_HW[around[1:-1, 1:-1]].tolist())
            first = int(np.flatnonzero(numbered == i)[0])
            thin = not ndimage.binary_erosion(region, np.ones((width + 1, width + 1))).any()
            if region.sum() > area:
                continue
            if class_id == 0 and not at_border:
                expected["hole"].append((first, min(beside), int(region.sum())))
            elif class_id and not at_border and len(beside) == 1 and beside != {0}:
                expected["island"].append((first, class_id, int(region.sum())))
            elif class_id and thin:
                expected["sliver"].append((first, class_id, int(region.sum())))
    if num_labelled < 2:
        expected["sliver"] = []
    found = {"hole": holes(labels_HW, area), "island": islands(labels_HW, area)}
    found["sliver"] = slivers(labels_HW, area, width)
    for kind, regions in found.items():
        assert [(r.class_id, r.area_px) for r in regions] == [row[1:] for row in sorted(expected[kind])]


def test_a_tight_box_holds_every_pixel() -> None:
    mask_HW = np.zeros((9, 8), np.bool_)
    assert tight_box(mask_HW) is None
    mask_HW[2, 3] = mask_HW[6, 1] = True
    assert tight_box(mask_HW) == Box(y=2, x=1, height=5, width=3)
    with pytest.raises(UnsupportedMask, match="bool array"):
        tight_box(mask_HW.astype(np.uint8))


def test_the_boundary_of_a_square_is_its_outline_with_cut_corners() -> None:
    mask_HW = np.zeros((30, 30), np.bool_)
    mask_HW[5:15, 5:25] = True
    assert boundary_length_px(mask_HW) == pytest.approx(2 * (9 + 19) + 4 * 0.5**0.5)
    assert boundary_length_px(~mask_HW) == boundary_length_px(mask_HW)
    assert boundary_length_px(np.ones((9, 9), np.bool_)) == 0.0


def test_the_boundary_of_a_disc_is_near_its_circumference() -> None:
    y, x = np.mgrid[-50:51, -50:51]
    length = boundary_length_px(y**2 + x**2 <= 40**2)
    assert length == pytest.approx(2 * np.pi * 40, rel=0.08)


def test_a_right_proposal_has_nothing_to_redraw(scenes) -> None:
    truth_HW = scenes.discs(80, 80)
    assert wrong_boundary_length_px(truth_HW, truth_HW) == 0.0


def test_only_the_part_of_the_boundary_that_is_wrong_is_redrawn() -> None:
    truth_HW = np.ones((40, 40), np.uint8)
    truth_HW[10:30, 10:30] = 2
    proposal_HW = truth_HW.copy()
    proposal_HW[10:30, 28:30] = 1  # the right side is 2 px short
    redrawn = wrong_boundary_length_px(truth_HW, proposal_HW)
    assert 20 <= redrawn <= 28
    whole = wrong_boundary_length_px(truth_HW, np.ones_like(truth_HW))
    assert whole == pytest.approx(boundary_length_px(truth_HW == 2))


def test_an_object_that_is_not_there_costs_its_own_outline() -> None:
    truth_HW = np.ones((40, 40), np.uint8)
    truth_HW[2:6, 2:6] = 2
    proposal_HW = truth_HW.copy()
    proposal_HW[20:30, 20:30] = 3
    expected = boundary_length_px(proposal_HW == 3)
    assert wrong_boundary_length_px(truth_HW, proposal_HW) == pytest.approx(expected)


def test_what_the_reference_leaves_unlabelled_is_not_wrong() -> None:
    truth_HW = np.zeros((20, 20), np.uint8)
    truth_HW[:, :10] = 1
    proposal_HW = np.ones((20, 20), np.uint8)
    assert wrong_boundary_length_px(truth_HW, proposal_HW) == 0.0
    with pytest.raises(ShapeMismatch):
        wrong_boundary_length_px(truth_HW, proposal_HW[1:])


def test_a_worse_proposal_needs_more_redrawing(scenes) -> None:
    truth_HW = scenes.discs(200, 200)
    lengths = [wrong_boundary_length_px(truth_HW, scenes.traced(truth_HW, e)) for e in (0.3, 1.0, 3.0)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2] / 2
