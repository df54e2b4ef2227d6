"""How well boundaries are met: the boundary IoU and the boundary F-measure of every class in one pass."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.judging import judged_pair
from terrazzo_masks.labels import LabelMap, index_table


def boundary_iou(
    truth_HW: LabelMap,
    pred_HW: LabelMap,
    class_ids: Sequence[int],
    dilation_ratio: float = 0.02,
    ignore: int = 0,
) -> NDArray[np.float64]:
    """IoU of the inner boundary bands per class: float64 (K,), nan where truth and prediction both lack the class.

    As defined by Cheng et al., Boundary IoU, CVPR 2021, and their `mask_to_boundary`: the band holds the pixels of
    a class whose square of side 2d+1 is not all of the class, d = round(dilation_ratio * image diagonal), at least
    1 px; what lies beyond the image's border is of no class. Pixels whose truth is `ignore` are taken from the
    prediction before its contour is drawn. Raises ShapeMismatch when the maps differ in size, UnsupportedMask when
    `class_ids` is empty, repeats an id or holds `ignore`.
    """
    from terrazzo_masks.kernels.bands import count_bands
    from terrazzo_masks.kernels.points import places_of_runs
    from terrazzo_masks.kernels.runs import find_runs

    truth_HW, pred_HW = judged_pair(truth_HW, pred_HW, class_ids, ignore)
    height, width = truth_HW.shape
    distance_px = max(1, round(dilation_ratio * float(np.sqrt(height**2 + width**2))))
    num_classes = len(class_ids)
    counts_K3 = np.zeros((num_classes + 1, 3), np.int64)
    place_of = index_table(class_ids, absent=num_classes)
    truth_runs, pred_runs = find_runs(truth_HW), find_runs(pred_HW)
    count_bands(
        *truth_runs,
        places_of_runs(truth_HW, *truth_runs, place_of),
        *pred_runs,
        places_of_runs(pred_HW, *pred_runs, place_of),
        width,
        min(distance_px, height + width),
        counts_K3,
    )
    both = counts_K3[:num_classes, 2]
    union = counts_K3[:num_classes, 0] + counts_K3[:num_classes, 1] - both
    scores: NDArray[np.float64] = np.full(num_classes, np.nan)
    np.divide(both, union, out=scores, where=union > 0)
    return scores


def boundary_f(
    truth_HW: LabelMap,
    pred_HW: LabelMap,
    class_ids: Sequence[int],
    tolerance: float = 0.008,
    ignore: int = 0,
) -> NDArray[np.float64]:
    """Boundary F-measure per class: float64 (K,) in 0..1, nan where truth and prediction both lack the class.

    As defined by the DAVIS benchmark (`db_eval_boundary`; Perazzi et al., CVPR 2016, after Martin et al., 2004),
    per class as Csurka et al. (BMVC 2013) do: a pixel is on a class's contour when it and the pixels right of it,
    below and below-right of it are not all of the class nor all of others (at the image's border, those
    there are).
    Precision is the share of the prediction's contour within `tolerance` of the truth's, distances being between
    pixels, bounds included; recall the reverse; F is 2PR/(P+R), 0 where both are 0. `tolerance` is in pixels when
    it is 1 or more, else a share of the image's diagonal, rounded up to a pixel. A contour that is missing on one
    side alone gives 0, on both (the class covers the image in both) 1. Unlike DAVIS, a class that neither map has
    is nan, not 1. Pixels whose truth is `ignore` are taken from the prediction before its contour is drawn.
    Raises ShapeMismatch when the maps differ in size, UnsupportedMask when `class_ids` is empty, repeats an id or
    holds `ignore`, or the tolerance is negative or no number.
    """
    from terrazzo_masks.kernels.points import places_of_runs, window_points
    from terrazzo_masks.kernels.runs import find_runs

    if not 0 <= tolerance < np.inf:
        raise UnsupportedMask(f"a tolerance is a number of 0 or more, not {tolerance}")
    truth_HW, pred_HW = judged_pair(truth_HW, pred_HW, class_ids, ignore)
    reach_px = tolerance if tolerance >= 1 else float(np.ceil(tolerance * np.linalg.norm(truth_HW.shape)))
    num_classes = len(class_ids)
    place_of = index_table(class_ids, absent=num_classes)
    found = []
    for labels_HW in (truth_HW, pred_HW):
        runs = find_runs(labels_HW)
        place_R = places_of_runs(labels_HW, *runs, place_of)
        found.append(window_points(*runs, place_R, labels_HW.shape[1], num_classes))
    (true_first, true_y, true_x), (pred_first, pred_y, pred_x) = found
    square_Q = np.empty(max(true_y.size, pred_y.size))
    scores = np.full(num_classes, np.nan)
    for k, class_id in enumerate(class_ids):
        true_slice, pred_slice = (slice(*first[k : k + 2]) for first in (true_first, pred_first))
        true_points, pred_points = (
            (true_y[true_slice], true_x[true_slice]),
            (pred_y[pred_slice], pred_x[pred_slice]),
        )
        if true_points[0].size and pred_points[0].size:
            precision = _share_within(reach_px, pred_points, true_points, square_Q)
            recall = _share_within(reach_px, true_points, pred_points, square_Q)
            scores[k] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        elif true_points[0].size or pred_points[0].size:
            scores[k] = 0.0
        elif truth_HW[0, 0] == class_id or pred_HW[0, 0] == class_id:
            scores[k] = 1.0
    return scores


Points = tuple[NDArray[np.int32], NDArray[np.int32]]


def _share_within(reach_px: float, points: Points, others: Points, square_Q: NDArray[np.float64]) -> float:
    """Share of the points that have one of the others within `reach_px`; `square_Q` is room to work in."""
    from terrazzo_masks.kernels.nearest import nearest_squares

    square_Q = square_Q[: points[0].size]
    enough = float(np.floor(reach_px**2))  # squared distances are whole numbers
    nearest_squares(*points, *others, 1.0, 1.0, enough + 1, enough, square_Q)
    return np.count_nonzero(square_Q <= enough) / square_Q.size
