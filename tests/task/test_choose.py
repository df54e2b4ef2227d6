"""What is worth labelling next: each factor counts, draws are stable, the choice is a pure function."""

from __future__ import annotations

import random
import time
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from terrazzo_task.domain.choose import (
    MAX_PAIRS,
    Candidate,
    choose,
    cost_s,
    draw,
    draw_over_sizes,
    values,
    with_several_annotators,
)
from terrazzo_task.domain.projects import ClassShare

COMMON = {1: 900_000, 2: 90_000, 3: 10_000}


def candidate(
    name: str,
    entropy: float | None = 0.5,
    classes: tuple[tuple[int, float], ...] = ((1, 1.0),),
    embedding: tuple[float, ...] = (),
    side: int = 256,
) -> Candidate:
    shares = tuple(ClassShare(c, share, 0.5) for c, share in classes) if entropy is not None else ()
    return Candidate(name, side, side, entropy, shares, embedding)


def active(candidates: list[Candidate], size: int, covered: tuple[tuple[float, ...], ...] = ()) -> list[str]:
    embeddings = [np.asarray(e, np.float32) for e in covered]
    chosen = choose(candidates, embeddings, COMMON, size=size, strategy="active", random_share=0.0, seed=0)
    return [c.sample_id for c in chosen]


def test_the_uncertain_sample_comes_first() -> None:
    assert active([candidate("a", 0.1), candidate("b", 0.9), candidate("c", 0.4)], 3) == ["b", "c", "a"]


def test_a_rare_class_outweighs_a_common_one() -> None:
    assert active([candidate("a", classes=((1, 1.0),)), candidate("b", classes=((1, 0.5), (3, 0.5)))], 1) == ["b"]


def test_a_class_never_seen_before_is_the_rarest() -> None:
    assert active([candidate("a", classes=((3, 1.0),)), candidate("b", classes=((9, 1.0),))], 1) == ["b"]


def test_a_copy_of_what_is_chosen_or_labelled_waits() -> None:
    twins = [candidate("a", 0.9, embedding=(1.0, 0.0)), candidate("b", 0.8, embedding=(1.0, 0.01))]
    other = candidate("c", 0.3, embedding=(0.0, 1.0))
    assert active([*twins, other], 3) == ["a", "c", "b"]
    assert active([*twins, other], 1, covered=((1.0, 0.0),)) == ["c"]


def test_what_takes_longer_is_worth_less_by_the_second() -> None:
    small, large = candidate("b", 0.3), candidate("a", 0.3, side=1024)
    assert cost_s(large, 0.3) > 10 * cost_s(small, 0.3) > 100.0
    assert list(values([small, large], COMMON)[::-1]) == sorted(values([small, large], COMMON))
    assert cost_s(small, 0.6) > cost_s(small, 0.3), "what the model is unsure of must be corrected"


def test_equal_samples_come_by_id() -> None:
    assert active([candidate(n) for n in "dbca"], 4) == ["a", "b", "c", "d"]


def test_without_scores_the_choice_is_a_seeded_draw() -> None:
    ids = [f"smp_{n:04}" for n in range(50)]
    candidates = [candidate(i, None) for i in ids]

    def chosen(seed: int, strategy: str = "active") -> list[str]:
        found = choose(candidates, [], {}, size=10, strategy=strategy, random_share=0.1, seed=seed)
        assert {c.arm for c in found} == {"random"}
        return [c.sample_id for c in found]

    for strategy in ("active", "random"):
        assert chosen(1, strategy) == chosen(1, strategy)
        assert chosen(1, strategy) != chosen(2, strategy)
        assert chosen(1, strategy) != sorted(chosen(1, strategy))


@given(
    areas=st.lists(st.integers(1, 40), min_size=1, max_size=60), size=st.integers(0, 70), seed=st.integers(0, 99)
)
def test_the_first_draw_has_each_size_in_its_proportion(areas: list[int], size: int, seed: int) -> None:
    candidates = [candidate(f"smp_{n:04}", None, side=side) for n, side in enumerate(areas)]
    drawn = draw_over_sizes(candidates, size, seed)
    assert drawn == draw_over_sizes(candidates[::-1], size, seed)
    assert len(set(drawn)) == len(drawn) == min(size, len(candidates))
    side_of = {c.sample_id: c.height for c in candidates}
    for side in set(areas):
        expected = len(drawn) * areas.count(side) / len(areas)
        assert abs(sum(side_of[i] == side for i in drawn) - expected) < 2.0


