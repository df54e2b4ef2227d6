"""The loss against a computation that is written out pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import ClassSpec
from terrazzo_training.trainer.data import ArraySource
from terrazzo_training.trainer.errors import DataError
from terrazzo_training.trainer.losses import HierarchicalCrossEntropy, class_weights

# a > (b > (1, 2), 3), 4: two inner levels
_TREE = ClassTree.of(
    (
        ClassSpec(20, "a"),
        ClassSpec(10, "b", 20),
        ClassSpec(1, "b1", 10),
        ClassSpec(2, "b2", 10),
        ClassSpec(3, "a3", 20),
        ClassSpec(4, "other"),
    )
)
_LEAVES_BELOW = {1: [1], 2: [2], 3: [3], 4: [4], 10: [1, 2], 20: [1, 2, 3]}


def _naive(logits_KHW: np.ndarray, labels_HW: np.ndarray, weight_of: dict[int, float]) -> tuple[float, float]:
    loss = weights = 0.0
    for y, x in np.ndindex(labels_HW.shape):
        label = int(labels_HW[y, x])
        if label == 0:
            continue
        exponentials = [math.exp(v) for v in logits_KHW[:, y, x]]
        share = sum(exponentials[_TREE.leaf_ids.index(leaf)] for leaf in _LEAVES_BELOW[label]) / sum(exponentials)
        weight = float(np.mean([weight_of[leaf] for leaf in _LEAVES_BELOW[label]]))
        loss -= weight * math.log(share)
        weights += weight
    return loss, weights


def test_the_loss_is_the_naive_one_on_leaves_parents_and_unlabelled_pixels() -> None:
    rng = np.random.default_rng(0)
    logits_NKHW = rng.normal(size=(2, 4, 6, 5))
    labels_NHW = rng.choice([0, 1, 2, 3, 4, 10, 20], size=(2, 6, 5)).astype(np.uint16)
    weights_K = np.array([0.5, 2.0, 1.0, 3.0])
    loss = HierarchicalCrossEntropy(_TREE, weights_K).double()
    targets = torch.from_numpy(_TREE.targets(labels_NHW, "test").astype(np.int64))
    loss_sum, weight_sum = loss(torch.from_numpy(logits_NKHW), targets)
    expected = np.sum([_naive(k, m, dict(zip(_TREE.leaf_ids, weights_K, strict=True)))
                       for k, m in zip(logits_NKHW, labels_NHW, strict=True)], axis=0)  # fmt: skip
    assert float(loss_sum) == pytest.approx(expected[0], rel=1e-6)
    assert float(weight_sum) == pytest.approx(expected[1], rel=1e-6)


def test_a_parents_label_never_pushes_against_one_of_its_children() -> None:
    logits = torch.zeros(1, 4, 1, 1, dtype=torch.float64, requires_grad=True)
    targets = torch.from_numpy(_TREE.targets(np.array([[10]], dtype=np.uint16), "test").astype(np.int64))[None]
    HierarchicalCrossEntropy(_TREE, np.ones(4)).double()(logits, targets)[0].backward()
    assert logits.grad is not None
    gradient = dict(zip(_TREE.leaf_ids, logits.grad.flatten().tolist(), strict=True))
    assert gradient[1] < 0
    assert gradient[2] < 0
    assert gradient[3] > 0
    assert gradient[4] > 0


def test_a_batch_without_a_labelled_pixel_costs_nothing() -> None:
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    loss_sum, weight_sum = HierarchicalCrossEntropy(_TREE, np.ones(4))(logits, torch.full((1, 3, 3), -1))
    loss_sum.backward()
    assert loss_sum.item() == 0.0
    assert float(weight_sum) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_class_id_outside_the_tree_is_refused_with_its_place() -> None:
    labels_HW = np.ones((4, 4), dtype=np.uint16)
    labels_HW[2, 3] = 77
    with pytest.raises(DataError, match=r"sample-9.*77.*y 2, x 3"):
        _TREE.targets(labels_HW, "sample-9")


def test_class_weights_follow_their_papers() -> None:
    """Two images of 100 pixels: class 1 fills 90 + 60, class 2 fills 10 of the first, class 3 40 of the second."""
    first, second = np.full((10, 10), 1, np.uint16), np.full((10, 10), 1, np.uint16)
    first[0], second[:4] = 2, 3
    image = np.zeros((10, 10, 3), np.uint8)
    source = ArraySource(["a", "b"], [image, image], [first, second])
    frequency = np.array([150 / 200, 10 / 100, 40 / 100])
    share = np.array([150, 10, 40]) / 200

    def ratios(scheme: str) -> np.ndarray:
        weights_K = class_weights(source, _TREE, scheme)
        assert weights_K[3] == 1.0  # class 4 was never seen
        assert (weights_K[:3] * share).sum() == pytest.approx(1.0)
        return np.asarray(weights_K[:3] / weights_K[0])

    assert ratios("median_frequency") == pytest.approx(frequency[0] / frequency)
    assert ratios("sqrt_median_frequency") == pytest.approx(np.sqrt(frequency[0] / frequency))
    assert ratios("enet") == pytest.approx(np.log(1.02 + share[0]) / np.log(1.02 + share))
    assert class_weights(source, _TREE, "none").tolist() == [1, 1, 1, 1]
