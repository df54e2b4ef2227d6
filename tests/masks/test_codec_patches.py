"""Patches of the codec: what differs from a base, as runs or by the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.codec_material import LABEL_MAPS, RUNS_OF_4_BY_9, forged, patch_by_the_model

from terrazzo_masks import codec
from terrazzo_masks.codec import decode, decode_patch, encode, encode_patch, profile_of
from terrazzo_masks.errors import CorruptMask, ShapeMismatch
from terrazzo_masks.labels import LabelMap


@given(labels_HW=LABEL_MAPS, seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1), wide_base=st.booleans())
@settings(deadline=None, max_examples=80)
def test_a_patch_gives_the_map_back_on_its_base(
    labels_HW: LabelMap, seed: int, share: float, wide_base: bool
) -> None:
    rng = np.random.default_rng(seed)
    other_HW = rng.integers(0, 256, labels_HW.shape)
    base_HW = np.where(rng.random(labels_HW.shape) < share, other_HW, labels_HW).astype(labels_HW.dtype)
    if wide_base:
        base_HW = base_HW.astype(np.uint16)
    data = encode_patch(labels_HW, base_HW)
    decoded_HW = decode_patch(data, base_HW)
    assert decoded_HW.dtype == labels_HW.dtype
    np.testing.assert_array_equal(decoded_HW, labels_HW)
    assert profile_of(data) == "patch"


def test_a_map_wider_than_a_strip_takes_patches() -> None:
    base_HW = np.zeros((4, 140_000), np.uint8)
    labels_HW = base_HW.copy()
    labels_HW[1:3, 65_500:65_600] = 3
    data = encode_patch(labels_HW, base_HW)
    np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)
    assert len(data) < 80


def stroke(labels_HW: LabelMap, class_id: int) -> LabelMap:
    """A brush of radius 6 px drawn along a curve."""
    painted_HW = labels_HW.copy()
    y_HW, x_HW = np.mgrid[: labels_HW.shape[0], : labels_HW.shape[1]]
    for t in np.linspace(0, 1, 40):
        centre_y, centre_x = 60 + 90 * t, 50 + 120 * t + 15 * np.sin(5 * t)
        painted_HW[(y_HW - centre_y) ** 2 + (x_HW - centre_x) ** 2 < 36] = class_id
    return painted_HW


def test_a_brush_stroke_takes_a_few_bytes(scenes) -> None:
    base_HW = scenes.discs(256, 256)
    stroke_HW = stroke(base_HW, class_id=3)
    assert (stroke_HW != base_HW).sum() > 500
    assert len(encode_patch(stroke_HW, base_HW)) < 160
    assert len(encode_patch(base_HW, base_HW)) <= 32


def test_relabelling_a_region_hardly_costs_its_outline(scenes) -> None:
    base_HW = scenes.discs(256, 256)
    labels_HW = np.where(base_HW == 2, 9, base_HW).astype(np.uint8)
    assert (labels_HW != base_HW).sum() > 500
    assert len(encode_patch(labels_HW, base_HW)) < 0.45 * len(encode(labels_HW))


def test_another_base_is_found_out() -> None:
    base_HW = np.zeros((40, 40), np.uint8)
    labels_HW = base_HW.copy()
    labels_HW[5:9, 5:9] = 2
    data = encode_patch(labels_HW, base_HW)
    other_HW = base_HW.copy()
    other_HW[30, 30] = 1
    with pytest.raises(CorruptMask, match="wrong base"):
        decode_patch(data, other_HW)
    with pytest.raises(CorruptMask, match="does not fit a base"):
        decode_patch(data, base_HW[:39])
    with pytest.raises(CorruptMask, match="are a patch"):
        decode(data)
    with pytest.raises(ShapeMismatch):
        encode_patch(labels_HW, base_HW[:39])


@given(labels_HW=LABEL_MAPS, seed=st.integers(0, 2**32 - 1), num_boxes=st.integers(0, 4))
@settings(deadline=None, max_examples=80)
def test_patches_of_a_few_boxes_come_back_by_either_method(labels_HW: LabelMap, seed: int, num_boxes: int) -> None:
    rng = np.random.default_rng(seed)
    base_HW = labels_HW.copy()
    for _ in range(num_boxes):
        y, x = rng.integers(0, labels_HW.shape[0]), rng.integers(0, labels_HW.shape[1])
        value = int(rng.integers(0, np.iinfo(labels_HW.dtype).max + 1))
        base_HW[y : y + rng.integers(1, 6), x : x + rng.integers(1, 30)] = value
    for data in (encode_patch(labels_HW, base_HW), patch_by_the_model(labels_HW, base_HW)):
        np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)


def test_a_patch_says_where_it_applies_and_no_more() -> None:
    base_HW = np.zeros((40, 50), np.uint8)
    for box in (
        b"\x00\x00\x00\x01",
        b"\x27\x00\x02\x01",
        b"\x00\x32\x01\x01",
        b"\x00\xff\xff\xff\xff\xff",
        b"\x00",
    ):
        payload = b"\x01\x00" + box
        with pytest.raises(CorruptMask):
            decode_patch(forged(40, 50, payload, method=codec.PATCH, pixel_sum=1), base_HW)
    with pytest.raises(CorruptMask, match="left over"):
        decode_patch(forged(40, 50, bytes(7), method=codec.PATCH), base_HW)


def test_a_stroke_is_runs_and_what_they_do_not_tell_shortly_is_left_to_the_model() -> None:
    base_HW = np.zeros((300, 300), np.uint16)
    labels_HW = base_HW.copy()
    labels_HW[100:130, 40:60] = 700
    assert encode_patch(labels_HW, base_HW)[7] == codec.RUNS
    labels_HW[100:200, 40:60] = 700
    data = encode_patch(labels_HW, base_HW)
    assert data[7] == codec.PATCH
    np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)
    # A run reaches over pixels that had its value before, and one byte tells of a row of it.
    base_HW[110:120, 50:55] = 700
    labels_HW = base_HW.copy()
    labels_HW[100:130, 40:60] = 700
    data = encode_patch(labels_HW, base_HW)
    assert len(data) <= codec.HEADER_BYTES + 5 + 5 + 29
    np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)


@pytest.mark.parametrize("what", RUNS_OF_4_BY_9)
def test_runs_that_do_not_fit_are_refused(what: str) -> None:
    base_HW = np.zeros((4, 9), np.uint8)
    with pytest.raises(CorruptMask, match="are no runs in a map"):
        decode_patch(forged(4, 9, RUNS_OF_4_BY_9[what], method=codec.RUNS), base_HW)


def test_runs_are_of_version_3_alone() -> None:
    base_HW = np.zeros((40, 50), np.uint8)
    with pytest.raises(CorruptMask, match="impossible header"):
        decode_patch(forged(40, 50, bytes(4), method=codec.RUNS, version=2), base_HW)
