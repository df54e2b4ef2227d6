"""Measures against cases that can be counted by hand, and against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.measures import (
    boundary_iou,
    by_level,
    confusion,
    iou,
    mean_iou,
    measured_by_level,
    pixel_accuracy,
    roll_up,
    roll_up_confusion,
)

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


def counted_plainly(truth_HW: LabelMap, pred_HW: LabelMap, class_ids: list[int], ignore: int) -> NDArray[np.int64]:
    matrix = np.zeros((len(class_ids), len(class_ids) + 1), np.int64)
    place = {class_id: k for k, class_id in enumerate(class_ids)}
    for true_id, pred_id in zip(truth_HW.ravel().tolist(), pred_HW.ravel().tolist(), strict=True):
        if true_id != ignore and true_id in place:
            matrix[place[true_id], place.get(pred_id, len(class_ids))] += 1
    return matrix


IDS = (0, 1, 7, 200, 255, 256, 300, 65534)


@given(
    shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    dtypes=st.tuples(*[st.sampled_from([np.uint8, np.uint16])] * 2),
    class_ids=st.lists(st.sampled_from(IDS[1:]), min_size=1, unique=True),
    noise=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=150)
def test_a_confusion_counts_each_pair_of_ids_of_any_width(shape, dtypes, class_ids, noise, seed) -> None:
    rng = np.random.default_rng(seed)
    maps = []
    for dtype in dtypes:
        ids = np.array([i for i in IDS if i <= np.iinfo(dtype).max], dtype)
        uniform_HW = np.full(shape, rng.choice(ids), dtype)
        maps.append(np.where(rng.random(shape) < noise, rng.choice(ids, shape), uniform_HW))
    expected = counted_plainly(*maps, class_ids, ignore=0)
    np.testing.assert_array_equal(confusion(*maps, class_ids), expected)
    # A view that is neither contiguous nor aligned to words.
    views = [np.asfortranarray(m)[::-1, 1:] if shape[1] > 1 else m for m in maps]
    np.testing.assert_array_equal(confusion(*views, class_ids), counted_plainly(*views, class_ids, ignore=0))


def test_a_confusion_of_a_large_map_is_that_of_the_bincount_idiom(scenes) -> None:
    truth_HW = scenes.discs(300, 401, num_classes=9)
    pred_HW = scenes.traced(truth_HW, 3)
    pred_HW[::7, ::3] = 0
    expected = np.bincount(10 * truth_HW.astype(int).ravel() + pred_HW.ravel(), minlength=100).reshape(10, 10)
    for dtype in (np.uint8, np.uint16):
        matrix = confusion(truth_HW.astype(dtype), pred_HW.astype(dtype), list(range(1, 10)))
        np.testing.assert_array_equal(matrix[:, :-1], expected[1:, 1:])
        np.testing.assert_array_equal(matrix[:, -1], expected[1:, 0])


@pytest.mark.parametrize("spread", [1, 3, 13])
@pytest.mark.parametrize("shares", [(0.0, 0.05), (0.05, 0.0), (0.1, 0.2), (0.0, 0.001), (1.0, 1.0)])
def test_a_confusion_counts_single_wrong_pixels_all_over_the_map(scenes, shares, spread: int) -> None:
    """Many words of several pairs: counted in other ways than long runs are, here by turns."""
    rng = np.random.default_rng(5)
    scene_HW = scenes.discs(300, 421, num_classes=18)
    maps = []
    for share in shares:
        noisy_HW = rng.random(scene_HW.shape) < share
        noisy_HW[100:160] = False
        noisy_HW[:, :30] = False
        noise_HW = rng.integers(0, 19, scene_HW.shape)
        maps.append((np.where(noisy_HW, noise_HW, scene_HW) * spread).astype(np.uint8))
    expected = np.bincount(maps[0].astype(int).ravel() * 256 + maps[1].ravel(), minlength=65536).reshape(256, 256)
    class_ids = [spread * i for i in range(1, 19)]
    matrix = confusion(*maps, class_ids)
    np.testing.assert_array_equal(matrix[:, :-1], expected[np.ix_(class_ids, class_ids)])
    np.testing.assert_array_equal(matrix[:, -1], expected[class_ids, 0])
    wide = [labels_HW.astype(np.uint16) for labels_HW in maps]
    np.testing.assert_array_equal(confusion(*wide, class_ids), matrix)


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


LEVEL = {1: 10, 2: 10, 3: 11, 4: 0, 10: 10, 11: 11}


@given(seed=st.integers(0, 50))
@settings(deadline=None, max_examples=20)
def test_a_confusion_rolled_up_is_that_of_the_maps_rolled_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth_HW, pred_HW = rng.choice(np.array([0, 1, 2, 3, 4, 5, 10, 11, 77], np.uint8), (2, 9, 13))
    class_ids = [3, 1, 2, 4, 5, 11, 10]
    rolled, level_ids = roll_up_confusion(confusion(truth_HW, pred_HW, class_ids), class_ids, LEVEL)
    assert level_ids == (11, 10, 5)
    expected = confusion(roll_up(truth_HW, LEVEL), roll_up(pred_HW, LEVEL), level_ids)
    np.testing.assert_array_equal(rolled, expected)


def test_every_level_has_its_figures_from_one_confusion() -> None:
    matrix = confusion(TRUTH_HW, PRED_HW, [1, 2, 3])
    fine, coarse = by_level(matrix, [1, 2, 3], [{}, {1: 9, 2: 9}])
    assert (fine.class_ids, fine.mean_iou) == ((1, 2, 3), mean_iou(matrix))
    assert coarse.class_ids == (9, 3)
    assert coarse.pixel_accuracy == pytest.approx(5 / 7)
    np.testing.assert_array_equal(coarse.confusion, [[5, 0, 2], [0, 0, 0]])
    with pytest.raises(ShapeMismatch, match="2 class ids"):
        by_level(matrix, [1, 2], [{}])


def test_siblings_have_no_boundary_between_them_at_their_parents_level() -> None:
    truth_HW = np.ones((40, 40), np.uint8)
    truth_HW[:, 20:] = 2
    pred_HW = np.roll(truth_HW, 3, axis=1)
    pred_HW[:, :3] = 1
    (_, fine), (ids, coarse) = measured_by_level(boundary_iou, truth_HW, pred_HW, [1, 2], [{}, {1: 9, 2: 9}])
    assert (fine < 1).all()
    assert ids == (9,)
    np.testing.assert_array_equal(coarse, [1.0])


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
