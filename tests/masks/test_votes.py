"""The table of vote tuples against numpy's own counting, in one word a tuple and in several."""

from __future__ import annotations

import numpy as np
import pytest

from terrazzo_masks.consensus.votes import tabulate
from terrazzo_masks.labels import LabelMap


@pytest.mark.parametrize(
    ("num_annotators", "shape", "id_max", "share"),
    [
        (1, (5, 7), 3, 1.0),
        (3, (200, 211), 250, 1.0),  # some 40,000 tuples: the table grows
        (3, (1, 13), 2, 0.5),
        (9, (64, 64), 12, 0.1),
        (9, (90, 91), 300, 0.3),  # two words a tuple
        (30, (40, 101), 65_000, 0.5),
        (64, (16, 16), 1, 0.5),  # exactly one word
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tuples_are_counted_as_numpy_counts_them(
    num_annotators: int, shape: tuple[int, int], id_max: int, share: float, dtype: type
) -> None:
    rng = np.random.default_rng(num_annotators)
    id_max = min(id_max, np.iinfo(dtype).max - 1)
    base_HW = np.repeat(rng.integers(0, id_max + 1, (shape[0], 1)), shape[1], axis=1)
    votes: LabelMap = np.repeat(base_HW[None], num_annotators, axis=0).astype(dtype)
    wrong = rng.random(votes.shape) < share
    votes[wrong] = rng.integers(0, id_max + 1, int(wrong.sum()))
    table = tabulate(votes)

    ids = np.array((0, *table.class_ids))
    num_distinct = len(np.unique(votes.reshape(num_annotators, -1), axis=1).T)
    assert len(table.tuple_TR) == num_distinct
    assert table.pixels_T.sum() == shape[0] * shape[1]
    row_at = np.full(table.num_places, -1)
    row_at[table.place_T] = np.arange(num_distinct)
    row_of = row_at[table.place_HW]
    np.testing.assert_array_equal(ids[table.tuple_TR][row_of].transpose(2, 0, 1), votes)
    np.testing.assert_array_equal(np.bincount(row_of.ravel(), minlength=num_distinct), table.pixels_T)


def test_the_order_of_the_tuples_is_that_of_their_first_pixels_whoever_came_first() -> None:
    votes = np.array([[[1, 2, 2, 1, 3]], [[1, 1, 2, 2, 3]], [[1, 1, 2, 1, 1]]], np.uint8)
    table = tabulate(votes)
    np.testing.assert_array_equal(table.tuple_TR, [[1, 1, 1], [2, 2, 2], [2, 1, 1], [1, 2, 1], [3, 3, 1]])
    np.testing.assert_array_equal(tabulate(votes[[2, 0, 1]]).tuple_TR, table.tuple_TR[:, [2, 0, 1]])


def test_views_that_are_not_contiguous_are_counted_too() -> None:
    votes = np.random.default_rng(1).integers(0, 4, (3, 40, 50)).astype(np.uint8)
    seen = tabulate(votes[:, ::2, 1:-3])
    np.testing.assert_array_equal(seen.pixels_T, tabulate(votes[:, ::2, 1:-3].copy()).pixels_T)
