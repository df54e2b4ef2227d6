"""Blame for a region: the pixels go back through the history together, and part where their ways part.

Legend: H, W are the region's height and width; `where_HW` is a bool map of some of its pixels.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from terrazzo_mask_storage.domain.blame import Origin, Pixel, Verdict, set_by

BoolMap = NDArray[np.bool_]
LabelsOf = Callable[[str], NDArray[Any] | None]
"""A mask's labels (H, W) in the region; None when the mask is not known or does not reach so far."""


class History(Protocol):
    """The commits behind a version."""

    def parents(self, commit_id: str) -> Sequence[str]: ...
    def mask_of(self, commit_id: str) -> str | None:
        """The sample's mask in that commit; None where the sample is not."""
        ...

    def age(self, commit_id: str) -> float:
        """Grows into the past. An age that is wrong costs time, and changes no answer."""
        ...


def introduced(
    start: str, history: History, labels_of: LabelsOf, where_HW: BoolMap
) -> list[tuple[str, str, BoolMap]]:
    """(commit id, mask id, pixels) of the commits in which the pixels got their present classes.

    A pixel that a parent has in the same class came from that parent (the first that has it: of a merge, the side
    that it was merged into). The sample's mask at `start` must exist. The parts are disjoint: together `where_HW`.
    """
    found: list[tuple[str, str, BoolMap]] = []
    pending: dict[str, BoolMap] = {start: where_HW}
    order = [(history.age(start), start)]
    while order:
        _, commit_id = heapq.heappop(order)
        left_HW = pending.pop(commit_id, None)
        if left_HW is None:
            continue  # it was met twice on the way, and its pixels went on together
        mask_id = history.mask_of(commit_id)
        assert mask_id is not None, "pixels pass only to commits that have the sample"
        for parent_id in history.parents(commit_id):
            passed_HW = left_HW & _same(mask_id, history.mask_of(parent_id), labels_of)
            if passed_HW.any():
                known_HW = pending.get(parent_id)
                pending[parent_id] = passed_HW if known_HW is None else known_HW | passed_HW
                heapq.heappush(order, (history.age(parent_id), parent_id))
                left_HW = left_HW & ~passed_HW
        if left_HW.any():
            found.append((commit_id, mask_id, left_HW))
    return found


def _same(mask_id: str, other_id: str | None, labels_of: LabelsOf) -> BoolMap | np.bool_:
    if other_id is None:
        return np.False_
    if other_id == mask_id:
        return np.True_
    mine_HW, other_HW = labels_of(mask_id), labels_of(other_id)
    if mine_HW is None or other_HW is None:
        return np.False_
    same_HW: BoolMap = mine_HW == other_HW
    return same_HW


@dataclass(frozen=True)
class Share:
    """Pixels of one class that one party set. `box` is (y, x, height, width) inside of the region."""

    class_id: int
    verdict: Verdict
    pixels: int
    box: tuple[int, int, int, int]


def shares(
    mask_id: str,
    where_HW: BoolMap,
    labels_of: LabelsOf,
    origins_of: Callable[[str], Sequence[Origin]],
    decided_by: str | None,
) -> Iterator[Share]:
    """Who set these pixels of a mask, by the rules of `blame.set_by`: once for those that they can't tell apart.

    The rules ask of a pixel only whether some other masks say the same class there. So one pixel is judged, what
    was asked is written down, and every pixel with the same answers has the same verdict.
    """
    labels_HW = labels_of(mask_id)
    assert labels_HW is not None, "the mask is one of the version's"
    for class_id in np.unique(labels_HW[where_HW]).tolist():
        left_HW: BoolMap = where_HW & (labels_HW == class_id)
        while left_HW.any():
            y, x = (int(index[0]) for index in np.nonzero(left_HW))
            asked: dict[str, bool] = {}

            def class_at(other_id: str, y: int = y, x: int = x, asked: dict[str, bool] = asked) -> int | None:
                other_HW = labels_of(other_id)
                found = None if other_HW is None else int(other_HW[y, x])
                asked[other_id] = found == class_id  # noqa: B023 - asked and answered within this turn
                return found

            verdict = set_by(mask_id, Pixel(class_at, origins_of), decided_by)
            alike_HW = left_HW.copy()
            for other_id, is_same in asked.items():
                other_HW = labels_of(other_id)
                if other_HW is not None:
                    alike_HW &= (other_HW == class_id) == is_same
            yield Share(class_id, verdict, int(np.count_nonzero(alike_HW)), _box(alike_HW))
            left_HW = left_HW & ~alike_HW


def _box(where_HW: BoolMap) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(where_HW.any(axis=1)), np.flatnonzero(where_HW.any(axis=0))
    y, x = int(rows[0]), int(cols[0])
    return y, x, int(rows[-1]) - y + 1, int(cols[-1]) - x + 1
