from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from terrazzo.simulation import scenes, timing
from terrazzo.simulation.timing import TimeModel

MODEL = TimeModel()


def square(side: int, at: int = 20, size: int = 128) -> NDArray[np.uint8]:
    labels_HW = np.ones((size, size), np.uint8)
    labels_HW[at : at + side, at : at + side] = 2
    return labels_HW


def test_every_constant_has_a_value_a_unit_and_a_source() -> None:
    rows = timing.explain()
    assert {row["name"] for row in rows} == set(TimeModel.__dataclass_fields__)
    for row in rows:
        assert row["value"] > 0
        assert row["unit"]
        assert len(row["meaning"]) > 10
        assert any(mark in row["source"] for mark in ("19", "20", "assumption"))


def test_an_object_of_thirty_vertices_costs_the_forty_seconds_of_the_literature() -> None:
    assert abs(MODEL.region_start_s + 30 * MODEL.vertex_s - 40) < 1


def disc(radius: int) -> NDArray[np.uint8]:
    rows_H, columns_W = np.arange(128)[:, None] - 64, np.arange(128)[None, :] - 64
    return np.where(rows_H**2 + columns_W**2 <= radius**2, 2, 1).astype(np.uint8)


def test_more_wrong_boundary_takes_longer() -> None:
    nothing_HW = np.ones((128, 128), np.uint8)
    times_s = [MODEL.seconds_to_repair(nothing_HW, disc(radius)) for radius in (3, 8, 20, 50)]
    assert times_s == sorted(times_s)
    assert len(set(times_s)) == 4


def test_more_wrong_regions_take_longer_than_one() -> None:
    one_HW, many_HW, nothing_HW = square(24), np.ones((128, 128), np.uint8), np.ones((128, 128), np.uint8)
    for at in (10, 40, 70, 100):
        many_HW[at : at + 6, at : at + 6] = 2
    assert MODEL.seconds_to_repair(nothing_HW, many_HW) > MODEL.seconds_to_repair(nothing_HW, one_HW)


def test_accepting_is_cheaper_than_correcting_and_correcting_than_tracing() -> None:
    truth_HW = scenes.generate_scene(1).labels_HW
    proposal_HW = truth_HW.copy()
    proposal_HW[100:130, 50:90] = 9
    accepting_s = MODEL.seconds_to_accept(truth_HW)
    correcting_s = MODEL.seconds_to_correct(proposal_HW, truth_HW)
    assert MODEL.seconds_to_accept_unread() < accepting_s < correcting_s < MODEL.seconds_from_nothing(truth_HW)
    assert MODEL.seconds_to_correct(truth_HW, truth_HW) == accepting_s


def test_a_finer_outline_takes_longer_to_trace() -> None:
    truth_HW = scenes.generate_scene(1).labels_HW
    fine = replace(MODEL, vertex_tolerance_px=0.75)
    assert fine.seconds_from_nothing(truth_HW) > MODEL.seconds_from_nothing(truth_HW)


def test_a_street_scene_is_traced_in_minutes_not_in_seconds_or_hours() -> None:
    times_s = [MODEL.seconds_from_nothing(scenes.generate_scene(seed).labels_HW) for seed in range(6)]
    assert 60 < np.median(times_s) < 1200


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**16), classes=st.integers(1, 6), height=st.integers(1, 40), width=st.integers(1, 40))
def test_with_a_proposal_nobody_needs_more_than_a_glance_longer(
    seed: int, classes: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    result_HW = rng.integers(0, classes + 1, (height, width)).astype(np.uint8)
    proposal_HW = rng.integers(1, classes + 1, (height, width)).astype(np.uint8)
    limit_s = MODEL.seconds_from_nothing(result_HW) + MODEL.glance_s
    assert 0 < MODEL.seconds_to_correct(proposal_HW, result_HW) <= limit_s + 1e-9
