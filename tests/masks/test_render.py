"""Colours and pyramids."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from masks.downsampling import downsampled

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.formats import colorize, downsample_mode
from terrazzo_masks.labels import LabelMap


def test_colours_come_from_the_palette_and_a_missing_one_is_loud() -> None:
    labels_HW = np.array([[0, 1], [2, 300]], np.uint16)
    colors = colorize(labels_HW, {1: (1, 2, 3), 300: (7, 8, 9)})
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors, [[[0, 0, 0], [1, 2, 3]], [[255, 0, 255], [7, 8, 9]]])
    np.testing.assert_array_equal(colorize(np.zeros((1, 1), np.uint8), {0: (9, 9, 9)}), [[[9, 9, 9]]])


@pytest.mark.parametrize("palette", [{1: (1, 2)}, {1: (1, 2, 256)}, {-1: (1, 2, 3)}, {70000: (1, 2, 3)}])
def test_a_palette_out_of_range_is_refused(palette: dict) -> None:
    with pytest.raises(UnsupportedMask, match="palette entry"):
        colorize(np.zeros((2, 2), np.uint8), palette)


@given(
    labels_HW=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
        elements=st.integers(0, 5),
        fill=st.just(1),
    ),
    factor=st.integers(2, 6),
)
@settings(deadline=None, max_examples=100)
def test_the_kernel_follows_the_rule_as_it_is_written_down(labels_HW: LabelMap, factor: int) -> None:
    np.testing.assert_array_equal(downsample_mode(labels_HW, factor), downsampled(labels_HW, factor))


@given(
    labels_HW=hnp.arrays(
        np.uint16,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
        elements=st.sampled_from([0, 1, 2, 300]),
        fill=st.just(1),
    ),
    factor=st.integers(1, 6),
)
@settings(deadline=None, max_examples=80)
def test_a_block_takes_a_class_that_it_holds_often_enough(labels_HW: LabelMap, factor: int) -> None:
    small_HW = downsample_mode(labels_HW, factor)
    rows, cols = -(-labels_HW.shape[0] // factor), -(-labels_HW.shape[1] // factor)
    assert small_HW.shape == (rows, cols)
    assert small_HW.dtype == labels_HW.dtype
    for row in range(rows):
        for col in range(cols):
            block = labels_HW[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
            ids, pixels = np.unique(block, return_counts=True)
            taken = pixels[ids == small_HW[row, col]]
            assert taken.size == 1
            assert taken[0] == pixels.max() or (small_HW[row, col] > 0 and taken[0] * factor >= block.size)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_thin_line_stays_whole_and_a_large_region_does_not_grow(factor: int) -> None:
    labels_HW = np.ones((64, 64), np.uint8)
    labels_HW[:, 37] = 5
    labels_HW[10:30, 3:22] = 2
    small_HW = downsample_mode(labels_HW, factor)
    assert (small_HW[:, 37 // factor] == 5).all()
    grown = np.count_nonzero(small_HW == 2) * factor**2
    assert grown <= 20 * 19 + 20 * factor * 2
    nearest_HW = cv2.resize(labels_HW, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_NEAREST)
    assert not (nearest_HW == 5).any()  # what the rule is there to avoid


def test_of_two_thin_classes_the_rarer_is_shown() -> None:
    labels_HW = np.ones((40, 40), np.uint8)
    labels_HW[:, 21] = 5
    labels_HW[20:24, 22] = 6
    small_HW = downsample_mode(labels_HW, 4)
    assert small_HW[5, 5] == 6
    assert (np.delete(small_HW[:, 5], 5) == 5).all()


def test_single_pixels_are_not_kept() -> None:
    labels_HW = np.ones((40, 40), np.uint8)
    labels_HW[10, 10] = 2
    assert (downsample_mode(labels_HW, 4) == 1).all()


def test_a_factor_below_one_is_refused_and_one_is_a_copy() -> None:
    labels_HW = np.eye(3, dtype=np.uint8)
    with pytest.raises(UnsupportedMask, match="factor is 0"):
        downsample_mode(labels_HW, 0)
    copy_HW = downsample_mode(labels_HW, 1)
    np.testing.assert_array_equal(copy_HW, labels_HW)
    assert copy_HW is not labels_HW
