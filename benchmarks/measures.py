"""Measures against what a user would write per class with NumPy, OpenCV and SciPy.

Peers: `fast_hist`, the bincount idiom of most segmentation code; Boundary IoU after bowenc0221/boundary-iou-api
with OpenCV, class by class; the DAVIS benchmark's boundary F-measure (contours with NumPy, disk dilation with
OpenCV), class by class; medpy's surface distances, a full-frame SciPy distance transform per class and direction.
Each peer's result is compared with ours before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Bench, Figure, faster, limit, medians
from benchmarks.material import corrected, folder, many_classes, scenes
from terrazzo_masks.labels import BoolMap, LabelMap

Mask = NDArray[np.uint8]
NUM_CLASSES = 19  # with 0, the ignored one


def run(bench: Bench) -> list[Figure]:
    import cv2

    cv2.setNumThreads(1)
    height, width = (256, 512) if bench.quick else (1024, 2048)
    truth_HW = many_classes(height, width, NUM_CLASSES - 1)
    pairs = {f"generated {width}x{height}, {NUM_CLASSES} ids": (truth_HW, corrected(truth_HW, seed=1))}
    if bench.data is not None and (bench.data / "nuclei" / "class_masks").is_dir():
        masks = folder(bench.data / "nuclei" / "class_masks")
        largest_HW = max(masks.values(), key=lambda labels_HW: labels_HW.size) + np.uint8(1)
        size = f"{largest_HW.shape[1]}x{largest_HW.shape[0]}"
        pairs[f"nuclei {size}, {len(np.unique(largest_HW))} ids"] = (largest_HW, corrected(largest_HW, seed=1))
    figures: list[Figure] = []
    for name, pair in pairs.items():
        class_ids = [int(class_id) for class_id in np.unique(pair[0]) if class_id]
        for topic, target, peer_name, ours, peer in _contests(pair, class_ids):
            bench.say(f"measures: {topic}, {name}")
            _require_same(topic, ours(), peer())
            ours_s, peer_s = medians(ours, peer, warm_up=False)
            figures.append(faster("measures", f"{topic}, {name}", ours_s, peer_s, peer_name, target))
    figures += _confusions(height, width)
    figures.append(_checks(bench, height, width))
    return figures


Contest = tuple[str, float, str, Callable[[], Any], Callable[[], Any]]


def _contests(pair: tuple[LabelMap, LabelMap], class_ids: Sequence[int]) -> list[Contest]:
    from terrazzo_masks.measures import boundary_f, boundary_iou, confusion, surface_distances

    num = max(class_ids) + 1
    return [
        (
            "confusion",
            8.0,
            "numpy.bincount",
            partial(confusion, *pair, class_ids),
            lambda: fast_hist(*pair, num)[np.ix_(class_ids, class_ids)],
        ),
        (
            "boundary_iou",
            12.0,
            "OpenCV per class",
            partial(boundary_iou, *pair, class_ids),
            partial(opencv_boundary_iou, *pair, class_ids),
        ),
        (
            "boundary_f",
            20.0,
            "DAVIS f_measure per class (OpenCV)",
            partial(boundary_f, *pair, class_ids),
            partial(opencv_boundary_f, *pair, class_ids),
        ),
        (
            "surface_distances",
            50.0,
            "SciPy EDT per class",
            partial(surface_distances, *pair, class_ids),
            partial(scipy_surface_distances, *pair, class_ids),
        ),
    ]


def _require_same(topic: str, ours: Any, peer: Any) -> None:
    if topic == "confusion":
        ours = ours[:, :-1]
    if topic == "surface_distances":
        ours = np.stack([ours.hausdorff, ours.hd95, ours.assd], axis=1)
    np.testing.assert_allclose(ours, peer, rtol=1e-12, err_msg=topic)


def _confusions(height: int, width: int) -> list[Figure]:
    """Of other kinds of maps: 16 bits; single wrong pixels all over; noise, no word of one class (target 1)."""
    from terrazzo_masks.measures import confusion

    scene_HW = many_classes(height, width, NUM_CLASSES - 1)
    rng = np.random.default_rng(0)
    noise_2HW = rng.integers(0, NUM_CLASSES, (2, height, width)).astype(np.uint8)
    scattered_HW = np.where(rng.random(scene_HW.shape) < 0.05, noise_2HW[0], scene_HW)
    class_ids = range(1, NUM_CLASSES)
    figures = []
    for name, target, truth_HW, pred_HW in (
        ("uint16", 8.0, scene_HW.astype(np.uint16), corrected(scene_HW, seed=1).astype(np.uint16)),
        ("5 % of the pixels wrong, each on its own", 8.0, scene_HW, scattered_HW),
        ("independent noise in every pixel", 1.0, *noise_2HW),
    ):
        ours_s, peer_s = medians(
            partial(confusion, truth_HW, pred_HW, class_ids), partial(fast_hist, truth_HW, pred_HW, NUM_CLASSES)
        )
        figures.append(faster("measures", f"confusion, {name}", ours_s, peer_s, "numpy.bincount", target))
    return figures


def _checks(bench: Bench, height: int, width: int) -> Figure:
    from terrazzo_masks.checks import run_checks

    (labels_HW,) = scenes(1, height, width)
    submitted_HW = corrected(labels_HW, seed=2)
    class_ids = set(np.unique(labels_HW).tolist())
    (taken_s,) = medians(partial(run_checks, submitted_HW, expected_hw=(height, width), class_ids=class_ids))
    return limit("measures", f"run_checks, generated {width}x{height}", taken_s * 1e3, "ms", at_most=100.0)


def fast_hist(truth_HW: LabelMap, pred_HW: LabelMap, num: int) -> NDArray[np.int64]:
    """The idiom, as in the FCN and DeepLab code and whoever took it from there."""
    known = (truth_HW >= 0) & (truth_HW < num)
    counts = np.bincount(num * truth_HW[known].astype(int) + pred_HW[known], minlength=num**2)
    return counts.reshape(num, num)


def opencv_boundary_iou(truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int]) -> list[float]:
    scores = []
    for class_id in class_ids:
        truth = _opencv_band((truth_HW == class_id).astype(np.uint8))
        pred = _opencv_band((pred_HW == class_id).astype(np.uint8))
        scores.append(float(((truth * pred) > 0).sum() / ((truth + pred) > 0).sum()))
    return scores


def _opencv_band(mask_HW: Mask) -> Mask:
    import cv2

    height, width = mask_HW.shape
    distance = max(1, round(0.02 * np.sqrt(height**2 + width**2)))
    padded = cv2.copyMakeBorder(mask_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    band: Mask = mask_HW - eroded[1 : height + 1, 1 : width + 1].astype(np.uint8)
    return band


def opencv_boundary_f(truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int]) -> list[float]:
    import cv2

    reach = int(np.ceil(0.008 * np.linalg.norm(truth_HW.shape)))
    steps = np.arange(-reach, reach + 1)
    disk = (steps[:, None] ** 2 + steps[None, :] ** 2 <= reach**2).astype(np.uint8)
    scores = []
    for class_id in class_ids:
        truth, pred = _contour(truth_HW == class_id), _contour(pred_HW == class_id)
        near_truth, near_pred = (cv2.dilate(contour.astype(np.uint8), disk) for contour in (truth, pred))
        precision = np.sum(pred * near_truth) / np.sum(pred) if pred.any() else 0.0
        recall = np.sum(truth * near_pred) / np.sum(truth) if truth.any() else 0.0
        scores.append(float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0)
    return scores


def _contour(mask_HW: BoolMap) -> BoolMap:
    east, south, south_east = np.zeros_like(mask_HW), np.zeros_like(mask_HW), np.zeros_like(mask_HW)
    east[:, :-1] = mask_HW[:, 1:]
    south[:-1, :] = mask_HW[1:, :]
    south_east[:-1, :-1] = mask_HW[1:, 1:]
    contour: BoolMap = (mask_HW ^ east) | (mask_HW ^ south) | (mask_HW ^ south_east)
    contour[-1, :] = mask_HW[-1, :] ^ east[-1, :]
    contour[:, -1] = mask_HW[:, -1] ^ south[:, -1]
    contour[-1, -1] = False
    return contour


def scipy_surface_distances(
    truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int]
) -> NDArray[np.float64]:
    """(K, 3): Hausdorff, HD95, ASSD."""
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(2, 1)
    rows = []
    for class_id in class_ids:
        truth, pred = truth_HW == class_id, pred_HW == class_id
        truth_edge = truth ^ ndimage.binary_erosion(truth, cross)
        pred_edge = pred ^ ndimage.binary_erosion(pred, cross)
        there = ndimage.distance_transform_edt(~truth_edge)[pred_edge]
        back = ndimage.distance_transform_edt(~pred_edge)[truth_edge]
        both = np.hstack([there, back])
        rows.append((both.max(), np.percentile(both, 95), (there.mean() + back.mean()) / 2))
    return np.array(rows)
