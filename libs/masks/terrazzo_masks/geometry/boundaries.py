"""Lengths of boundaries in pixels: what an annotator has to draw, and what is left to correct.

A boundary runs between pixels. Its length is summed over the 2 x 2 windows of the map, each adding the length of
the marching-squares line that passes it: 1 where it goes straight, sqrt(1/2) where it turns a corner, 3/2 at a
T, sqrt(2) for two corners, 2 at a crossing. So 0 and 45 degree lines are exact and others up to 8 % too long.
The image's border is no boundary: nobody draws it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import UNLABELLED, BoolMap, LabelMap, require_labels, require_mask, require_same_shape

STRAIGHT_PX, CORNER_PX, TEE_PX, TWO_CORNERS_PX, CROSSING_PX = 1.0, 0.5**0.5, 1.5, 2**0.5, 2.0


def boundary_length_px(mask_HW: BoolMap) -> float:
    """Length of the outline of the True pixels (holes included) of a bool array (H, W), in pixels."""
    require_mask(mask_HW)
    return float(_window_lengths(mask_HW).sum())


def wrong_boundary_length_px(truth_HW: LabelMap, proposal_HW: LabelMap) -> float:
    """Boundary of the reference that must be redrawn, in pixels: its part that touches a wrong pixel.

    A wrong region that touches no boundary of the reference (an object that is not there) adds its own outline:
    it has to be painted over. Pixels that are unlabelled in the reference are never wrong. Raises ShapeMismatch
    when the maps differ in size.
    """
    require_labels(truth_HW, "truth")
    require_labels(proposal_HW, "proposal")
    require_same_shape(truth_HW, proposal_HW, "truth and proposal")
    wrong_HW = (truth_HW != proposal_HW) & (truth_HW != UNLABELLED)
    if not wrong_HW.any():
        return 0.0
    lengths = _window_lengths(truth_HW)
    touched = _any_of_window(wrong_HW)
    redrawn_px = float(lengths[touched].sum())
    return redrawn_px + float(_window_lengths(_away_from(wrong_HW, touched & (lengths > 0))).sum())


def _away_from(wrong_HW: BoolMap, boundary: BoolMap) -> BoolMap:
    """The wrong regions (8-connected) that no window of the reference's boundary touches."""
    import cv2

    num_regions, region_HW = cv2.connectedComponents(wrong_HW.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    touching = np.zeros(num_regions, dtype=np.bool_)
    for rows in (np.s_[:-1], np.s_[1:]):
        for cols in (np.s_[:-1], np.s_[1:]):
            touching[region_HW[rows, cols][boundary]] = True
    touching[0] = True
    away_HW: BoolMap = ~touching[region_HW]
    return away_HW


def _any_of_window(mask_HW: BoolMap) -> BoolMap:
    any_HW: BoolMap = mask_HW[:-1, :-1] | mask_HW[:-1, 1:] | mask_HW[1:, :-1] | mask_HW[1:, 1:]
    return any_HW


def _window_lengths(labels_HW: NDArray[Any]) -> NDArray[np.float64]:
    """Boundary length in each 2 x 2 window: float64 (H-1, W-1), zeros where all four pixels agree."""
    a, b, c, d = labels_HW[:-1, :-1], labels_HW[:-1, 1:], labels_HW[1:, :-1], labels_HW[1:, 1:]
    ab, bd, dc, ca = a != b, b != d, d != c, c != a
    # Four bits: which of the window's four half-edges are boundary. A table turns them into a length.
    pattern = ab.astype(np.uint8) | bd.astype(np.uint8) << 1 | dc.astype(np.uint8) << 2 | ca.astype(np.uint8) << 3
    table = np.zeros(16)
    for bits in range(16):
        match bits.bit_count():
            case 2:
                table[bits] = STRAIGHT_PX if bits in (0b0101, 0b1010) else CORNER_PX
            case 3:
                table[bits] = TEE_PX
            case 4:
                table[bits] = CROSSING_PX
    lengths: NDArray[np.float64] = table[pattern]
    lengths[(pattern == 0b1111) & ((a == d) | (b == c))] = TWO_CORNERS_PX
    return lengths
