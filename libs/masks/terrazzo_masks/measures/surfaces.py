"""How far the boundaries of truth and prediction lie apart: Hausdorff distance, its 95th percentile, the mean.

Found from lists of boundary pixels: no distance transform of the image for each class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import LabelMap, index_table
from terrazzo_masks.measures.judging import judged_pair


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances per class, float64 (K,) each, in the unit of the spacing (pixels by default)."""

    class_ids: tuple[int, ...]
    hausdorff: NDArray[np.float64]
    hd95: NDArray[np.float64]
    assd: NDArray[np.float64]


def surface_distances(
    truth_HW: LabelMap,
    pred_HW: LabelMap,
    class_ids: Sequence[int],
    spacing: tuple[float, float] = (1.0, 1.0),
    ignore: int = 0,
) -> SurfaceDistances:
    """Hausdorff distance, HD95 and average symmetric surface distance of each class.

    The definitions are medpy's (`medpy.metric.binary.hd`, `hd95`, `assd` with connectivity 1). A class's surface
    is those of its pixels that have a 4-neighbour of another class or lie at the image's border. Each surface
    pixel of one map has a distance to the nearest surface pixel of the other, between centres. `hausdorff` is the
    largest of them in either direction, `hd95` the 95th percentile (interpolated linearly) of those of both
    directions together, `assd` the mean of the two directions' means. Others differ: MONAI takes for HD95 the
    larger of the two directions' percentiles and for ASSD the mean of both directions together; DeepMind's
    surface-distance puts surfaces between pixels and weighs them by length.

    `spacing` is the height and width of a pixel. Where truth and prediction both lack a class its figures are nan,
    where one lacks it inf (medpy raises). Pixels whose truth is `ignore` are taken from the prediction first.
    Raises ShapeMismatch when the maps differ in size, UnsupportedMask when `class_ids` is empty, repeats an id or
    holds `ignore`, or a spacing is not a positive number.
    """
    from terrazzo_masks.kernels.points import border_points

    if len(spacing) != 2 or not all(0 < step < np.inf for step in spacing):
        raise UnsupportedMask(f"spacing {spacing} is not two positive numbers (height and width of a pixel)")
    num_classes = len(class_ids)
    place_of = index_table(class_ids, absent=num_classes)
    first_by_map, points_by_map = [], []
    for labels_HW in judged_pair(truth_HW, pred_HW, class_ids, ignore):
        first_K1, y_P, x_P = border_points(labels_HW, place_of, num_classes)
        first_by_map.append(first_K1.tolist())
        points_by_map.append((y_P, x_P))
    figures_K3 = np.full((num_classes, 3), np.nan)
    for k in range(num_classes):
        truth, pred = (
            (y_P[first[k] : first[k + 1]], x_P[first[k] : first[k + 1]])
            for first, (y_P, x_P) in zip(first_by_map, points_by_map, strict=True)
        )
        if truth[0].size and pred[0].size:
            figures_K3[k] = _figures(_distances(pred, truth, spacing), _distances(truth, pred, spacing))
        elif truth[0].size or pred[0].size:
            figures_K3[k] = np.inf
    hausdorff_K, hd95_K, assd_K = figures_K3.T.copy()
    return SurfaceDistances(tuple(class_ids), hausdorff_K, hd95_K, assd_K)


Points = tuple[NDArray[np.int32], NDArray[np.int32]]


def _distances(points: Points, others: Points, spacing: tuple[float, float]) -> NDArray[np.float64]:
    """From each point to the nearest of the others, float64 (Q,), in any order."""
    from terrazzo_masks.kernels.nearest import nearest_squares

    square_Q = np.empty(points[0].size)
    nearest_squares(*points, *others, float(spacing[0]), float(spacing[1]), square_Q)
    return np.sqrt(square_Q, out=square_Q)


def _figures(there_Q: NDArray[np.float64], back_Q: NDArray[np.float64]) -> tuple[float, float, float]:
    both_Q = np.concatenate([there_Q, back_Q])
    return float(both_Q.max()), _percentile_95(both_Q), float((there_Q.mean() + back_Q.mean()) / 2)


def _percentile_95(values: NDArray[np.float64]) -> float:
    """As `np.percentile`, interpolated linearly, without what that costs for few values."""
    place = 0.95 * (values.size - 1)
    below = int(place)
    above, share = min(below + 1, values.size - 1), place - below
    low, high = np.partition(values, (below, above))[[below, above]].tolist()
    return float(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)
