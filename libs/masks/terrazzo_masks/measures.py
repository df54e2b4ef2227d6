"""How well a label map matches a reference: confusion, IoU, accuracy, boundary IoU; classes rolled up a level."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import BoolMap, LabelMap, dtype_for, index_table, require_labels, require_same_shape


def confusion(
    truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int], ignore: int = 0
) -> NDArray[np.int64]:
    """Pixels by true class (row) and predicted class (column): int64 (K, K+1) in the order of `class_ids`.

    The last column counts predictions outside `class_ids`, unlabelled ones too: errors of no class. A pixel
    whose truth is `ignore`, or no member of `class_ids` (a parent class, say), is left out. Matrices of several
    images add up. Raises ShapeMismatch when the maps differ in size, UnsupportedMask when `class_ids` is empty,
    repeats an id or holds `ignore`.
    """
    require_labels(truth_HW, "truth")
    require_labels(pred_HW, "prediction")
    require_same_shape(truth_HW, pred_HW, "truth and prediction")
    if not class_ids or ignore in class_ids:
        raise UnsupportedMask(
            f"class_ids {list(class_ids)[:10]} must not be empty nor hold the ignored id {ignore}"
        )
    num_classes = len(class_ids)
    row_of = index_table(class_ids, absent=num_classes)
    # One row too many takes the pixels that are left out: cheaper than selecting the others.
    cells = row_of[truth_HW] * (num_classes + 1) + row_of[pred_HW]
    counts = np.bincount(cells.ravel(), minlength=(num_classes + 1) ** 2)
    matrix: NDArray[np.int64] = counts.reshape(num_classes + 1, num_classes + 1)[:num_classes].astype(np.int64)
    return matrix


def iou(confusion_KK1: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union per class: float64 (K,) in 0..1, nan where truth and prediction both lack the class.

    Takes the (K, K+1) matrix of `confusion`. Raises ShapeMismatch for another shape.
    """
    _require_confusion(confusion_KK1)
    true_positives = np.diagonal(confusion_KK1).astype(np.float64)
    union = confusion_KK1.sum(axis=1) + confusion_KK1[:, :-1].sum(axis=0) - true_positives
    scores: NDArray[np.float64] = np.full(union.shape, np.nan)
    np.divide(true_positives, union, out=scores, where=union > 0)
    return scores


def mean_iou(confusion_KK1: NDArray[np.int64]) -> float:
    """Mean of `iou` over the classes that occur; nan when none does."""
    scores = iou(confusion_KK1)
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if present.size else float("nan")


def pixel_accuracy(confusion_KK1: NDArray[np.int64]) -> float:
    """Share of the counted pixels that are predicted rightly, 0..1; nan when none is counted."""
    _require_confusion(confusion_KK1)
    total = int(confusion_KK1.sum())
    return float(np.trace(confusion_KK1)) / total if total else float("nan")


def roll_up(labels_HW: LabelMap, mapping: Mapping[int, int]) -> LabelMap:
    """Replace class ids by `mapping` (say, each class by its ancestor of a level); other ids stay as they are.

    Returns a fresh map of the input's dtype, or uint16 where a new id needs it. Raises UnsupportedMask for an id
    outside 0..65534.
    """
    require_labels(labels_HW)
    table = np.arange(65536, dtype=np.uint16)
    for old_id, new_id in mapping.items():
        if not (0 <= old_id <= 65535 and 0 <= new_id <= 65534):
            raise UnsupportedMask(f"cannot map class {old_id} to {new_id}: ids are 0..65534")
        table[old_id] = new_id
    if labels_HW.dtype == np.uint8:
        table = table[:256].astype(dtype_for(int(table[:256].max())))
    rolled_HW: LabelMap = table[labels_HW]
    return rolled_HW


def boundary_iou(
    truth_HW: LabelMap,
    pred_HW: LabelMap,
    class_ids: Sequence[int],
    dilation_ratio: float = 0.02,
    ignore: int = 0,
) -> NDArray[np.float64]:
    """IoU of the inner boundary bands per class: float64 (K,), nan where truth and prediction both lack the class.

    The band holds the pixels of a class within d of its contour, d = dilation_ratio * image diagonal, at least 1
    px (Cheng et al., Boundary IoU, CVPR 2021, the plain version: the image's border counts as contour). Pixels
    whose truth is `ignore` are taken from the prediction before its contour is drawn. Raises ShapeMismatch when
    the maps differ in size.
    """
    require_labels(truth_HW, "truth")
    require_labels(pred_HW, "prediction")
    require_same_shape(truth_HW, pred_HW, "truth and prediction")
    height, width = truth_HW.shape
    distance_px = max(1, round(dilation_ratio * float(np.hypot(height, width))))
    judged_HW = truth_HW != ignore
    scores = np.full(len(class_ids), np.nan)
    for k, class_id in enumerate(class_ids):
        truth_band = _inner_band(truth_HW == class_id, distance_px)
        pred_band = _inner_band((pred_HW == class_id) & judged_HW, distance_px)
        union = np.count_nonzero(truth_band | pred_band)
        if union:
            scores[k] = np.count_nonzero(truth_band & pred_band) / union
    return scores


def _inner_band(mask_HW: BoolMap, distance_px: int) -> BoolMap:
    import cv2

    padded = np.pad(mask_HW.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance_px, borderValue=0)
    band_HW: BoolMap = mask_HW & (eroded[1:-1, 1:-1] == 0)
    return band_HW


def _require_confusion(confusion_KK1: NDArray[np.int64]) -> None:
    if confusion_KK1.ndim != 2 or confusion_KK1.shape[1] != confusion_KK1.shape[0] + 1:
        raise ShapeMismatch(f"a confusion matrix here is (K, K+1), not {confusion_KK1.shape}")
