"""Polygons of a label map: exact, simplified, painted again."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.geometry import (
    Polygon,
    Ring,
    components,
    polygons,
    rasterize,
    simplify_vertices,
)
from terrazzo_masks.labels import LabelMap

SMALL_MAPS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10), elements=st.integers(0, 2)
)


def drawn(*rows: str) -> LabelMap:
    """A label map from one digit per pixel."""
    return np.array([[int(c) for c in row] for row in rows], dtype=np.uint8)


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
        (Polygon(1, ((0, 0), (1, 0), (10**400, 1))), "finite"),
        (Polygon(1, ((0, 0), (1, 0), (1, 1, 1))), "pair of numbers"),  # type: ignore[arg-type]
        (Polygon(1, ((0, 0), (1, 0), ("1", 1))), "finite number"),  # type: ignore[arg-type]
        (Polygon(-1, ((0, 0), (1, 0), (1, 1))), "-1 does not fit uint8"),
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


def test_a_traced_ring_is_the_tuple_it_stands_for(scenes) -> None:
    found = polygons(scenes.discs(60, 70))
    rings = [ring for polygon in found for ring in (polygon.exterior, *polygon.holes)]
    plain = [tuple(ring) for ring in rings]
    assert rings == plain
    assert plain == rings
    assert set(rings) == set(plain)
    assert sorted(rings) == sorted(plain)
    for ring, same in zip(rings, plain, strict=True):
        assert (ring[0], ring[-1], ring[1:3], len(ring)) == (same[0], same[-1], same[1:3], len(same))
        assert (ring + same, same + ring, repr(ring)) == (same + same, same + same, repr(same))
        assert ring != same[1:]
        assert ring < (*same, (0, 0)) <= (*ring, (0, 0))
        np.testing.assert_array_equal(np.asarray(ring, np.float64), np.array(same))
        with pytest.raises(IndexError):
            ring[len(same)]
    assert len(set(rings)) > 1


def test_rings_may_be_of_any_numbers_and_any_sequences(scenes) -> None:
    labels_HW = scenes.discs(60, 70)
    labels_HW[:12, :12] = 1
    labels_HW[4:8, 4:8] = 2  # a hole
    found = polygons(labels_HW)
    kinds = {
        "floats": lambda ring: tuple((float(x), float(y)) for x, y in ring),
        "mixed": lambda ring: [[float(x), y] for x, y in ring],
        "arrays": lambda ring: np.asarray(ring, np.float32),
        "numbers of numpy": lambda ring: [(np.int64(x), np.uint16(y)) for x, y in ring],
    }
    for name, kind in kinds.items():
        drawn_by_hand = [Polygon(p.class_id, kind(p.exterior), tuple(map(kind, p.holes))) for p in found]
        np.testing.assert_array_equal(rasterize(drawn_by_hand, 60, 70, np.uint8), labels_HW, err_msg=name)
    assert any(p.holes for p in found)


def test_rings_of_several_maps_are_painted_together(scenes) -> None:
    left_HW, right_HW = scenes.discs(60, 70), np.ascontiguousarray(scenes.discs(60, 70)[::-1])
    found = [*polygons(left_HW)[::2], *polygons(right_HW)[1:]]
    plain = [Polygon(p.class_id, tuple(p.exterior), tuple(map(tuple, p.holes))) for p in found]
    np.testing.assert_array_equal(rasterize(found, 60, 70, np.uint8), rasterize(plain, 60, 70, np.uint8))
    assert polygons(np.zeros((3, 4), np.uint8)) == []
