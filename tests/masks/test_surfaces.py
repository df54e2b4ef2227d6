"""Surface distances against SciPy's distance transform of each class's surface (medpy's definitions)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import BoolMap, LabelMap
from terrazzo_masks.measures import surface_distances

Spacing = tuple[float, float]


def reference(truth: BoolMap, pred: BoolMap, spacing: Spacing) -> tuple[float, float, float]:
    """(Hausdorff, HD95, ASSD) as medpy.metric.binary has them; nan and inf where it raises."""
    if not truth.any() or not pred.any():
        return (np.inf,) * 3 if truth.any() or pred.any() else (np.nan,) * 3
    cross = ndimage.generate_binary_structure(2, 1)
    truth_edge, pred_edge = (mask ^ ndimage.binary_erosion(mask, cross) for mask in (truth, pred))
    there = ndimage.distance_transform_edt(~truth_edge, sampling=spacing)[pred_edge]
    back = ndimage.distance_transform_edt(~pred_edge, sampling=spacing)[truth_edge]
    both = np.hstack([there, back])
    return both.max(), np.percentile(both, 95), (there.mean() + back.mean()) / 2


def require_reference(
    truth_HW: LabelMap, pred_HW: LabelMap, ids: list[int], spacing: Spacing, ignore: int
) -> None:
    found = surface_distances(truth_HW, pred_HW, ids, spacing, ignore)
    assert found.class_ids == tuple(ids)
    for k, class_id in enumerate(ids):
        truth, pred = truth_HW == class_id, (pred_HW == class_id) & (truth_HW != ignore)
        figures = (found.hausdorff[k], found.hd95[k], found.assd[k])
        np.testing.assert_allclose(figures, reference(truth, pred, spacing), rtol=1e-12)


@given(
    shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
    spacing=st.sampled_from([(1.0, 1.0), (1, 3), (2.5, 0.7), (0.01, 40.0)]),
    ignore=st.sampled_from([0, 2]),
    dtypes=st.tuples(*[st.sampled_from([np.uint8, np.uint16])] * 2),
    noise=st.sampled_from([0.0, 0.02, 0.4]),
    seed=st.integers(0, 10_000),
)
@settings(deadline=None, max_examples=120)
def test_surface_distances_are_those_of_the_distance_transform(
    shape, spacing, ignore, dtypes, noise, seed
) -> None:
    rng = np.random.default_rng(seed)
    maps = []
    for dtype in dtypes:
        labels_HW = np.full(shape, rng.integers(0, 4), dtype)
        for _ in range(3):
            y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            labels_HW[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = rng.integers(0, 4)
        maps.append(np.where(rng.random(shape) < noise, rng.integers(0, 4, shape).astype(dtype), labels_HW))
    require_reference(*maps, [i for i in (3, 0, 1, 2, 7) if i != ignore], spacing, ignore)


def test_surface_distances_of_a_scene_are_those_of_the_distance_transform(scenes) -> None:
    truth_HW = scenes.discs(190, 270)
    pred_HW = scenes.traced(truth_HW, 3)
    pred_HW[150:160, 5:25] = 2  # far from any other of its class
    for spacing in ((1.0, 1.0), (0.5, 1.7)):
        require_reference(truth_HW, pred_HW, [1, 2, 3, 4], spacing, 0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (3.0, 0.4)])
def test_surfaces_that_lie_far_apart_are_measured_as_exactly(spacing: Spacing) -> None:
    """Long rows of points far from the others: these are read from an envelope, not searched for row by row."""
    rng = np.random.default_rng(4)
    truth_HW, pred_HW = np.ones((160, 400), np.uint8), np.ones((160, 400), np.uint8)
    truth_HW[:, :90:2] = 2
    pred_HW[:, -60::3] = 2
    truth_HW[100:103, 150:300] = 3
    pred_HW[::5, ::9] = 3
    truth_HW[rng.random(truth_HW.shape) < 0.001] = 4
    pred_HW[:, 395:] = 4
    require_reference(truth_HW, pred_HW, [1, 2, 3, 4], spacing, 0)
    require_reference(truth_HW.T, pred_HW.T, [1, 2, 3, 4], spacing, 0)


def test_a_shift_moves_a_surface_by_its_length() -> None:
    truth_HW = np.zeros((50, 60), np.uint16)
    truth_HW[10:30, 10:40] = 500
    found = surface_distances(truth_HW + 1, np.roll(truth_HW, 4, axis=0) + 1, [501], spacing=(2.0, 1.0))
    assert found.hausdorff[0] == 8.0
    assert 0 < found.assd[0] < found.hd95[0] <= 8.0


def test_a_class_that_one_map_lacks_is_infinitely_far_and_one_that_both_lack_has_no_distance() -> None:
    truth_HW, pred_HW = np.array([[1, 2]], np.uint8), np.array([[1, 1]], np.uint8)
    found = surface_distances(truth_HW, pred_HW, [1, 2, 3])
    for figures in (found.hausdorff, found.hd95, found.assd):
        assert np.isfinite(figures[0])
        np.testing.assert_array_equal(figures[1:], [np.inf, np.nan])


def test_bad_inputs_of_surface_distances_are_named() -> None:
    labels_HW = np.ones((3, 3), np.uint8)
    for spacing in ((0.0, 1.0), (1.0, -2.0), (1.0, float("nan")), (1.0, 1.0, 1.0)):
        with pytest.raises(UnsupportedMask, match="spacing"):
            surface_distances(labels_HW, labels_HW, [1], spacing)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedMask, match="ignored id 0"):
        surface_distances(labels_HW, labels_HW, [0])
    with pytest.raises(ShapeMismatch, match="truth and prediction"):
        surface_distances(labels_HW, labels_HW[1:], [1])
