"""Ids sort by time or come from content; the held-out split never moves."""

from __future__ import annotations

import pytest

from terrazzo_schema.ids import content_hash, is_id, new_id
from terrazzo_schema.samples import sample_id_of
from terrazzo_schema.split import is_held_out, split_of


def test_ids_are_unique_and_well_formed() -> None:
    ids = {new_id("tsk") for _ in range(2_000)}
    assert len(ids) == 2_000
    assert all(is_id(i) for i in ids)


def test_the_same_image_is_the_same_sample_everywhere() -> None:
    assert sample_id_of(content_hash(b"image")) == "smp_" + content_hash(b"image")[:24]
    assert is_id(sample_id_of(content_hash(b"image")))


def test_a_sample_never_changes_sides() -> None:
    # Frozen answers: a change here would leak held-out samples into training in every existing project.
    held = [i for i in range(40) if is_held_out(f"smp_{i:024x}", 20)]
    assert held == HELD_OUT_OF_FORTY


def test_about_the_asked_share_is_held_out_and_a_larger_share_contains_a_smaller() -> None:
    ids = [f"smp_{i:024x}" for i in range(5_000)]
    share = sum(is_held_out(i, 20) for i in ids) / len(ids)
    assert 0.18 < share < 0.22
    assert all(is_held_out(i, 40) for i in ids if is_held_out(i, 20))
    assert not any(is_held_out(i, 0) for i in ids)
    assert split_of(ids[0], 0) == "train"


@pytest.mark.parametrize("percent", [-1, 91, 100])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(percent: int) -> None:
    with pytest.raises(ValueError, match=r"not in 0\.\.90"):
        is_held_out("smp_1", percent)


HELD_OUT_OF_FORTY = [5, 8, 12, 16, 25, 32, 33, 35]
