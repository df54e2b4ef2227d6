"""How well a label map matches a reference: overlap, boundaries, distances between surfaces; by level."""

from terrazzo_masks.measures.contours import boundary_f, boundary_iou
from terrazzo_masks.measures.overlap import (
    LevelScores,
    by_level,
    confusion,
    iou,
    mean_iou,
    measured_by_level,
    pixel_accuracy,
    roll_up,
    roll_up_confusion,
)
from terrazzo_masks.measures.surfaces import SurfaceDistances, surface_distances

__all__ = [
    "LevelScores",
    "SurfaceDistances",
    "boundary_f",
    "boundary_iou",
    "by_level",
    "confusion",
    "iou",
    "mean_iou",
    "measured_by_level",
    "pixel_accuracy",
    "roll_up",
    "roll_up_confusion",
    "surface_distances",
]
