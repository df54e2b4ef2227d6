"""How good a model is on samples that it was not trained on.

Legend: K leaf classes (channels), P inner classes, H x W pixels, N windows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from terrazzo_training.trainer.class_tree import IGNORE, ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import Image, SampleSource
from terrazzo_training.trainer.networks import Segmenter
from terrazzo_training.trainer.processes import Processes


def evaluate(
    model: Segmenter, source: SampleSource, tree: ClassTree, config: RunConfig, processes: Processes
) -> dict[str, Any]:
    """Predict every sample of ``source`` and return the content of metrics.json.

    The samples are dealt out over the processes; every process returns the same figures.
    """
    counts_TK = np.zeros((tree.num_leaves + len(tree.inner_ids), tree.num_leaves), dtype=np.int64)
    model.eval()
    for index in range(processes.rank, len(source), processes.world):
        targets_HW = tree.targets(source.labels(index), f"sample {source.sample_id(index)}")
        predicted_HW = predict(model, source.image(index), config)
        counts_TK += confusion(targets_HW, predicted_HW, tree)
    counts_TK = processes.sum(torch.from_numpy(counts_TK).to(processes.device)).cpu().numpy()
    return {"schema": 1, "num_images": len(source), **measures(counts_TK, tree)}


def predict(model: Segmenter, image_HWC: Image, config: RunConfig) -> NDArray[np.int64]:
    """Return the most probable leaf (channel index) of every pixel, int64 (H, W); see ``probabilities``."""
    return probabilities(model, image_HWC, config).argmax(dim=0).numpy()


def probabilities(model: Segmenter, image_HWC: Image, config: RunConfig) -> Tensor:
    """Return the probability of each leaf at every pixel, float32 (K, H, W).

    Images larger than ``eval_tile_px`` are cut into windows that overlap by ``eval_overlap_px`` or more;
    softmax probabilities are averaged with weights that fall off linearly towards a window's edge.
    Images are mirrored beyond their edges to a multiple of the stride.
    """
    parameter = next(model.parameters())
    height, width = image_HWC.shape[:2]
    tops, tall_px = windows(height, config.eval_tile_px, config.eval_overlap_px, model.stride_px)
    lefts, wide_px = windows(width, config.eval_tile_px, config.eval_overlap_px, model.stride_px)
    bottom, right = max(0, tall_px - height), max(0, wide_px - width)
    padded_HWC = np.pad(image_HWC, ((0, bottom), (0, right), (0, 0)), mode="symmetric")
    image_CHW = torch.from_numpy(np.ascontiguousarray(padded_HWC.transpose(2, 0, 1)))
    weights_HW = _tent(tall_px)[:, None] * _tent(wide_px)[None, :]
    summed_HW = torch.zeros(image_CHW.shape[1:])
    summed_KHW: Tensor | None = None
    with torch.inference_mode():
        for top in tops:
            for left in lefts:
                window = image_CHW[None, :, top : top + tall_px, left : left + wide_px].to(parameter)
                found_KHW = F.softmax(model(window)[0].float(), dim=1)[0].cpu()
                if len(tops) == len(lefts) == 1:
                    return found_KHW[:, :height, :width]
                if summed_KHW is None:
                    summed_KHW = torch.zeros(len(found_KHW), *image_CHW.shape[1:])
                summed_KHW[:, top : top + tall_px, left : left + wide_px] += found_KHW * weights_HW
                summed_HW[top : top + tall_px, left : left + wide_px] += weights_HW
    assert summed_KHW is not None
    return (summed_KHW / summed_HW)[:, :height, :width]


def windows(length: int, tile_px: int, overlap_px: int, stride_px: int) -> tuple[list[int], int]:
    """Return the starts of the windows along an axis, and their common size, a multiple of ``stride_px``.

    As few windows as ``tile_px`` allows, all of one size that wastes little: two windows of 320
    cover 520 pixels, not two of 512. The axis is shorter than the one window where it is short.
    """
    count = 1 if length <= tile_px else math.ceil((length - overlap_px) / (tile_px - overlap_px))
    size = math.ceil((length + (count - 1) * overlap_px) / count / stride_px) * stride_px
    if count == 1:
        return [0], size
    return [round(i * (length - size) / (count - 1)) for i in range(count)], size


def _tent(length: int) -> Tensor:
    """Return weights that rise linearly from the edges to the middle, float32 (length,), all above 0."""
    positions = torch.arange(length, dtype=torch.float32) + 0.5
    return torch.minimum(positions, length - positions) / length


def confusion(
    targets_HW: NDArray[np.int32], predicted_HW: NDArray[np.int64], tree: ClassTree
) -> NDArray[np.int64]:
    """Return pixel counts, int64 (K + P, K): rows are truth (leaves, then inner classes), columns prediction."""
    rows = tree.num_leaves + len(tree.inner_ids)
    labelled_HW = targets_HW != IGNORE
    pairs = targets_HW[labelled_HW].astype(np.int64) * tree.num_leaves + predicted_HW[labelled_HW]
    return np.bincount(pairs, minlength=rows * tree.num_leaves).reshape(rows, tree.num_leaves)


def measures(counts_TK: NDArray[np.int64], tree: ClassTree) -> dict[str, Any]:
    """Return the figures that follow from confusion counts (K + P, K).

    ``miou`` is the mean over the leaves that the truth shows; a leaf that neither truth nor prediction
    shows has IoU null. A pixel whose truth is an inner class counts only at its own depth and above,
    where it is known. ``levels[d]`` is the same with every class rolled up to depth d.
    """
    leaves_KK = counts_TK[: tree.num_leaves]
    levels = []
    for depth in range(tree.max_depth + 1):
        group_ids, counts_GG = _roll_up(counts_TK, tree, depth)
        levels.append({"depth": depth, **_scores(group_ids, counts_GG)})
    names = {str(class_id): tree.names[class_id] for class_id in tree.leaf_ids}
    return {
        **_scores(tree.leaf_ids, leaves_KK),
        "num_pixels": int(leaves_KK.sum()),
        "class_names": names,
        "levels": levels,
        "confusion": {"class_ids": list(tree.leaf_ids), "matrix": leaves_KK.tolist()},
    }


def _roll_up(
    counts_TK: NDArray[np.int64], tree: ClassTree, depth: int
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    column_groups = tree.group_of_leaf(depth)
    group_ids = tuple(sorted(set(column_groups)))
    counts_GG = np.zeros((len(group_ids), len(group_ids)), dtype=np.int64)
    for row, class_id in enumerate(tree.leaf_ids + tree.inner_ids):
        path = tree.paths[class_id]
        if row >= tree.num_leaves and len(path) - 1 < depth:
            continue
        group = group_ids.index(path[min(depth, len(path) - 1)])
        for column, column_group in enumerate(column_groups):
            counts_GG[group, group_ids.index(column_group)] += counts_TK[row, column]
    return group_ids, counts_GG


def _scores(class_ids: tuple[int, ...], counts_KK: NDArray[np.int64]) -> dict[str, Any]:
    hits_K = np.diagonal(counts_KK).astype(np.float64)
    truth_K, predicted_K = counts_KK.sum(axis=1), counts_KK.sum(axis=0)
    union_K = truth_K + predicted_K - hits_K
    iou_K = np.divide(hits_K, union_K, out=np.full(len(class_ids), np.nan), where=union_K > 0)
    total = counts_KK.sum()
    return {
        "miou": float(iou_K[truth_K > 0].mean()) if total else None,
        "pixel_accuracy": float(hits_K.sum() / total) if total else None,
        "iou_per_class": {
            str(c): None if np.isnan(v) else float(v) for c, v in zip(class_ids, iou_K, strict=True)
        },
    }
