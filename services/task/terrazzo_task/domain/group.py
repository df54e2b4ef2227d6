"""Groups of samples that look alike, and a fair number of places for each: pure and deterministic.

N samples, D embedding dimensions, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS_MAX = 10


def alike(rows_ND: NDArray[np.float64], num_groups: int) -> NDArray[np.int64]:
    """The group (0..G - 1) of each unit row, by spherical k-means, int64 (N,).

    Dhillon & Modha, Concept decompositions for large sparse text data using clustering, 2001. It starts from
    the row nearest to the mean and then, each time, the row farthest from all before (Gonzalez 1985), so that
    nothing is drawn at random. A zero row (no embedding) falls to group 0; a group may stay empty.
    """
    if num_groups <= 1 or len(rows_ND) == 0:
        return np.zeros(len(rows_ND), np.int64)
    centres_GD = _farthest_first(rows_ND, num_groups)
    group_N = _nearest(rows_ND, centres_GD)
    for _ in range(ROUNDS_MAX - 1):
        for number in range(len(centres_GD)):
            total_D = rows_ND[group_N == number].sum(axis=0)
            length = float(np.sqrt((total_D * total_D).sum()))
            if length > 0.0:
                centres_GD[number] = total_D / length
        moved_N = _nearest(rows_ND, centres_GD)
        if np.array_equal(moved_N, group_N):
            break
        group_N = moved_N
    return group_N


def places(group_N: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of `size` places each group gets, int64 (G,): in proportion, rest by the largest remainders.

    No group gets more places than it has members; ties go to the lower number. All places are given out, or
    as many as there are samples.
    """
    members_G = np.bincount(group_N, minlength=1)
    size = min(size, len(group_N))
    # Whole numbers only: a remainder must not depend on how a float was rounded.
    share_G, remainder_G = np.divmod(members_G * size, max(1, len(group_N)))
    left = size - int(share_G.sum())
    share_G[np.argsort(-remainder_G, kind="stable")[:left]] += 1
    return share_G


def _farthest_first(rows_ND: NDArray[np.float64], num_groups: int) -> NDArray[np.float64]:
    first = int(np.argmax(_similarity(rows_ND, rows_ND.mean(axis=0)[None])[:, 0]))
    centres = [rows_ND[first]]
    nearest_N = _similarity(rows_ND, rows_ND[first][None])[:, 0]
    # A row without an embedding is near to nothing, and still no centre.
    nearest_N[~rows_ND.any(axis=1)] = 1.0
    while len(centres) < min(num_groups, len(rows_ND)):
        far = int(np.argmin(nearest_N))
        if nearest_N[far] >= 1.0 - 1e-9:
            break  # what is left are copies
        centres.append(rows_ND[far])
        nearest_N = np.maximum(nearest_N, _similarity(rows_ND, rows_ND[far][None])[:, 0])
    return np.array(centres)


def _nearest(rows_ND: NDArray[np.float64], centres_GD: NDArray[np.float64]) -> NDArray[np.int64]:
    nearest_N: NDArray[np.int64] = np.argmax(_similarity(rows_ND, centres_GD), axis=1)
    return nearest_N


def _similarity(rows_ND: NDArray[np.float64], centres_GD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines, float64 (N, G). einsum, not BLAS: its sum does not depend on the number of threads."""
    similarity_NG: NDArray[np.float64] = np.einsum("nd,gd->ng", rows_ND, centres_GD)
    return similarity_NG
