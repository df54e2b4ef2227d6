"""Measures against cases that can be counted by hand, and against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.measures import boundary_iou, confusion, iou, mean_iou, pixel_accuracy, roll_up

TRUTH_HW = np.array([[1, 1, 2, 2], [1, 1, 2, 0]], np.uint8)
PRED_HW = np.array([[1, 2, 2, 9], [1, 1, 0, 2]], np.uint8)


def test_a_confusion_is_counted_with_errors_outside_the_classes_in_the_last_column() -> None:
    matrix = confusion(TRUTH_HW, PRED_HW, [1, 2, 3])
    np.testing.assert_array_equal(matrix, [[3, 1, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0]])
    assert matrix.dtype == np.int64
    np.testing.assert_allclose(iou(matrix), [3 / 4, 1 / 4, np.nan])
    assert mean_iou(matrix) == pytest.approx(0.5)
    assert pixel_accuracy(matrix) == pytest.approx(4 / 7)


def test_the_order_of_the_classes_is_the_order_of_the_rows() -> None:
    forward, backward = confusion(TRUTH_HW, PRED_HW, [1, 2]), confusion(TRUTH_HW, PRED_HW, [2, 1])
    np.testing.assert_array_equal(forward[::-1, [1, 0, 2]], backward)


def test_another_id_can_be_the_ignored_one() -> None:
    matrix = confusion(TRUTH_HW, PRED_HW, [0, 1], ignore=2)
    np.testing.assert_array_equal(matrix, [[0, 0, 1], [0, 3, 1]])


def test_a_truth_outside_the_classes_is_an_unknown_and_left_out() -> None:
    parent_HW = np.full((2, 4), 40, np.uint8)
    assert confusion(parent_HW, PRED_HW, [1, 2]).sum() == 0
    assert np.isnan(mean_iou(confusion(parent_HW, PRED_HW, [1, 2])))
    assert np.isnan(pixel_accuracy(confusion(parent_HW, PRED_HW, [1, 2])))


@given(
    pair=hnp.array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
        lambda shape: st.tuples(*[hnp.arrays(np.uint8, shape, elements=st.integers(0, 4))] * 2)
    )
)
@settings(deadline=None, max_examples=60)
def test_iou_is_intersection_over_union_of_the_judged_pixels(pair: tuple[LabelMap, LabelMap]) -> None:
    truth_HW, pred_HW = pair
    scores = iou(confusion(truth_HW, pred_HW, [1, 2, 3]))
    judged_HW = np.isin(truth_HW, [1, 2, 3])
    for class_id, score in zip([1, 2, 3], scores, strict=True):
        truth, pred = truth_HW == class_id, (pred_HW == class_id) & judged_HW
        union = np.count_nonzero(truth | pred)
        expected = np.count_nonzero(truth & pred) / union if union else np.nan
        assert score == pytest.approx(expected, nan_ok=True)


def test_confusions_of_tiles_add_up_to_that_of_the_whole(scenes) -> None:
    truth_HW = scenes.discs(60, 80)
    pred_HW = scenes.traced(truth_HW, 2)
    whole = confusion(truth_HW, pred_HW, [1, 2, 3, 4])
    halves = [confusion(truth_HW[:, s], pred_HW[:, s], [1, 2, 3, 4]) for s in (np.s_[:33], np.s_[33:])]
    np.testing.assert_array_equal(whole, sum(halves))


def test_bad_inputs_of_a_confusion_are_named() -> None:
    with pytest.raises(ShapeMismatch, match="truth and prediction"):
        confusion(TRUTH_HW, PRED_HW[:, 1:], [1])
    with pytest.raises(UnsupportedMask, match="ignored id 0"):
        confusion(TRUTH_HW, PRED_HW, [0, 1])
    with pytest.raises(UnsupportedMask, match="class id 1 is given twice"):
        confusion(TRUTH_HW, PRED_HW, [1, 2, 1])
    with pytest.raises(UnsupportedMask, match="70000"):
        confusion(TRUTH_HW, PRED_HW, [70000])
    with pytest.raises(ShapeMismatch):
        iou(np.zeros((2, 2), np.int64))


def test_rolling_up_maps_children_to_their_ancestor() -> None:
    rolled_HW = roll_up(TRUTH_HW, {2: 7, 3: 7})
    np.testing.assert_array_equal(rolled_HW, [[1, 1, 7, 7], [1, 1, 7, 0]])
    assert rolled_HW.dtype == np.uint8
    assert roll_up(TRUTH_HW, {2: 700}).max() == 700
    np.testing.assert_array_equal(roll_up(np.array([[300, 5]], np.uint16), {300: 2}), [[2, 5]])
    with pytest.raises(UnsupportedMask, match="65535"):
        roll_up(TRUTH_HW, {2: 65535})


def test_mappings_of_a_roll_up_do_not_chain() -> None:
    np.testing.assert_array_equal(roll_up(np.array([[1, 2]], np.uint8), {1: 2, 2: 3}), [[2, 3]])


def test_boundary_iou_sees_a_shift_that_iou_hardly_does() -> None:
    truth_HW = np.ones((200, 200), np.uint8)
    truth_HW[30:170, 30:170] = 2
    shifted_HW = np.roll(truth_HW, 4, axis=1)
    plain = iou(confusion(truth_HW, shifted_HW, [2]))[0]
    edge = boundary_iou(truth_HW, shifted_HW, [2], dilation_ratio=0.01)[0]
    assert plain > 0.94
    assert edge < 0.5


def test_boundary_iou_of_a_square_is_that_of_its_frame() -> None:
    truth_HW = np.ones((100, 100), np.uint8)
    truth_HW[20:40, 20:40] = 2
    pred_HW = truth_HW.copy()
    pred_HW[25:35, 25:35] = 1  # lost inside: the contour of the hole is not in the reference's band
    scores = boundary_iou(truth_HW, pred_HW, [2, 3], dilation_ratio=0.01)
    frame, hole_band = 20 * 20 - 18 * 18, 12 * 12 - 10 * 10
    assert scores[0] == pytest.approx(frame / (frame + hole_band))
    assert np.isnan(scores[1])
    np.testing.assert_array_equal(boundary_iou(truth_HW, truth_HW, [1, 2]), [1.0, 1.0])


def test_boundary_iou_does_not_judge_ignored_pixels() -> None:
    truth_HW = np.ones((50, 50), np.uint8)
    truth_HW[10:20, 10:20] = 2
    truth_HW[30:] = 0
    pred_HW = truth_HW.copy()
    pred_HW[35:45, 35:45] = 2
    np.testing.assert_array_equal(boundary_iou(truth_HW, pred_HW, [2]), [1.0])
