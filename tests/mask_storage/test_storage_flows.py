"""What a mask's row says of the mask that it was made from."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_mask_storage.domain.packed import (
    pack_counts,
    pack_flow,
    pack_numbers,
    total_counts,
    unpack_counts,
    unpack_flow,
    unpack_numbers,
)
from terrazzo_mask_storage.ports import Mask, Scope

from .conftest import PROJECT, World
from .test_storage_upkeep import blobby

SCOPE = Scope("org_test0001", PROJECT)


def stored(world: World, seed: int) -> Mask:
    """The row of a mask whose parts are stored, in a project that does not have it yet."""
    with world.service.uow.read() as store:
        found = store.mask(SCOPE, world.put(blobby(seed)))
    assert found is not None
    return found


def test_a_mask_tells_its_base_and_what_changed_from_there_to_it(world: World) -> None:
    other = Scope("org_test0001", "prj_other001")
    first, second, third = (stored(world, seed) for seed in range(3))
    flow = {(0, 3): 17, (255, 0): 1, (300, 65_535): 2**40, (3, 0): 4}
    second = Mask(*row_of(second), first.mask_id, flow)
    third = Mask(*row_of(third), first.mask_id, None)
    with world.service.uow.begin() as tx:
        tx.store.add_masks(other, [first, second, third])
    with world.service.uow.read() as store:
        assert store.masks(other, [first.mask_id, second.mask_id, third.mask_id]) == {
            mask.mask_id: mask for mask in (first, second, third)
        }
        wanted = [first.mask_id, second.mask_id, third.mask_id, "00" * 32]
        assert store.mask_flows(other, wanted) == {second.mask_id: (first.mask_id, flow)}
        assert store.mask_flows(SCOPE, wanted) == {}


def test_what_was_said_first_of_a_mask_stays(world: World) -> None:
    other = Scope("org_test0001", "prj_other001")
    first, second = (stored(world, seed) for seed in range(2))
    nothing = Mask(*row_of(second), first.mask_id, {})
    with world.service.uow.begin() as tx:
        tx.store.add_masks(other, [first, nothing])
        tx.store.add_masks(other, [Mask(*row_of(second), first.mask_id, {(0, 1): 5})])
    with world.service.uow.read() as store:
        assert store.mask_flows(other, [second.mask_id]) == {second.mask_id: (first.mask_id, {})}


def row_of(mask: Mask) -> tuple[str, int, int, str, dict[int, int], int]:
    return mask.mask_id, mask.height, mask.width, mask.dtype, dict(mask.counts), mask.size_bytes


def test_numbers_counts_and_flows_come_back_as_they_were() -> None:
    numbers = [0, 1, 127, 128, 16_383, 16_384, 2**31 - 1, 2**62]
    assert unpack_numbers(pack_numbers(numbers)) == numbers
    assert unpack_counts(pack_counts({9: 3, 0: 1, 65_535: 2**62})) == [(0, 1), (9, 3), (65_535, 2**62)]
    assert unpack_counts(pack_counts({})) == []
    flow = {(5, 0): 1, (5, 9): 2, (0, 5): 300}
    assert unpack_flow(pack_flow(flow)) == flow
    assert len(pack_flow(flow)) == 10


@given(st.lists(st.tuples(st.dictionaries(st.integers(0, 65_535), st.integers(1, 2**33)), st.integers(-2, 2))))
@settings(deadline=None)
def test_counts_of_many_masks_are_summed_as_one_by_one(rows: list[tuple[dict[int, int], int]]) -> None:
    total: Counter[int] = Counter()
    for counts, weight in rows:
        total.update({class_id: weight * pixels for class_id, pixels in counts.items()})
    found = total_counts([pack_counts(counts) for counts, _ in rows], [weight for _, weight in rows])
    assert found == {class_id: pixels for class_id, pixels in total.items() if pixels}


def test_all_masks_of_an_organisation_come_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Scope("org_test0001", "prj_other001")
    rows = [stored(world, seed) for seed in range(5)]
    with world.service.uow.begin() as tx:
        tx.store.add_masks(other, rows[:3])
    monkeypatch.setattr("terrazzo_mask_storage.adapters.audit_store._PAGE", 2)
    with world.service.uow.read() as store:
        pages = list(store.all_masks("org_test0001"))
        assert list(store.all_masks("org_other001")) == []
    assert [len(page) for page in pages] == [2, 1, 2, 2, 1]
    expected = {(other.project_id, row.mask_id) for row in rows[:3]} | {(PROJECT, row.mask_id) for row in rows}
    assert {found for page in pages for found in page} == expected
