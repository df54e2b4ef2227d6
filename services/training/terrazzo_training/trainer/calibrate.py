"""How strongly a trained model favours rare classes, set where it serves mIoU best.

Training with class weights w_c makes a network answer with probabilities in proportion to w_c p(c | x):
rare classes are found, and drawn too large, a line one pixel wide as one of three. Taking tau log w_c
off the logits moves the answer between that (tau = 0) and the unweighted posterior (tau = 1), as the
post-hoc logit adjustment of Menon et al., 'Long-tail learning via logit adjustment' (ICLR 2021), does
with class priors. tau is the one number that is fitted, on samples that were trained on: never on
held-out ones, which measure the result.

Legend: K leaf classes, P inner classes, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import SampleSource
from terrazzo_training.trainer.evaluate import confusion, measures, probabilities
from terrazzo_training.trainer.networks import Segmenter
from terrazzo_training.trainer.processes import Processes

TAUS = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_WINDOWS = 64
_WINDOW_STREAM = 4


def calibrate(
    model: Segmenter,
    training: SampleSource,
    tree: ClassTree,
    weights_K: NDArray[np.float64],
    config: RunConfig,
    processes: Processes,
) -> float:
    """Fold the best of ``TAUS`` into the bias of the model's class layer, and return it.

    The best is the highest mIoU over ``NUM_WINDOWS`` random windows of at most ``eval_tile_px`` a side; the
    smaller tau among equals. Nothing is done, and 0 returned, when all classes weigh the same. The windows
    are dealt out over the processes; every process returns the same figure.
    """
    if np.ptp(weights_K) == 0.0 or len(training) == 0:
        return 0.0
    offsets_TK = -np.outer(TAUS, np.log(weights_K))
    counts_TRK = np.zeros((len(TAUS), tree.num_leaves + len(tree.inner_ids), tree.num_leaves), dtype=np.int64)
    model.eval()
    for number in range(processes.rank, NUM_WINDOWS, processes.world):
        counts_TRK += _count_window(model, training, tree, offsets_TK, config, number)
    counts_TRK = processes.sum(torch.from_numpy(counts_TRK).to(processes.device)).cpu().numpy()
    miou_T = [measures(counts_RK, tree)["miou"] for counts_RK in counts_TRK]
    best = int(np.argmax([-1.0 if miou is None else miou for miou in miou_T]))
    bias_K = model.get_parameter(f"{model.class_layer}.bias")
    with torch.no_grad():
        bias_K.add_(torch.from_numpy(offsets_TK[best]).to(bias_K))
    return TAUS[best]


def _count_window(
    model: Segmenter,
    training: SampleSource,
    tree: ClassTree,
    offsets_TK: NDArray[np.float64],
    config: RunConfig,
    number: int,
) -> NDArray[np.int64]:
    """Confusion counts (T, K + P, K) of one window: the ``number``-th, a pure function of the seed."""
    rng = np.random.default_rng([config.seed, _WINDOW_STREAM, number])
    index = number % len(training)
    image_HWC, labels_HW = training.image(index), training.labels(index)
    size = config.eval_tile_px
    top = int(rng.integers(max(0, labels_HW.shape[0] - size) + 1))
    left = int(rng.integers(max(0, labels_HW.shape[1] - size) + 1))
    inside = np.s_[top : top + size, left : left + size]
    targets_HW = tree.targets(labels_HW[inside], f"sample {training.sample_id(index)}")
    logp_KHW = torch.log(probabilities(model, image_HWC[inside], config)).numpy()
    return np.stack(
        [
            confusion(targets_HW, np.argmax(logp_KHW + offset_K[:, None, None].astype(np.float32), axis=0), tree)
            for offset_K in offsets_TK
        ]
    )
