"""Cross-entropy over a class tree, with unlabelled pixels left out, and class weights.

Legend: N crops, K leaf classes (channels), P inner classes, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terrazzo_training.trainer.class_tree import IGNORE, ClassTree
from terrazzo_training.trainer.data import SampleSource


class HierarchicalCrossEntropy(torch.nn.Module):
    """Sum of weighted pixel losses and sum of weights; their quotient is the loss.

    A pixel labelled with a leaf c costs -log softmax(c). A pixel labelled with an inner class costs
    -log of the summed softmax of the leaves below it: it is 'one of these', and never evidence against
    any of them. An unlabelled pixel costs nothing. An inner class weighs the mean of its leaves.

    The two sums are returned apart because several processes must divide by the weights of all their
    pixels together; a mean of means would let a nearly unlabelled crop count as much as a full one.
    """

    leaf_weights_K: NDArray[np.float64]
    weights: Tensor
    members: Tensor

    def __init__(self, tree: ClassTree, leaf_weights_K: NDArray[np.float64]) -> None:
        super().__init__()
        members_PK = torch.from_numpy(tree.members_PK)
        inner_P = [leaf_weights_K[row].mean() for row in tree.members_PK]
        self.num_leaves = tree.num_leaves
        self.leaf_weights_K = leaf_weights_K
        self.register_buffer("weights", torch.tensor([*leaf_weights_K, *inner_P], dtype=torch.float32))
        self.register_buffer("members", members_PK)

    def forward(self, logits_NKHW: Tensor, targets_NHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (loss sum, weight sum), both scalars.

        Args:
            logits_NKHW: float (N, K, H, W), one channel per leaf.
            targets_NHW: int64 (N, H, W); 0..K-1 leaf, K..K+P-1 inner class, -1 not labelled.
        """
        logp_NKHW = torch.log_softmax(logits_NKHW.to(self.weights.dtype), dim=1)
        labelled_NHW = targets_NHW != IGNORE
        leaf_NHW = targets_NHW.clamp(0, self.num_leaves - 1)
        logp_NHW = logp_NKHW.gather(1, leaf_NHW.unsqueeze(1)).squeeze(1)
        for index, member_K in enumerate(self.members):
            is_inner_NHW = targets_NHW == self.num_leaves + index
            if bool(is_inner_NHW.any()):
                summed_NHW = torch.logsumexp(logp_NKHW[:, member_K], dim=1)
                logp_NHW = torch.where(is_inner_NHW, summed_NHW, logp_NHW)
        weights_NHW = self.weights[targets_NHW.clamp(min=0)] * labelled_NHW
        return -(weights_NHW * logp_NHW).sum(), weights_NHW.sum()


def class_weights(source: SampleSource, tree: ClassTree, scheme: str) -> NDArray[np.float64]:
    """Return the weight of each leaf, float64 (K,), from the pixel counts of the training samples.

    - ``none``: 1.
    - ``median_frequency``: median(f) / f_c, f_c = pixels of c / pixels of the images that show c
      (Eigen & Fergus 2015, section 6.3.2).
    - ``sqrt_median_frequency``: the square root of it, for classes whose frequencies differ by orders.
    - ``enet``: 1 / ln(1.02 + p_c), p_c = share of c in all pixels (Paszke et al. 2016, section 5.2).

    A class without a pixel weighs 1 and pixels of inner classes are not counted. The pixel-weighted
    mean of the result is 1, so that the learning rate means the same under every scheme.
    """
    if scheme == "none":
        return np.ones(tree.num_leaves)
    pixels_K = np.zeros(tree.num_leaves)
    in_images_K = np.zeros(tree.num_leaves)
    for index in range(len(source)):
        counts = source.counts(index)
        counts_K = np.array([counts.get(leaf, 0) for leaf in tree.leaf_ids], dtype=np.float64)
        pixels_K += counts_K
        in_images_K += np.where(counts_K > 0, counts_K.sum(), 0.0)
    return _weights_of(pixels_K, in_images_K, scheme)


def _weights_of(
    pixels_K: NDArray[np.float64], in_images_K: NDArray[np.float64], scheme: str
) -> NDArray[np.float64]:
    present_K = pixels_K > 0
    weights_K = np.ones_like(pixels_K)
    if not present_K.any():
        return weights_K
    if scheme == "enet":
        weights_K[present_K] = 1.0 / np.log(1.02 + pixels_K[present_K] / pixels_K.sum())
    else:
        frequency = pixels_K[present_K] / in_images_K[present_K]
        ratio = np.median(frequency) / frequency
        weights_K[present_K] = np.sqrt(ratio) if scheme == "sqrt_median_frequency" else ratio
    mean = float((weights_K * pixels_K)[present_K].sum() / pixels_K.sum())
    weights_K[present_K] /= mean
    return weights_K
