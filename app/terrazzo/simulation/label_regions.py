"""Regions of a label map as a person sees them: connected areas of one class, with their thickness.

`labels_HW` is a label map, uint8 or uint16, 0 = unlabelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap


@dataclass(frozen=True)
class Regions:
    """The 8-connected areas of one class each.

    `index_HW` int32: 0 where unlabelled, else 1..n. The other arrays have n + 1 entries, entry 0 unused:
    `class_of` uint16, `area_px` int64, `half_width_px` float32 (radius of the largest disc that fits in: 0.5
    to 1 for a line, so what is thin is told from what is small).
    """

    index_HW: NDArray[np.int32]
    class_of: NDArray[np.uint16]
    area_px: NDArray[np.int64]
    half_width_px: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.class_of) - 1


def find_regions(labels_HW: LabelMap) -> Regions:
    """Split a label map into its regions, classes in ascending order of id."""
    import cv2
    from scipy import ndimage

    index_HW = np.zeros(labels_HW.shape, np.int32)
    class_of: list[int] = [0]
    for class_id, box in enumerate(ndimage.find_objects(labels_HW.astype(np.int32)), start=1):
        if box is None:
            continue
        mask_HW = labels_HW[box] == class_id
        count, parts_HW = cv2.connectedComponents(mask_HW.astype(np.uint8), connectivity=8)
        index_HW[box][mask_HW] = parts_HW[mask_HW] + (len(class_of) - 1)
        class_of.extend([class_id] * (count - 1))
    numbers = np.arange(len(class_of))
    half_width_px = ndimage.maximum(edge_distance(labels_HW), index_HW, numbers)
    return Regions(
        index_HW=index_HW,
        class_of=np.asarray(class_of, np.uint16),
        area_px=np.bincount(index_HW.ravel(), minlength=len(class_of)).astype(np.int64),
        half_width_px=np.asarray(half_width_px, np.float32),
    )


def edge_distance(labels_HW: LabelMap) -> NDArray[np.float32]:
    """Distance in pixels of each pixel's centre to the nearest edge between two labels, 0.5 at an edge.

    The frame of the image is no edge. Where there is no edge at all, the distance is the image's diagonal.
    """
    import cv2

    edge_HW = np.zeros(labels_HW.shape, bool)
    rows_HW, columns_HW = labels_HW[1:] != labels_HW[:-1], labels_HW[:, 1:] != labels_HW[:, :-1]
    edge_HW[1:] |= rows_HW
    edge_HW[:-1] |= rows_HW
    edge_HW[:, 1:] |= columns_HW
    edge_HW[:, :-1] |= columns_HW
    if not edge_HW.any():
        return np.full(labels_HW.shape, np.hypot(*labels_HW.shape), np.float32)
    distance_HW = cv2.distanceTransform((~edge_HW).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance_HW + 0.5, dtype=np.float32)


def fill_from_nearest(labels_HW: LabelMap, hole_HW: NDArray[np.bool_]) -> LabelMap:
    """Give each pixel of `hole_HW` the label of the nearest labelled pixel outside it.

    Unlabelled pixels (0) neither change nor spread. Without a labelled pixel outside, nothing changes.
    """
    from scipy import ndimage

    source_HW = ~hole_HW & (labels_HW != 0)
    if not hole_HW.any() or not source_HW.any():
        return labels_HW.copy()
    nearest_2HW = ndimage.distance_transform_edt(~source_HW, return_distances=False, return_indices=True)
    filled_HW = labels_HW.copy()
    filled_HW[hole_HW] = labels_HW[nearest_2HW[0][hole_HW], nearest_2HW[1][hole_HW]]
    return filled_HW


def within(mask_HW: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """Pixels at most `radius_px` from a pixel of the mask (a disc's dilation)."""
    import cv2

    if radius_px <= 0:
        return mask_HW.copy()
    disc_HW = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return np.asarray(cv2.dilate(mask_HW.astype(np.uint8), disc_HW).astype(bool))


def unexplained_errors(truth_HW: LabelMap, shown_HW: LabelMap, tolerance_px: int) -> NDArray[np.bool_]:
    """Wrong pixels that no shift of a boundary within the tolerance explains.

    A wrong pixel is explained when its true class is shown, and its shown class is true, somewhere within
    `tolerance_px`. So a line one pixel off is explained, a line that is missing is not, however thin it
    is. Pixels whose truth is unlabelled (0) are never wrong.
    """
    wrong_HW = (truth_HW != shown_HW) & (truth_HW != 0)
    unexplained_HW = np.zeros(wrong_HW.shape, bool)
    for have_HW, want_HW in ((truth_HW, shown_HW), (shown_HW, truth_HW)):
        _mark_without_counterpart(have_HW, want_HW, wrong_HW, tolerance_px, unexplained_HW)
    return unexplained_HW


def _mark_without_counterpart(
    have_HW: LabelMap,
    want_HW: LabelMap,
    wrong_HW: NDArray[np.bool_],
    tolerance_px: int,
    marked_HW: NDArray[np.bool_],
) -> None:
    """Mark the wrong pixels whose class in one map is not within the tolerance in the other."""
    from scipy import ndimage

    # Shifted by one, because a proposal may leave a pixel unlabelled (0), and 0 is no object to scipy.
    shifted_HW = np.where(wrong_HW, have_HW.astype(np.int32) + 1, 0)
    for class_id, box in enumerate(ndimage.find_objects(shifted_HW)):
        if box is None:
            continue
        window = tuple(slice(max(0, side.start - tolerance_px), side.stop + tolerance_px) for side in box)
        found_HW = within(np.asarray(want_HW[window] == class_id), tolerance_px)
        marked_HW[window] |= (shifted_HW[window] == class_id + 1) & ~found_HW
