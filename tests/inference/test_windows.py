"""Sliding windows: cover everything once, and change nothing that a pointwise model says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from terrazzo_inference.domain.errors import BadOutput
from terrazzo_inference.domain.windows import WindowGrid, plan, slide, softmax

Floats = NDArray[np.float32]


@st.composite
def grids_and_strides(draw: st.DrawFn) -> tuple[WindowGrid, int]:
    stride_px = draw(st.sampled_from([1, 2, 8, 16, 32]))
    tile_px = stride_px * draw(st.integers(1, 8))
    overlap_px = draw(st.integers(0, tile_px - 1).filter(lambda overlap: tile_px - overlap >= min(4, tile_px)))
    height, width = draw(st.integers(1, 3 * tile_px + 5)), draw(st.integers(1, 3 * tile_px + 5))
    grid = plan(min(height, 200), min(width, 200), tile_px=tile_px, overlap_px=overlap_px, stride_px=stride_px)
    return grid, stride_px


def grids() -> st.SearchStrategy[WindowGrid]:
    return grids_and_strides().map(lambda drawn: drawn[0])


def pointwise(images_NCHW: Floats) -> Floats:
    """Three classes; the logits are a function of the pixel's colour alone."""
    return np.stack(
        [images_NCHW[:, 0] / 20.0, images_NCHW[:, 1] / 30.0 - 1.0, np.sqrt(images_NCHW[:, 2])], axis=1
    ).astype(np.float32)


def image_of(grid: WindowGrid, seed: int = 0) -> NDArray[np.uint8]:
    shape = (grid.image_height_px, grid.image_width_px, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def whole(image_HWC: NDArray[np.uint8]) -> Floats:
    return softmax(pointwise(image_HWC.transpose(2, 0, 1)[None].astype(np.float32)))[0]


@given(grid=grids(), seed=st.integers(0, 1_000), batch=st.integers(1, 5))
@settings(deadline=None, max_examples=80)
def test_windowed_is_whole_for_a_pointwise_model(grid: WindowGrid, seed: int, batch: int) -> None:
    image_HWC = image_of(grid, seed)
    bands = list(slide(image_HWC, pointwise, grid, windows_per_batch=batch))
    windowed_KHW = np.concatenate([band.probabilities_KHW for band in bands], axis=1)
    np.testing.assert_allclose(windowed_KHW, whole(image_HWC), atol=2e-6)


@given(grid=grids())
@settings(deadline=None, max_examples=80)
def test_the_bands_are_the_image_from_top_to_bottom_each_row_once(grid: WindowGrid) -> None:
    bands = list(slide(image_of(grid), pointwise, grid))
    next_top = 0
    for band in bands:
        assert band.top == next_top
        assert band.probabilities_KHW.shape[2] == grid.image_width_px
        next_top += band.probabilities_KHW.shape[1]
    assert next_top == grid.image_height_px


@given(drawn=grids_and_strides())
@settings(deadline=None, max_examples=200)
def test_windows_cover_the_image_and_reach_over_its_edge_by_less_than_a_stride(
    drawn: tuple[WindowGrid, int],
) -> None:
    grid, stride_px = drawn
    for starts, size, length in (
        (grid.tops, grid.height_px, grid.image_height_px),
        (grid.lefts, grid.width_px, grid.image_width_px),
    ):
        covered = np.zeros(max(length, starts[-1] + size), dtype=int)
        for start in starts:
            covered[start : start + size] += 1
        assert (covered >= 1).all()
        assert len(starts) == 1 or len(covered) == length
        assert len(covered) - length < stride_px
        assert size % stride_px == 0


@pytest.mark.parametrize(
    ("length", "starts", "size"), [(64, (0,), 64), (20, (0,), 32), (65, (0, 17), 48), (160, (0, 48, 96), 64)]
)
def test_windows_are_no_longer_than_needed(length: int, starts: tuple[int, ...], size: int) -> None:
    grid = plan(length, length, tile_px=64, overlap_px=16, stride_px=16)
    assert (grid.tops, grid.height_px) == (starts, size)
    assert grid.num_windows == len(starts) ** 2


def test_an_image_smaller_than_the_stride_is_mirrored_to_it() -> None:
    seen: list[Floats] = []

    def remember(images_NCHW: Floats) -> Floats:
        seen.append(images_NCHW)
        return images_NCHW

    image_HWC = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    grid = plan(2, 3, tile_px=16, overlap_px=4, stride_px=8)
    (band,) = slide(image_HWC, remember, grid)
    (window_NCHW,) = seen
    assert window_NCHW.shape == (1, 3, 8, 8)
    rows, columns = [0, 1, 1, 0, 0, 1, 1, 0], [0, 1, 2, 2, 1, 0, 0, 1]
    expected_HWC = image_HWC[np.ix_(rows, columns)]
    np.testing.assert_array_equal(window_NCHW[0], expected_HWC.transpose(2, 0, 1))
    assert band.probabilities_KHW.shape == (3, 2, 3)


def test_where_windows_disagree_each_is_believed_most_in_its_middle() -> None:
    """Two windows, one all class 0, one all class 1: the share of class 1 rises steadily across the overlap."""
    calls = iter([0, 1])

    def by_turns(images_NCHW: Floats) -> Floats:
        logits_NKHW = np.zeros((1, 2, *images_NCHW.shape[2:]), dtype=np.float32)
        logits_NKHW[:, next(calls)] = 50.0
        return logits_NKHW

    grid = plan(16, 96, tile_px=64, overlap_px=32, stride_px=16)
    assert grid.lefts == (0, 32)
    (band,) = slide(np.zeros((16, 96, 3), np.uint8), by_turns, grid, windows_per_batch=1)
    second_W = band.probabilities_KHW[1, 0]
    np.testing.assert_allclose(second_W[:32], 0.0, atol=1e-6)
    np.testing.assert_allclose(second_W[64:], 1.0, atol=1e-6)
    assert (np.diff(second_W[32:64]) > 0).all()
    np.testing.assert_allclose(second_W + second_W[::-1], 1.0, atol=1e-6)


def test_only_a_band_of_windows_is_held() -> None:
    """Rows come out while the model is still being asked: the 3rd band of windows follows the 1st rows."""
    num_calls = 0

    def counted(images_NCHW: Floats) -> Floats:
        nonlocal num_calls
        num_calls += 1
        return pointwise(images_NCHW)

    grid = plan(200, 64, tile_px=64, overlap_px=16, stride_px=16)
    bands = slide(image_of(grid), counted, grid)
    next(bands)
    assert num_calls == 1
    assert sum(1 for _ in bands) == len(grid.tops) - 1


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (np.zeros((1, 2, 8, 16), np.float32), "batch, height and width"),
        (np.zeros((1, 16, 16), np.float32), "batch, height and width"),
        (np.full((1, 2, 16, 16), np.nan, np.float32), "not finite"),
        (np.full((1, 2, 16, 16), np.inf, np.float32), "not finite"),
    ],
)
def test_an_answer_that_is_no_prediction_is_refused(answer: Floats, what: str) -> None:
    grid = plan(16, 16, tile_px=16, overlap_px=0, stride_px=16)
    with pytest.raises(BadOutput, match=what):
        list(slide(np.zeros((16, 16, 3), np.uint8), lambda _: answer, grid))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to predict"):
        plan(0, 5, tile_px=16, overlap_px=0, stride_px=8)
    with pytest.raises(ValueError, match="overlap"):
        plan(5, 5, tile_px=16, overlap_px=16, stride_px=8)