def test_the_first_draw_gives_every_sample_the_same_chance() -> None:
    candidates = [candidate(f"smp_{n:04}", None, side=1 + n % 7) for n in range(30)]
    times = Counter(i for seed in range(2_000) for i in draw_over_sizes(candidates, 6, seed))
    assert min(times[c.sample_id] for c in candidates) > 300
    assert max(times.values()) < 500


def test_a_batch_is_made_up_like_the_pool() -> None:
    """Fifteen of one kind and five of another, more uncertain one: four places go three to one."""
    plain = [candidate(f"a{n:02}", 0.2 + n / 1000, embedding=(1.0, n / 1000)) for n in range(15)]
    odd = [candidate(f"b{n:02}", 0.9 + n / 1000, embedding=(n / 1000, 1.0)) for n in range(5)]
    chosen = active([*plain, *odd], 4)
    assert sorted(i[0] for i in chosen) == ["a", "a", "a", "b"]
    assert chosen[0].startswith("b"), "the most valuable still comes first"


def test_the_random_arm_is_drawn_from_all_and_has_its_share() -> None:
    candidates = [candidate(f"smp_{n:04}", n / 200) for n in range(200)]
    found = choose(candidates, [], COMMON, size=40, strategy="active", random_share=0.25, seed=3)
    arms = [c.arm for c in found]
    assert arms == ["active"] * 30 + ["random"] * 10
    assert len({c.sample_id for c in found}) == 40
    drawn = [int(c.sample_id[4:]) for c in found if c.arm == "random"]
    assert drawn == [int(i[4:]) for i in draw([c.sample_id for c in candidates], 3, "random")[:10]]
    assert min(drawn) < 100, "the sure half is drawn from too"


def test_an_unscored_sample_counts_as_an_average_one() -> None:
    order = active([candidate("a", 0.1), candidate("b", None), candidate("c", 0.9)], 3)
    assert order[0] == "c"
    assert set(order) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("share", "num", "expected"),
    [(0.0, 10, 0), (0.01, 10, 1), (0.25, 10, 3), (0.3, 10, 3), (0.07, 100, 7), (1.0, 7, 7), (1e-12, 5, 1)],
)
def test_the_share_with_several_annotators_is_rounded_up(share: float, num: int, expected: int) -> None:
    ids = [f"smp_{n}" for n in range(num)]
    assert len(with_several_annotators(ids, share, seed=0)) == expected


_floats = st.floats(-1, 1, width=32)
_candidates = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(0, 1)),
        st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1)), max_size=3),
        st.one_of(
            st.just([]), st.lists(_floats, min_size=3, max_size=3), st.lists(_floats, min_size=2, max_size=2)
        ),
        st.integers(1, 2000),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(rows=_candidates, size=st.integers(1, 15), share=st.floats(0, 1), seed=st.integers(0, 9), data=st.data())
def test_the_choice_depends_on_no_order_and_takes_each_once(
    rows: list[tuple[float | None, list[tuple[int, float]], list[float], int]],
    size: int,
    share: float,
    seed: int,
    data: st.DataObject,
) -> None:
    candidates = [
        candidate(f"smp_{n}", entropy, tuple(classes), tuple(embedding), side)
        for n, (entropy, classes, embedding, side) in enumerate(rows)
    ]
    covered = [np.asarray([1.0, 0.0, 0.0], np.float32)]
    shuffled = data.draw(st.permutations(candidates))
    first, second = (
        choose(c, covered, COMMON, size=size, strategy="active", random_share=share, seed=seed)
        for c in (candidates, shuffled)
    )
    assert first == second
    assert len({c.sample_id for c in first}) == len(first) == min(size, len(candidates))


def test_a_large_pool_is_chosen_from_in_bounded_time() -> None:
    rng = random.Random(0)
    candidates = [
        candidate(f"smp_{n:06}", rng.random(), ((1 + n % 3, 1.0),), tuple(rng.random() for _ in range(8)))
        for n in range(20_000)
    ]
    started = time.process_time()
    assert len(set(active(candidates, 4_000))) == 4_000
    assert time.process_time() - started < 20.0, f"at most {MAX_PAIRS} distances"
