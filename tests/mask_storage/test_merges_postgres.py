"""Merges, rulings, gates and branches on PostgreSQL; and merges that race, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from terrazzo_runtime.database import Database
from terrazzo_schema.events import ConflictDecided, ConsensusReached

from .conftest import PROJECT, World
from .merging import commit_masks, forked, labels_at, merge, painted, post


@pytest.fixture
def postgres_world(make_world: Callable[..., World], postgres_database: Database) -> World:
    return make_world(database=postgres_database)


def test_a_conflict_is_found_ruled_on_gated_and_merged(postgres_world: World) -> None:
    world = postgres_world
    a, b = forked(world, 2)
    world.client.put(
        f"/v1/datasets/{PROJECT}/gates",
        json={"text": "on: {commits: [main]}\nrules:\n  - agreement: {mean_min: 0.5}\n  - golden: {ref: side}\n"},
    )
    for agreement in (0.2, 0.8):
        said = ConsensusReached(task_id="tsk_1", sample_id=a, mask_id="0" * 64, num_votes=3, agreement=agreement)
        world.hear(said, twice=True, key=a)
    world.client.put(f"/v1/datasets/{PROJECT}/gates", json={"text": "rules: [{agreement: {mean_min: 0.5}}]"})
    commit_masks(world, {a: painted((0, 0, 9, 9, 2)), b: None})
    commit_masks(world, {a: painted((0, 0, 9, 9, 3))}, "side")
    view = merge(world)
    assert (view["state"], view["num_conflicts"]) == ("open", 1)
    ruled = world.put(painted((0, 0, 9, 9, 0)))
    conflict_id = view["conflicts"][0]["conflict_id"]
    said_so = ConflictDecided(conflict_id=conflict_id, merge_id=view["merge_id"], sample_id=a, mask_id=ruled)
    world.hear(said_so, twice=True, key=a)
    world.service.step()
    done = world.dataset(f"merges/{view['merge_id']}")
    assert (done["state"], done["gates"]["passed"]) == ("merged", True)
    assert list(labels_at(world, "main")) == [a]
    assert world.dataset(f"blame/{a}/region", y=0, x=0, height=60, width=80)["groups"][0]["class_id"] == 1
    assert post(world, "reverts", {"ref": "main", "parent": 2}).status_code == 201
    assert world.client.delete(f"/v1/datasets/{PROJECT}/branches/side").status_code == 200
    assert [b["name"] for b in world.dataset("branches")["items"]] == ["main"]
    assert len(world.dataset("gate-reports")["items"]) == 1


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_merges_that_race_are_all_in_one_line_of_history(database: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue("world" if database == "sqlite" else "postgres_world")
    samples = forked(world, 4)
    for number, sample in enumerate(samples):
        post(world, "branches", {"name": f"b{number}", "ref": "side"})
        commit_masks(world, {sample: painted((number, number, 5, 5, 2))}, f"b{number}")

    def attempt(number: int) -> Any:
        return post(world, "merges", {"source": f"b{number}"})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(attempt, range(4)))
    assert [a.status_code for a in answers] == [201] * 4, [a.text for a in answers]
    found = labels_at(world, "main")
    for number, sample in enumerate(samples):
        assert (found[sample] == painted((number, number, 5, 5, 2))).all(), "nobody's merge was lost"
    states = sorted(a.json()["state"] for a in answers)
    assert states == ["fast_forward", "merged", "merged", "merged"]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_commits_and_merges_that_race_lose_nothing(database: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue("world" if database == "sqlite" else "postgres_world")
    samples = forked(world, 6)
    for number, sample in enumerate(samples[:3]):
        post(world, "branches", {"name": f"b{number}", "ref": "side"})
        commit_masks(world, {sample: painted((number, number, 5, 5, 2))}, f"b{number}")
    masks = {s: world.put(painted((30, 30, 5, 5, 3))) for s in samples[3:]}
    world.stage(masks)
    jobs: list[tuple[str, dict[str, Any]]] = [("merges", {"source": f"b{number}"}) for number in range(3)]
    jobs += [("commits", {"message": s, "sample_ids": [s]}) for s in samples[3:]]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda job: post(world, *job), jobs))
    assert [a.status_code for a in answers] == [201] * 6, [a.text for a in answers]
    found = labels_at(world, "main")
    for number, sample in enumerate(samples):
        expected = painted((number, number, 5, 5, 2)) if number < 3 else painted((30, 30, 5, 5, 3))
        assert (found[sample] == expected).all()
