"""How well a label map covers what a reference does: confusion, IoU, accuracy; classes rolled up a level."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import (
    LabelMap,
    as_words,
    dtype_for,
    index_table,
    require_labels,
)
from terrazzo_masks.measures.judging import require_pair
from terrazzo_masks.room import room

Measured = TypeVar("Measured")


def confusion(
    truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int], ignore: int = 0
) -> NDArray[np.int64]:
    """Pixels by true class (row) and predicted class (column): int64 (K, K+1) in the order of `class_ids`.

    The last column counts predictions outside `class_ids`, unlabelled ones too: errors of no class. A pixel
    whose truth is `ignore`, or no member of `class_ids` (a parent class, say), is left out. Matrices of several
    images add up. Raises ShapeMismatch when the maps differ in size, UnsupportedMask when `class_ids` is empty,
    repeats an id or holds `ignore`.
    """
    require_pair(truth_HW, pred_HW, class_ids, ignore)
    num_classes = len(class_ids)
    matrix = np.zeros((num_classes, num_classes + 1), np.int64)
    by_id, by_place = _count_pairs(truth_HW, pred_HW, class_ids)
    matrix += by_place[:num_classes]
    # Counts by id hold ids below 256: the classes' rows and columns of them, and all other columns in one.
    low_K = [k for k, class_id in enumerate(class_ids) if class_id < 256]
    id_K = np.array([class_ids[k] for k in low_K], np.int64)
    rows = by_id[id_K]
    known = rows[:, id_K]
    matrix[np.ix_(low_K, low_K)] += known
    matrix[low_K, num_classes] += rows.sum(axis=1) - known.sum(axis=1)
    return matrix


def _count_pairs(
    truth_HW: LabelMap, pred_HW: LabelMap, class_ids: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels by pair of ids, (256, 256), and of larger ids by pair of places, (K+1, K+1): each pixel once.

    The first is good until this thread counts again.
    """
    from terrazzo_masks.kernels.pair_counts import count_pairs_in_bytes, count_pairs_in_shorts

    num_classes = len(class_ids)
    place_of = index_table(class_ids, absent=num_classes)
    by_id = room("pairs", 65536, np.int64)
    by_id.fill(0)
    by_place = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    dtype = np.dtype(np.uint16 if truth_HW.dtype.itemsize + pred_HW.dtype.itemsize > 2 else np.uint8)
    (truth_W, truth_rest), (pred_W, pred_rest) = as_words(truth_HW, dtype), as_words(pred_HW, dtype)
    if dtype.itemsize == 1:
        count_pairs_in_bytes(truth_W, pred_W, by_id)
    else:
        count_pairs_in_shorts(truth_W, pred_W, place_of, by_id, by_place)
    np.add.at(by_place, (place_of[truth_rest], place_of[pred_rest]), 1)
    return by_id.reshape(256, 256), by_place


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


def roll_up_confusion(
    confusion_KK1: NDArray[np.int64], class_ids: Sequence[int], mapping: Mapping[int, int], ignore: int = 0
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The confusion after `roll_up` by `mapping`, without its pixels: (matrix (L, L+1), the L ids it is about).

    Ids come in the order in which the classes first map to them. It is what `confusion` says of the rolled-up
    maps, if `class_ids` holds every class that `mapping` maps to one of the ids and that occurs: what lies in the
    matrix's last column stays an error of no class. Classes that map to `ignore` leave it. Raises ShapeMismatch
    when the matrix is not (K, K+1) with K classes.
    """
    _require_confusion(confusion_KK1)
    if len(class_ids) != confusion_KK1.shape[0]:
        raise ShapeMismatch(f"{len(class_ids)} class ids for a confusion of {confusion_KK1.shape[0]} classes")
    targets_K = [mapping.get(class_id, class_id) for class_id in class_ids]
    level_ids = tuple(dict.fromkeys(target for target in targets_K if target != ignore))
    num = len(level_ids)
    place_of = {level_id: place for place, level_id in enumerate(level_ids)}
    place_K = np.array([*(place_of.get(target, num) for target in targets_K), num], np.int64)
    rolled = np.zeros((num + 1, num + 1), np.int64)
    np.add.at(rolled, (place_K[:-1, None], place_K[None, :]), confusion_KK1)
    return rolled[:num], level_ids


@dataclass(frozen=True)
class LevelScores:
    """The figures of one level of an ontology: the confusion (L, L+1) of its ids, IoU of each and the rest."""

    class_ids: tuple[int, ...]
    confusion: NDArray[np.int64]
    iou: NDArray[np.float64]
    mean_iou: float
    pixel_accuracy: float


def by_level(
    confusion_KK1: NDArray[np.int64],
    class_ids: Sequence[int],
    levels: Sequence[Mapping[int, int]],
    ignore: int = 0,
) -> tuple[LevelScores, ...]:
    """`LevelScores` of each level of an ontology from one confusion; `levels` maps class ids to those of a level.

    See `roll_up_confusion`. Distances do not follow from a confusion: for those see `measured_by_level`.
    """
    found = []
    for mapping in levels:
        rolled, level_ids = roll_up_confusion(confusion_KK1, class_ids, mapping, ignore)
        found.append(LevelScores(level_ids, rolled, iou(rolled), mean_iou(rolled), pixel_accuracy(rolled)))
    return tuple(found)


def measured_by_level(
    measure: Callable[[LabelMap, LabelMap, Sequence[int]], Measured],
    truth_HW: LabelMap,
    pred_HW: LabelMap,
    class_ids: Sequence[int],
    levels: Sequence[Mapping[int, int]],
    ignore: int = 0,
) -> tuple[tuple[tuple[int, ...], Measured], ...]:
    """(ids of the level, what `measure` says of the maps rolled up to it) for each level.

    `measure` is `boundary_iou`, `boundary_f` or `surface_distances`, or one of them with its settings bound
    (functools.partial). Two classes under one parent have no boundary between them at the parent's level.
    """
    found = []
    for mapping in levels:
        targets = (mapping.get(class_id, class_id) for class_id in class_ids)
        level_ids = tuple(dict.fromkeys(target for target in targets if target != ignore))
        found.append((level_ids, measure(roll_up(truth_HW, mapping), roll_up(pred_HW, mapping), level_ids)))
    return tuple(found)


def _require_confusion(confusion_KK1: NDArray[np.int64]) -> None:
    if confusion_KK1.ndim != 2 or confusion_KK1.shape[1] != confusion_KK1.shape[0] + 1:
        raise ShapeMismatch(f"a confusion matrix here is (K, K+1), not {confusion_KK1.shape}")
