"""What measures of a prediction against a truth have in common: which maps and classes they take."""

from collections.abc import Sequence

import numpy as np

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import LabelMap, require_labels, require_same_shape


def require_pair(truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int], ignore: int) -> None:
    """Raise ShapeMismatch when the maps differ in size, UnsupportedMask when one is no label map or `class_ids` is
    empty or holds `ignore`."""
    require_labels(truth_HW, "truth")
    require_labels(pred_HW, "prediction")
    require_same_shape(truth_HW, pred_HW, "truth and prediction")
    if not class_ids or ignore in class_ids:
        raise UnsupportedMask(
            f"class_ids {list(class_ids)[:10]} must not be empty nor hold the ignored id {ignore}"
        )


def judged_pair(
    truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int], ignore: int
) -> tuple[LabelMap, LabelMap]:
    """The two maps, checked, of one dtype and C-contiguous; where the truth is `ignore` the prediction is too."""
    require_pair(truth_HW, pred_HW, class_ids, ignore)
    dtype = np.result_type(truth_HW, pred_HW)
    truth_HW, pred_HW = np.ascontiguousarray(truth_HW, dtype), np.ascontiguousarray(pred_HW, dtype)
    if ignore < truth_HW.min():  # most often 0 is ignored, and there is none
        return truth_HW, pred_HW
    ignored_HW = truth_HW == ignore
    if ignored_HW.any():
        pred_HW = np.where(ignored_HW, truth_HW, pred_HW)
    return truth_HW, pred_HW
