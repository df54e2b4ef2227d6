"""The class tree as a network sees it: channels are leaves, parents are sets of channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_training.trainer.config import ClassSpec
from terrazzo_training.trainer.errors import DataError

UNLABELLED = 0
IGNORE = -1


@dataclass(frozen=True)
class ClassTree:
    """Maps class ids to targets.

    Targets 0..K-1 are the leaves in ascending id order (the network's channels), K..K+P-1 the inner
    classes in ascending id order ('an unknown child of'), -1 is 'not labelled'.

    Attributes:
        leaf_ids: class id of each channel, length K.
        inner_ids: class id of each inner target, length P.
        members_PK: bool (P, K); row p marks the leaf descendants of inner class p.
        names: class id -> name.
        depths: class id -> distance from its root (a root has depth 0).
        paths: class id -> ids from the root down to the class itself.
    """

    leaf_ids: tuple[int, ...]
    inner_ids: tuple[int, ...]
    members_PK: NDArray[np.bool_]
    names: dict[int, str]
    depths: dict[int, int]
    paths: dict[int, tuple[int, ...]]
    _target_of_id: NDArray[np.int32]

    @classmethod
    def of(cls, classes: tuple[ClassSpec, ...]) -> ClassTree:
        """Build from classes that were validated (unique ids, no cycles, two leaves or more)."""
        parents = {c.id: c.parent_id for c in classes}
        paths = {class_id: _path(class_id, parents) for class_id in parents}
        inner_ids = tuple(sorted({p for p in parents.values() if p is not None}))
        leaf_ids = tuple(sorted(set(parents) - set(inner_ids)))
        members_PK = np.array(
            [[inner in paths[leaf] for leaf in leaf_ids] for inner in inner_ids], dtype=np.bool_
        ).reshape(len(inner_ids), len(leaf_ids))
        target_of_id = np.full(65536, -2, dtype=np.int32)
        target_of_id[UNLABELLED] = IGNORE
        for target, class_id in enumerate(leaf_ids + inner_ids):
            target_of_id[class_id] = target
        return cls(
            leaf_ids=leaf_ids,
            inner_ids=inner_ids,
            members_PK=members_PK,
            names={c.id: c.name for c in classes},
            depths={class_id: len(path) - 1 for class_id, path in paths.items()},
            paths=paths,
            _target_of_id=target_of_id,
        )

    @property
    def num_leaves(self) -> int:
        return len(self.leaf_ids)

    def targets(self, labels_HW: NDArray[np.uint16], where: str) -> NDArray[np.int32]:
        """Map class ids (H, W) to targets (H, W) int32.

        Raises:
            DataError: an id is no class of the run; names ``where``, the id and the first pixel.
        """
        targets_HW = self._target_of_id[labels_HW]
        if targets_HW.size and targets_HW.min() < IGNORE:
            y, x = (int(v) for v in np.argwhere(targets_HW < IGNORE)[0])
            raise DataError(
                f"{where}: class id {int(labels_HW[y, x])} at pixel (y {y}, x {x}) is not among the run's classes "
                f"{sorted(self.names)}; train with the ontology that the labels were made with"
            )
        return targets_HW

    def group_of_leaf(self, depth: int) -> tuple[int, ...]:
        """Return per leaf the id of its ancestor at ``depth`` (the leaf itself where its path is shorter)."""
        return tuple(self.paths[leaf][min(depth, len(self.paths[leaf]) - 1)] for leaf in self.leaf_ids)

    @property
    def max_depth(self) -> int:
        return max(self.depths[leaf] for leaf in self.leaf_ids)


def _path(class_id: int, parents: dict[int, int | None]) -> tuple[int, ...]:
    path = [class_id]
    while (parent := parents[path[-1]]) is not None:
        path.append(parent)
    return tuple(reversed(path))
