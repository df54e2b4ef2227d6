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
from terrazzo_masks.measures import boundary_iou

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
@settings(deadline=None, max_examples=250)
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
