"""Regions, boxes, boundary lengths and polygons."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.geometry import (
    Box,
    Polygon,
    Ring,
    boundary_length_px,
    components,
    holes,
    islands,
    polygons,
    rasterize,
    simplify_vertices,
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


@given(labels_HW=SMALL_MAPS)
@settings(deadline=None, max_examples=150)
def test_polygons_draw_the_same_map_again(labels_HW: LabelMap) -> None:
    found = polygons(labels_HW)
    np.testing.assert_array_equal(rasterize(found, *labels_HW.shape, np.uint8), labels_HW)
    assert len(found) == len(components(labels_HW, connectivity=4))
    # In any order: the polygons do not overlap.
    np.testing.assert_array_equal(rasterize(found[::-1], *labels_HW.shape, np.uint8), labels_HW)


@given(labels_HW=SMALL_MAPS)
@settings(deadline=None, max_examples=80)
def test_rings_are_simple_and_turn_at_every_vertex(labels_HW: LabelMap) -> None:
    for polygon in polygons(labels_HW):
        for ring in (polygon.exterior, *polygon.holes):
            assert len(set(ring)) == len(ring) >= 4
            steps = np.diff(np.array([*ring, ring[0], ring[1]]), axis=0)
            assert ((steps == 0).sum(axis=1) == 1).all()
            assert ((steps[1:] * steps[:-1]).sum(axis=1) == 0).all()


def test_a_region_with_holes_and_touching_corners_has_valid_rings() -> None:
    labels_HW = drawn("22222", "20222", "22022", "22222")
    (polygon,) = polygons(labels_HW)
    assert polygon.class_id == 2
    assert polygon.exterior == ((0, 0), (5, 0), (5, 4), (0, 4))
    # The two unlabelled pixels touch in a corner: two holes that share a vertex.
    assert sorted(sorted(hole) for hole in polygon.holes) == [
        [(1, 1), (1, 2), (2, 1), (2, 2)],
        [(2, 2), (2, 3), (3, 2), (3, 3)],
    ]
    np.testing.assert_array_equal(rasterize([polygon], 4, 5, np.uint8), labels_HW)


def test_a_ring_that_closes_over_a_corner_is_an_exterior_with_a_hole() -> None:
    labels_HW = drawn("1110", "1010", "1101", "1111")
    (polygon,) = polygons(labels_HW)
    assert len(polygon.holes) == 2
    np.testing.assert_array_equal(rasterize([polygon], 4, 4, np.uint8), labels_HW)


@given(
    labels_HW=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
        elements=st.sampled_from([0, 1, 2, 255]),
    )
)
@settings(deadline=None, max_examples=100)
def test_polygons_are_those_of_an_independent_tracer(labels_HW: LabelMap) -> None:
    """rasterio's shapes (4-connected), 0 left out: the same regions, of the same area, with as many holes."""
    from rasterio import features

    def area(ring: list[tuple[float, float]]) -> float:
        x, y = np.array(ring, np.float64).T
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2

    found = sorted(
        (p.class_id, min(p.exterior), area(list(p.exterior)), sum(area(list(h)) for h in p.holes))
        for p in polygons(labels_HW)
    )
    expected = sorted(
        (int(value), min(rings[0]), area(rings[0][:-1]), sum(area(ring[:-1]) for ring in rings[1:]))
        for rings, value in ((shape["coordinates"], value) for shape, value in features.shapes(labels_HW))
        if value != 0
    )
    assert found == expected
    np.testing.assert_array_equal(rasterize(found_polygons := polygons(labels_HW), *labels_HW.shape), labels_HW)
    assert all(type(x) is int for p in found_polygons for x, _ in p.exterior)


def test_rows_of_more_crossings_than_are_sorted_are_filled_too() -> None:
    comb_HW = np.ones((5, 301), np.uint16)
    comb_HW[:4, 1::2] = 300
    comb_HW[1, 3] = 0
    np.testing.assert_array_equal(rasterize(polygons(comb_HW), 5, 301), comb_HW)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_the_fill_is_even_odd_at_pixel_centres(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings = [tuple(map(tuple, rng.uniform(-4, 16, (int(rng.integers(3, 9)), 2)).tolist())) for _ in range(2)]
    y, x = np.mgrid[:11, :13] + 0.5
    inside = np.zeros((11, 13), np.bool_)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            crossed = (y0 > y) != (y1 > y)
            inside ^= crossed & (x > x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    found = rasterize([Polygon(7, rings[0], (rings[1],))], 11, 13, np.uint8)
    np.testing.assert_array_equal(found == 7, inside)


def test_a_scene_of_sixteen_bit_ids_survives_polygons(scenes) -> None:
    labels_HW = scenes.discs(150, 170).astype(np.uint16) * 1000
    np.testing.assert_array_equal(rasterize(polygons(labels_HW), 150, 170), labels_HW)


def test_polygons_that_went_through_a_file_draw_the_same_map(scenes) -> None:
    labels_HW = scenes.discs(60, 70)
    found = polygons(labels_HW)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert type(again[0].exterior) is tuple
    mixed = [*found[::2], *again[1::2]]
    for some in (again, mixed):
        np.testing.assert_array_equal(rasterize(some, 60, 70, np.uint8), labels_HW)


def test_a_drawn_polygon_fills_the_pixels_whose_centres_it_holds() -> None:
    triangle = Polygon(3, ((0.0, 0.0), (8.0, 0.0), (0.0, 8.0)))
    labels_HW = rasterize([triangle], 10, 10, np.uint8)
    y, x = np.mgrid[:10, :10]
    np.testing.assert_array_equal(labels_HW == 3, (y + 0.5) + (x + 0.5) < 8)


def test_a_polygon_may_leave_the_image_and_later_ones_paint_over() -> None:
    outer = Polygon(1, ((-5, -5), (50, -5), (50, 50), (-5, 50)))
    inner = Polygon(2, ((2, 2), (4, 2), (4, 400), (2, 400)))
    away = Polygon(3, ((90, 90), (95, 90), (95, 95)))
    labels_HW = rasterize([outer, inner, away], 6, 5, np.uint8)
    np.testing.assert_array_equal(labels_HW, drawn("11111", "11111", "11221", "11221", "11221", "11221"))


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        (Polygon(300, ((0, 0), (1, 0), (1, 1))), "300 does not fit uint8"),
        (Polygon(1, ((0, 0), (1, 0))), "3 or more"),
        (Polygon(1, ((0, 0), (1, 0), (float("nan"), 1))), "finite"),
        (Polygon(1, ((0, 0), (1, 0), (float("inf"), 1))), "finite"),
        (Polygon(1, ((0, 0), (1, 0), (1e13, 1))), "beyond"),
    ],
)
def test_a_polygon_that_cannot_be_painted_is_refused(polygon: Polygon, message: str) -> None:
    with pytest.raises(UnsupportedMask, match=message):
        rasterize([polygon], 4, 4, np.uint8)


