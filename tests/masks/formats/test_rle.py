"""COCO's run-length code, compared with pycocotools byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as peer

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats import rle

from .exchanging import blobs_map

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def assert_as_peer(labels_HW) -> None:
    coded = {one.class_id: one for one in rle.encode(labels_HW)}
    assert list(coded) == [int(v) for v in np.unique(labels_HW) if v]
    for class_id, ours in coded.items():
        mask = np.asfortranarray(labels_HW == class_id, dtype=np.uint8)
        theirs = peer.encode(mask)
        assert ours.counts == theirs["counts"].decode()
        assert ours.area == peer.area(theirs)
        assert list(ours.bbox) == peer.toBbox(theirs).tolist()
        np.testing.assert_array_equal(rle.decode(theirs["counts"], *labels_HW.shape), mask)


@settings(deadline=None, max_examples=150)
@given(st.one_of(arrays(np.uint8, SIZES, elements=st.integers(0, 4)), arrays(np.uint16, SIZES)))
def test_every_class_is_coded_as_pycocotools_codes_it(labels_HW) -> None:
    assert_as_peer(labels_HW)


def test_large_maps_of_long_runs_are_coded_as_pycocotools_codes_them() -> None:
    assert_as_peer(blobs_map(5, 700, 900, (0, 1, 2, 300)))
    assert_as_peer(np.full((1200, 1000), 7, np.uint8))
    striped = np.zeros((1000, 1300), np.uint8)
    striped[::2, 100:1100] = 3
    assert_as_peer(striped)
    assert_as_peer(np.asfortranarray(striped))


def test_a_map_of_no_class_has_no_masks() -> None:
    assert rle.encode(np.zeros((5, 4), np.uint8)) == []
    assert rle.encode_mask(np.zeros((5, 4), np.bool_)) is None


def test_run_lengths_of_coco_are_written_as_coco_writes_them() -> None:
    # The runs and the text that the cocoapi gives for them.
    runs = [6, 1, 40, 4, 5, 4, 5, 4, 21]
    assert rle.to_text(runs) == "61X13mN000`0"
    assert rle.from_text("61X13mN000`0") == runs


@settings(deadline=None, max_examples=50)
@given(arrays(np.bool_, SIZES))
def test_run_lengths_and_their_text_lose_nothing(mask_HW) -> None:
    runs = rle.runs_of(mask_HW)
    assert rle.from_text(rle.to_text(runs)) == runs
    for counts in (runs, rle.to_text(runs), rle.to_text(runs).encode()):
        np.testing.assert_array_equal(rle.decode(counts, *mask_HW.shape), mask_HW)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=st.characters(min_codepoint=40, max_codepoint=128), max_size=20))
def test_any_text_is_run_lengths_of_this_size_or_a_corrupt_mask(text: str) -> None:
    try:
        rle.decode(text, 4, 5)
    except CorruptMask:
        return
    assert sum(rle.from_text(text)) == 20


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([4799, 2], "the runs sum to 4801"),
        ([-1, 4801], "negative"),
        ([2**70], "out of range"),
        ([1.5, 4798], "whole numbers"),
        ([True, 4799], "whole numbers"),
        ("ü", "no place"),
        ("o", "cut short"),
        ("oooooooooooooooooo0", "no place"),
        ([2**62, 2**62], "the runs sum to"),
    ],
)
def test_counts_that_are_none_are_refused_with_a_reason_and_nothing_is_painted(counts, message: str) -> None:
    canvas_HW = rle.canvas(60, 80)
    with pytest.raises(CorruptMask, match=message):
        rle.paint(canvas_HW, counts, 5)
    assert not canvas_HW.any()


def test_painting_over_another_class_says_how_many_pixels_that_were() -> None:
    canvas_HW = rle.canvas(6, 8)
    first, second = np.zeros((6, 8), np.bool_), np.zeros((6, 8), np.bool_)
    first[1:4, 2:5], second[3:5, 4:7] = True, True
    assert rle.paint(canvas_HW, rle.runs_of(first), 1) == 0
    assert rle.paint(canvas_HW, rle.runs_of(first), 1) == 0
    assert rle.paint(canvas_HW, rle.runs_of(second), 2) == 1
    assert (canvas_HW == np.where(second, 2, first)).all()
