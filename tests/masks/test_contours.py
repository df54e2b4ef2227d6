"""Boundary IoU and boundary F-measure against their reference definitions, class by class with OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import BoolMap, LabelMap
from terrazzo_masks.measures import boundary_f, boundary_iou

IDS = [1, 2, 255]


@st.composite
def pairs(draw: Any) -> tuple[LabelMap, LabelMap]:
    """Two maps of patches, which agree in part; 0 is among the ids."""
    height, width = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    dtypes = [draw(st.sampled_from([np.uint8, np.uint16])) for _ in range(2)]
    truth_HW = np.full((height, width), rng.choice([0, *IDS]), np.uint16)
    for _ in range(draw(st.integers(0, 5))):
        y, x = rng.integers(0, height), rng.integers(0, width)
        truth_HW[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = rng.choice([0, *IDS])
    pred_HW = np.roll(truth_HW, rng.integers(0, 3), axis=draw(st.integers(0, 1)))
    speckled_HW = rng.random((height, width)) < draw(st.sampled_from([0, 0.05, 0.5]))
    pred_HW = np.where(speckled_HW, rng.choice([0, *IDS], (height, width)), pred_HW)
    return truth_HW.astype(dtypes[0]), pred_HW.astype(dtypes[1])


def reference_band(mask_HW: BoolMap, dilation_ratio: float) -> BoolMap:
    """What bowenc0221/boundary-iou-api's mask_to_boundary says."""
    height, width = mask_HW.shape
    distance = max(1, round(dilation_ratio * np.sqrt(height**2 + width**2)))
    padded = cv2.copyMakeBorder(mask_HW.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    return mask_HW & (eroded[1:-1, 1:-1] == 0)


@given(pair=pairs(), ratio=st.sampled_from([0.001, 0.03, 0.1, 0.2, 0.9]), ignore=st.sampled_from([0, 1]))
@settings(deadline=None, max_examples=120)
def test_boundary_iou_is_that_of_the_reference_definition(pair: Any, ratio: float, ignore: int) -> None:
    truth_HW, pred_HW = pair
    class_ids = [i for i in (0, *IDS, 9) if i != ignore]
    for class_id, score in zip(class_ids, boundary_iou(*pair, class_ids, ratio, ignore), strict=True):
        truth = reference_band(truth_HW == class_id, ratio)
        pred = reference_band((pred_HW == class_id) & (truth_HW != ignore), ratio)
        union = np.count_nonzero(truth | pred)
        expected = np.count_nonzero(truth & pred) / union if union else np.nan
        np.testing.assert_equal(score, expected)


def test_boundary_iou_of_a_scene_is_that_of_the_reference_definition(scenes) -> None:
    truth_HW = scenes.discs(251, 333)
    pred_HW = scenes.traced(truth_HW, 2)
    for class_id, score in zip([1, 2, 3], boundary_iou(truth_HW, pred_HW, [1, 2, 3]), strict=True):
        truth, pred = (reference_band(m == class_id, 0.02) for m in (truth_HW, pred_HW))
        assert 0 < score < 1
        assert score == np.count_nonzero(truth & pred) / np.count_nonzero(truth | pred)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_a_map_too_thin_for_an_inside_is_all_band(shape: tuple[int, int]) -> None:
    labels_HW = np.full(shape, 5, np.uint16)
    np.testing.assert_array_equal(boundary_iou(labels_HW, labels_HW, [5, 6], 0.5), [1.0, np.nan])


def test_classes_that_cannot_be_judged_are_named() -> None:
    labels_HW = np.ones((3, 3), np.uint8)
    for wrong in ([], [0, 1]):
        with pytest.raises(UnsupportedMask, match="ignored id 0"):
            boundary_iou(labels_HW, labels_HW, wrong)
    with pytest.raises(UnsupportedMask, match="twice"):
        boundary_iou(labels_HW, labels_HW, [1, 1])
    with pytest.raises(ShapeMismatch, match="truth and prediction"):
        boundary_iou(labels_HW, labels_HW[1:], [1])


def reference_contour(mask_HW: BoolMap) -> BoolMap:
    """What the DAVIS benchmark's seg2bmap says at full size."""
    east, south, south_east = np.zeros_like(mask_HW), np.zeros_like(mask_HW), np.zeros_like(mask_HW)
    east[:, :-1] = mask_HW[:, 1:]
    south[:-1, :] = mask_HW[1:, :]
    south_east[:-1, :-1] = mask_HW[1:, 1:]
    contour = (mask_HW ^ east) | (mask_HW ^ south) | (mask_HW ^ south_east)
    contour[-1, :] = mask_HW[-1, :] ^ east[-1, :]
    contour[:, -1] = mask_HW[:, -1] ^ south[:, -1]
    contour[-1, -1] = False
    return contour


def reference_f(truth: BoolMap, pred: BoolMap, tolerance: float) -> float:
    """What the DAVIS benchmark's f_measure says, dilating with a disk."""
    reach = tolerance if tolerance >= 1 else int(np.ceil(tolerance * np.linalg.norm(truth.shape)))
    steps = np.arange(-reach, reach + 1)
    disk = (steps[:, None] ** 2 + steps[None, :] ** 2 <= reach**2).astype(np.uint8)
    true_contour, pred_contour = reference_contour(truth), reference_contour(pred)
    near_truth, near_pred = (cv2.dilate(c.astype(np.uint8), disk) > 0 for c in (true_contour, pred_contour))
    num_true, num_pred = int(true_contour.sum()), int(pred_contour.sum())
    if num_true and num_pred:
        precision = (pred_contour & near_truth).sum() / num_pred
        recall = (true_contour & near_pred).sum() / num_true
    else:
        precision, recall = (1.0 if num_pred == 0 else 0.0), (1.0 if num_true == 0 else 0.0)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(pair=pairs(), tolerance=st.sampled_from([0, 0.008, 0.05, 0.2, 1, 2, 5, 60]), ignore=st.sampled_from([0, 1]))
@settings(deadline=None, max_examples=120)
def test_boundary_f_is_that_of_the_reference_definition(pair: Any, tolerance: float, ignore: int) -> None:
    truth_HW, pred_HW = pair
    class_ids = [i for i in (0, *IDS, 9) if i != ignore]
    for class_id, score in zip(class_ids, boundary_f(*pair, class_ids, tolerance, ignore), strict=True):
        truth, pred = truth_HW == class_id, (pred_HW == class_id) & (truth_HW != ignore)
        expected = reference_f(truth, pred, tolerance) if truth.any() or pred.any() else np.nan
        np.testing.assert_allclose(score, expected, rtol=1e-12)


@pytest.mark.parametrize("tolerance", [3, 31, 33, 64, 90])
def test_boundary_f_reaches_over_many_columns_and_rows(tolerance: int) -> None:
    """Sparse contours in a map of several words of 64 columns, met near the edge of the tolerance."""
    rng = np.random.default_rng(tolerance)
    for shape in ((150, 421), (421, 150), (1, 300), (300, 1)):
        truth_HW, pred_HW = np.ones(shape, np.uint8), np.ones(shape, np.uint8)
        for labels_HW in (truth_HW, pred_HW):
            for class_id in (1, 2, 2, 255, 255, 255):
                labels_HW[rng.integers(0, shape[0]), rng.integers(0, shape[1])] = class_id
        scores = boundary_f(truth_HW, pred_HW, IDS, tolerance)
        expected = [
            reference_f(truth_HW == k, pred_HW == k, tolerance)
            if (truth_HW == k).any() or (pred_HW == k).any()
            else np.nan
            for k in IDS
        ]
        np.testing.assert_allclose(scores, expected, rtol=1e-12)


@pytest.mark.parametrize("width", [2100, 2047, 4100])
def test_boundary_iou_of_long_rows_is_that_of_the_reference_definition(width: int) -> None:
    """Bands of more words than the bytes of one sum can count."""
    truth_HW = np.ones((12, width), np.uint8)
    truth_HW[:, 5:13] = 2
    pred_HW = truth_HW.copy()
    pred_HW[:3, 1000:1003] = 2
    for class_id, score in zip([1, 2], boundary_iou(truth_HW, pred_HW, [1, 2], 0.002), strict=True):
        truth, pred = (reference_band(m == class_id, 0.002) for m in (truth_HW, pred_HW))
        assert score == np.count_nonzero(truth & pred) / np.count_nonzero(truth | pred)


def test_boundary_f_of_a_shift_is_whole_within_the_tolerance_and_falls_beyond() -> None:
    truth_HW = np.ones((60, 80), np.uint8)
    truth_HW[20:40, 20:50] = 2
    shifted_HW = np.roll(truth_HW, 3, axis=1)
    np.testing.assert_array_equal(boundary_f(truth_HW, shifted_HW, [1, 2], 3), [1.0, 1.0])
    assert (boundary_f(truth_HW, shifted_HW, [1, 2], 2) < 1).all()
    np.testing.assert_array_equal(boundary_f(truth_HW, np.ones_like(truth_HW), [1, 2], 3), [0.0, 0.0])


def test_a_class_without_a_contour_is_right_in_both_or_wrong_in_one() -> None:
    whole_HW = np.full((7, 9), 3, np.uint8)
    np.testing.assert_array_equal(boundary_f(whole_HW, whole_HW, [3, 4]), [1.0, np.nan])
    pixel_HW = np.full((1, 1), 3, np.uint16)
    np.testing.assert_array_equal(boundary_f(pixel_HW, pixel_HW, [3]), [1.0])
    for tolerance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UnsupportedMask, match="tolerance"):
            boundary_f(whole_HW, whole_HW, [3], tolerance)