def samples_of(ring: Ring) -> NDArray[np.float64]:
    """Points along a ring, ten on each unit of length."""
    points = []
    for start, end in zip(ring, ring[1:] + ring[:1], strict=True):
        a, b = np.array(start, np.float64), np.array(end, np.float64)
        steps = np.linspace(0, 1, 10 * int(np.ceil(np.hypot(*(b - a)))) + 1)
        points.append(a + steps[:, None] * (b - a))
    return np.concatenate(points)


@given(
    labels_HW=hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
        elements=st.integers(1, 3),
    ),
    tolerance=st.sampled_from([0.4, 0.8, 1.5, 4.0]),
)
@settings(deadline=None, max_examples=60)
def test_simplified_neighbours_share_their_boundary(labels_HW: LabelMap, tolerance: float) -> None:
    labels_HW = np.kron(labels_HW, np.ones((2, 3), np.uint8))
    simplified = polygons(labels_HW, tolerance)
    edges = Counter(
        edge
        for polygon in simplified
        for ring in (polygon.exterior, *polygon.holes)
        for edge in zip(ring, ring[1:] + ring[:1], strict=True)
    )
    assert max(edges.values()) <= 2  # two rings of a thing that thin may run along one line
    height, width = labels_HW.shape
    for ((x0, y0), (x1, y1)), num in edges.items():
        at_border = x0 == x1 in (0, width) or y0 == y1 in (0, height)
        assert at_border or edges[((x1, y1), (x0, y0))] == num
    exact = polygons(labels_HW)
    assert [(p.class_id, len(p.holes)) for p in simplified] == [(p.class_id, len(p.holes)) for p in exact]


@pytest.mark.parametrize("tolerance", [0.5, 0.75, 1.5, 3.0])
def test_simplified_outlines_stay_within_the_tolerance(scenes, tolerance: float) -> None:
    labels_HW = scenes.traced(scenes.discs(120, 140), 2)
    labels_HW[5, 5] = labels_HW[60:62, 70] = 9  # regions smaller than the tolerance stay as they are
    exact, simplified = polygons(labels_HW), polygons(labels_HW, tolerance)
    num_whole, num_few = (sum(len(p.exterior) for p in found) for found in (exact, simplified))
    assert num_few < (0.9 if tolerance < 0.71 else 0.6) * num_whole  # a step of one pixel is 0.707 px high
    for whole, few in zip(exact, simplified, strict=True):
        for ring, thinned in zip((whole.exterior, *whole.holes), (few.exterior, *few.holes), strict=True):
            assert len(thinned) >= 3
            a, b = cKDTree(samples_of(ring)), cKDTree(samples_of(thinned))
            farthest = max(a.query(b.data)[0].max(), b.query(a.data)[0].max())
            assert farthest <= tolerance + 0.05 + 1e-9  # samples lie up to 0.05 px from their neighbours' middle


def test_simplified_maps_keep_nearly_all_pixels(scenes) -> None:
    labels_HW = scenes.discs(200, 220)
    redrawn_HW = rasterize(polygons(labels_HW, 1.0), 200, 220, np.uint8)
    assert (redrawn_HW == labels_HW).mean() > 0.97
    assert (redrawn_HW == 0).mean() < 0.001
    np.testing.assert_array_equal(rasterize(polygons(labels_HW, 0), 200, 220, np.uint8), labels_HW)
    with pytest.raises(UnsupportedMask, match="tolerance"):
        polygons(labels_HW, -1.0)


def test_fewer_vertices_are_clicked_when_the_tolerance_grows() -> None:
    y, x = np.mgrid[-50:51, -50:51]
    disc = y**2 + x**2 <= 40**2
    counts = [simplify_vertices(disc, tolerance) for tolerance in (0.5, 2.0, 10.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] >= 3
    square = np.zeros((20, 20), np.bool_)
    square[5:15, 5:15] = True
    assert simplify_vertices(square, 1.0) == 4
    square[8:11, 8:11] = False
    assert simplify_vertices(square, 1.0) >= 7
    assert simplify_vertices(np.zeros((5, 5), np.bool_), 1.0) == 0
