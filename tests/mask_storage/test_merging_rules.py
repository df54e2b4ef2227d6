"""Merge bases on a DAG of commits, and what becomes of a sample that two sides touched. Pure, no service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo_mask_storage.domain.merging import (
    Blend,
    Change,
    Clash,
    Take,
    ancestors,
    merge_bases,
    resolve_entry,
)
from terrazzo_mask_storage.domain.versions import TreeEntry

#      a - b - d - f        criss-cross: d and e are each behind both f and g
#       \    X
#        c - e - g
CROSS = {"a": (), "b": ("a",), "c": ("a",), "d": ("b",), "e": ("c",), "f": ("d", "e"), "g": ("e", "d")}


@pytest.mark.parametrize(
    ("ours", "theirs", "bases"),
    [
        ("b", "c", {"a"}),
        ("d", "d", {"d"}),
        ("d", "b", {"b"}),
        ("f", "c", {"c"}),
        ("f", "g", {"d", "e"}),
    ],
)
def test_the_merge_base_is_the_nearest_common_ancestor(ours: str, theirs: str, bases: set[str]) -> None:
    assert merge_bases(CROSS, ours, theirs) == bases


def test_histories_that_share_nothing_have_no_base() -> None:
    assert merge_bases({**CROSS, "z": ()}, "f", "z") == set()


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Commits c0, c1, ..., each on up to two earlier ones."""
    graph: dict[str, tuple[str, ...]] = {}
    for number in range(draw(st.integers(1, 12))):
        parents = draw(st.lists(st.sampled_from(sorted(graph)), max_size=2, unique=True)) if graph else []
        graph[f"c{number}"] = tuple(parents)
    return graph


@given(st.data())
def test_bases_are_the_common_ancestors_that_no_other_one_reaches(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    ours, theirs = data.draw(st.sampled_from(sorted(graph))), data.draw(st.sampled_from(sorted(graph)))
    common = {c for c in graph if c in ancestors(graph, ours) and c in ancestors(graph, theirs)}
    best = {c for c in common if not any(c in ancestors(graph, other) for other in common - {c})}
    assert merge_bases(graph, ours, theirs) == best == merge_bases(graph, theirs, ours)


def entry(mask: str | None, sample: str = "smp_1") -> TreeEntry | None:
    return None if mask is None else TreeEntry(sample, "image", mask)


MASKS = st.sampled_from([None, "m1", "m2", "m3"])


@given(MASKS, MASKS, MASKS)
def test_the_entry_rules_are_the_same_from_both_sides(
    base: str | None, ours: str | None, theirs: str | None
) -> None:
    one = resolve_entry(Change("smp_1", entry(base), entry(ours), entry(theirs)))
    other = resolve_entry(Change("smp_1", entry(base), entry(theirs), entry(ours)))
    assert type(one) is type(other)
    if isinstance(one, Take) and isinstance(other, Take):
        assert one.entry == other.entry
        assert one.changes_ours == (one.entry != entry(ours))
        assert one.entry in (entry(ours), entry(theirs))
    else:
        assert ours != theirs
        assert base not in (ours, theirs)
        assert isinstance(one, Clash) == (None in (ours, theirs))


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ("m1", "m1", "m2", Take(entry("m2"), True)),
        ("m1", "m2", "m1", Take(entry("m2"), False)),
        ("m1", "m2", "m2", Take(entry("m2"), False)),
        ("m1", "m1", None, Take(None, True)),
        ("m1", None, "m1", Take(None, False)),
        (None, None, "m1", Take(entry("m1"), True)),
        ("m1", None, "m2", Clash()),
        ("m1", "m2", None, Clash()),
        ("m1", "m2", "m3", Blend()),
        (None, "m2", "m3", Blend()),
    ],
)
def test_one_sample_by_its_entries(
    base: str | None, ours: str | None, theirs: str | None, expected: object
) -> None:
    assert resolve_entry(Change("smp_1", entry(base), entry(ours), entry(theirs))) == expected
