"""How well boundaries are met: the boundary IoU and the boundary F-measure of every class in one pass."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import LabelMap, index_table
from terrazzo_masks.measures.judging import judged_pair


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
    from terrazzo_masks.kernels.bands import count_bands, places_of_runs
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
    from terrazzo_masks.kernels.points import window_points
    from terrazzo_masks.kernels.within import count_within

    if not 0 <= tolerance < np.inf:
        raise UnsupportedMask(f"a tolerance is a number of 0 or more, not {tolerance}")
    truth_HW, pred_HW = judged_pair(truth_HW, pred_HW, class_ids, ignore)
    height, width = truth_HW.shape
    reach_px = tolerance if tolerance >= 1 else float(np.ceil(tolerance * np.linalg.norm(truth_HW.shape)))
    # Squared distances are whole numbers, and none is beyond the diagonal's.
    reach_square = int(min(reach_px**2, height**2 + width**2))
    num_classes = len(class_ids)
    place_of = index_table(class_ids, absent=num_classes)
    true_points, pred_points = (window_points(labels, place_of, num_classes) for labels in (truth_HW, pred_HW))
    true_near_K, pred_near_K = np.empty(num_classes, np.int64), np.empty(num_classes, np.int64)
    count_within(*true_points, *pred_points, height, width, reach_square, true_near_K)
    count_within(*pred_points, *true_points, height, width, reach_square, pred_near_K)
    scores = np.full(num_classes, np.nan)
    num_true_K, num_pred_K = np.diff(true_points[0]), np.diff(pred_points[0])
    for k, class_id in enumerate(class_ids):
        if num_true_K[k] and num_pred_K[k]:
            precision, recall = pred_near_K[k] / num_pred_K[k], true_near_K[k] / num_true_K[k]
            scores[k] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        elif num_true_K[k] or num_pred_K[k]:
            scores[k] = 0.0
        elif truth_HW[0, 0] == class_id or pred_HW[0, 0] == class_id:
            scores[k] = 1.0
    return scores
