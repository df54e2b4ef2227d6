"""How well boundaries are met: the boundary IoU and the boundary F-measure of every class in one pass."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
    from terrazzo_masks.kernels.runs import find_runs

    truth_HW, pred_HW = judged_pair(truth_HW, pred_HW, class_ids, ignore)
    height, width = truth_HW.shape
    distance_px = max(1, round(dilation_ratio * float(np.sqrt(height**2 + width**2))))
    num_classes = len(class_ids)
    counts_K3 = np.zeros((num_classes + 1, 3), np.int64)
    place_of = index_table(class_ids, absent=num_classes)
    runs = (truth_HW, *find_runs(truth_HW), pred_HW, *find_runs(pred_HW))
    count_bands(*runs, min(distance_px, height + width), place_of, counts_K3)
    both = counts_K3[:num_classes, 2]
    union = counts_K3[:num_classes, 0] + counts_K3[:num_classes, 1] - both
    scores: NDArray[np.float64] = np.full(num_classes, np.nan)
    np.divide(both, union, out=scores, where=union > 0)
    return scores
