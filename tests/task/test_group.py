"""Groups are found without drawing lots, and places are given out in proportion."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from terrazzo_task.domain.group import alike, places


def unit(rows_ND: np.ndarray) -> np.ndarray:
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def test_well_apart_clusters_are_found_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    truth_N = np.repeat(np.arange(4), [40, 10, 25, 5])
    rows_ND = unit(np.eye(8)[truth_N] + rng.normal(0, 0.05, (80, 8)))
    for order_N in (np.arange(80), rng.permutation(80)):
        group_N = alike(rows_ND[order_N], 4)
        pairs = set(zip(truth_N[order_N].tolist(), group_N.tolist(), strict=True))
        assert len(pairs) == 4
        assert len({group for _, group in pairs}) == 4


def test_copies_and_missing_embeddings_make_no_groups_of_their_own() -> None:
    rows_ND = np.zeros((6, 3))
    rows_ND[2:] = [1.0, 0.0, 0.0]
    assert set(alike(rows_ND, 3).tolist()) == {0}
    assert alike(np.zeros((0, 3)), 3).tolist() == []
    assert alike(np.zeros((4, 1)), 3).tolist() == [0, 0, 0, 0]


@given(group_N=st.lists(st.integers(0, 6), min_size=1, max_size=40), size=st.integers(0, 50))
def test_places_are_proportional_and_never_more_than_members(group_N: list[int], size: int) -> None:
    members_G = np.bincount(group_N)
    found_G = places(np.asarray(group_N), size)
    assert found_G.sum() == min(size, len(group_N))
    assert (found_G <= members_G).all()
    exact_G = members_G * min(size, len(group_N)) / len(group_N)
    assert (np.abs(found_G - exact_G) < 1.0).all()
