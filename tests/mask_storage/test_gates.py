"""Gates over REST: kept in versions, asked of merges and commits, refusing with reasons."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from terrazzo_mask_storage.adapters.installed_gates import InstalledGates
from terrazzo_mask_storage.domain.gates import Proposal
from terrazzo_mask_storage.ports import Scope
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_schema.errors import BadRequest, CorruptInput, NotKnownYet
from terrazzo_schema.events import ConflictDecided, ConsensusReached, MergeClosed, wrap

from .conftest import PROJECT, World
from .merging import commit_masks, forked, merge, painted, post

CARS = "rules:\n  - class_minimum: {class: car, pixels: 100}\n"


def put_gates(world: World, text: str) -> Any:
    return world.client.put(f"/v1/datasets/{PROJECT}/gates", json={"text": text})


def no_trees(proposal: Proposal, options: Mapping[str, Any]) -> Iterable[str]:
    """A custom gate, as an operator would write it."""
    for sample in proposal.samples("changed"):
        share = (proposal.labels(sample.mask_id) == 3).mean()
        if share > options.get("share_max", 0):
            yield f"{sample.name} is {share:.0%} tree on {proposal.branch}"


def test_gates_are_kept_in_versions(world: World) -> None:
    assert world.dataset("gates") == {"version": 0, "text": "", "num_rules": 0, "author": None, "created_at": None}
    first = put_gates(world, CARS).json()
    assert (first["version"], first["num_rules"], first["author"]) == (1, 1, "tester")
    assert put_gates(world, CARS).json() == first, "the same text is the same version"
    assert put_gates(world, "").json()["version"] == 2
    assert world.dataset("gates", version=1)["text"] == CARS
    assert world.client.get(f"/v1/datasets/{PROJECT}/gates?version=9").status_code == 404
    assert world.as_("annotator").put(f"/v1/datasets/{PROJECT}/gates", json={"text": ""}).status_code == 403


def test_a_mistake_in_the_file_is_answered_by_line_and_field(world: World) -> None:
    answer = put_gates(world, "rules:\n  - class_minimum: {class: lorry, pixels: x}\n")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"].endswith("/invalid-gates")
    assert [(e["line"], e["field"]) for e in problem["errors"]] == [
        (2, "rules[0].class_minimum.class"),
        (2, "rules[0].class_minimum.pixels"),
    ]
    assert "'lorry'" in problem["detail"]
    assert world.dataset("gates")["version"] == 0


def test_a_merge_that_breaks_a_rule_is_refused_with_reasons_and_kept(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 5, 5, 2))}, "side")
    put_gates(world, CARS)
    answer = post(world, "merges", {"source": "side"}, Idempotency_Key="m")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"].endswith("/gates-refused")
    assert problem["errors"] == [
        {"field": "class_minimum (line 2)", "message": "class car has 25 pixels: at least 100 are wanted"}
    ]
    assert post(world, "merges", {"source": "side"}, Idempotency_Key="m").json() == problem
    [kept] = world.dataset("merges")["items"]
    assert (kept["state"], kept["gates"]["passed"], kept["gates"]["version"]) == ("refused", False, 1)
    assert kept["gates"] == world.dataset("gate-reports")["items"][0]
    assert world.said(MergeClosed)[0].message.state == "refused"
    assert world.dataset("commits/main")["num_changed"] == 1
    # What was refused can be tried again when it was put right.
    commit_masks(world, {sample: painted((30, 30, 20, 20, 2))})
    done = post(world, f"merges/{kept['merge_id']}/complete").json()
    assert (done["state"], done["gates"]["passed"]) == ("merged", True)


def test_fast_forwards_pass_the_gates_too(world: World) -> None:
    [sample] = forked(world)
    put_gates(world, CARS)
    commit_masks(world, {sample: painted((0, 0, 5, 5, 2))}, "side")
    assert post(world, "merges", {"source": "side"}).status_code == 422
    commit_masks(world, {sample: painted((0, 0, 10, 10, 2))}, "side")
    view = merge(world)
    assert (view["state"], view["gates"]["passed"]) == ("fast_forward", True)


def test_a_dry_run_tries_other_rules_and_stores_nothing(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 5, 5, 2))}, "side")
    view = merge(world, dry_run=True, gates=CARS)
    assert (view["state"], view["gates"]["version"], view["gates"]["kind"]) == ("refused", 0, "check")
    assert view["gates"]["outcomes"][0]["measured"] == {"pixels": 25.0}
    assert merge(world, dry_run=True, gates="rules: [{class_minimum: {class: car, samples: 1}}]")["gates"][
        "passed"
    ]
    assert world.dataset("gate-reports")["items"] == []
    assert merge(world)["gates"] is None


def test_commits_on_the_branches_named_are_checked(world: World) -> None:
    [sample] = forked(world)
    put_gates(world, "on: {commits: [main]}\n" + CARS)
    world.stage({sample: world.put(painted((0, 0, 5, 5, 2)))})
    answer = post(world, "commits", {"message": "too few cars"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == "class car has 25 pixels: at least 100 are wanted"
    [report] = world.dataset("gate-reports")["items"]
    assert (report["kind"], report["passed"], report["branch"]) == ("commit", False, "main")
    assert world.dataset("status")["staged"] == 1
    world.stage({sample: world.put(painted((0, 0, 10, 10, 2)))})
    assert world.commit()["num_changed"] == 1
    assert world.dataset("gate-reports")["items"][0]["passed"]
    world.stage({sample: world.put(painted((0, 0, 1, 1, 2)))}, "side")
    assert world.commit(branch="side")["num_changed"] == 1, "side is not named"
    reverted = post(world, "reverts", {"ref": "main"})
    assert reverted.status_code == 422, "a revert is a commit"
    assert len(world.dataset("gate-reports")["items"]) == 3


def test_golden_samples_may_not_regress(world: World) -> None:
    a, b = forked(world, 2)
    post(world, "tags", {"name": "golden", "ref": "main"})
    put_gates(world, "rules:\n  - golden: {ref: golden, samples: [image-0.png]}\n")
    commit_masks(world, {b: painted((0, 0, 9, 9, 3))}, "side")
    assert merge(world)["state"] == "fast_forward"
    commit_masks(world, {a: painted((0, 0, 6, 8, 3))}, "side")
    refused = post(world, "merges", {"source": "side"}).json()
    assert refused["errors"][0]["message"] == "golden sample image-0.png changed (IoU 0.4950 with 'golden')"
    put_gates(world, "rules:\n  - golden: {ref: golden, samples: [image-0.png], iou_min: 0.4}\n")
    assert merge(world)["state"] == "fast_forward"


def test_agreement_comes_from_the_consensus_events(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 5, 5, 2))}, "side")
    put_gates(world, "rules:\n  - agreement: {mean_min: 0.8}\n")
    said = ConsensusReached(task_id="tsk_1", sample_id=sample, mask_id="0" * 64, num_votes=3, agreement=0.7)
    world.hear(said, twice=True, key=sample)
    assert post(world, "merges", {"source": "side"}).status_code == 422
    said.agreement = 0.9
    world.hear(said, key=sample)
    view = merge(world)
    assert view["gates"]["outcomes"][0]["measured"] == {"measured_percent": 100.0, "mean": 0.9}


def test_an_agreement_that_comes_late_does_not_replace_a_newer_one(world: World) -> None:
    [sample] = forked(world)
    for agreement, hour in ((0.9, 12), (0.1, 11)):
        said = ConsensusReached(task_id="tsk_1", sample_id=sample, mask_id="0" * 64, agreement=agreement)
        event = replace(world.event_of(said, key=sample), time=datetime(2026, 1, 1, hour, tzinfo=UTC))
        world.service.consumer.handle(wrap(event))
    with world.service.uow.read() as store:
        assert store.agreements(Scope("org_test0001", PROJECT), [sample]) == {sample: 0.9}


def test_a_custom_gate_is_one_that_the_operator_listed(make_world: Callable[..., World]) -> None:
    world = make_world(gate_functions={"no-trees": f"{__name__}:no_trees"})
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 30, 80, 3))}, "side")
    refused = put_gates(world, "rules: [{custom: {gate: 'os:system'}}]")
    assert "no gate 'os:system' is installed (there are: no-trees)" in refused.json()["detail"]
    put_gates(world, "rules: [{custom: {gate: no-trees, options: {share_max: 0.4}}}]")
    problem = post(world, "merges", {"source": "side"}).json()
    assert problem["errors"][0]["message"] == "image-0.png is 50% tree on main"
    put_gates(world, "rules: [{custom: {gate: no-trees, options: {share_max: 0.5}}}]")
    assert merge(world)["state"] == "fast_forward"


def test_installed_gates_are_entry_points_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("from-package", "textwrap:dedent", "terrazzo.gates")

    def points(group: str) -> list[importlib.metadata.EntryPoint]:
        return [point] if group == "terrazzo.gates" else []

    monkeypatch.setattr("terrazzo_mask_storage.adapters.installed_gates.entry_points", points)
    installed = InstalledGates({"mine": "textwrap:indent"})
    assert list(installed) == ["from-package", "mine"]
    assert len(installed) == 2
    assert "mine" in installed
    assert "textwrap:dedent" not in installed
    assert installed["from-package"].__name__ == "dedent"
    assert installed["mine"].__name__ == "indent"
    for wrong in ("textwrap", "textwrap:", "os;x:y", "../evil:f"):
        with pytest.raises(BadRequest, match="gate_functions"):
            InstalledGates({"x": wrong})


def test_a_gate_that_was_taken_from_the_server_refuses_and_says_so(make_world: Callable[..., World]) -> None:
    blobs = MemoryBlobs()
    world = make_world(blobs=blobs, gate_functions={"no-trees": f"{__name__}:no_trees"})
    [sample] = forked(world)
    put_gates(world, "rules: [{custom: {gate: no-trees}}]")
    commit_masks(world, {sample: painted((0, 0, 5, 5, 2))}, "side")
    without = make_world(blobs=blobs)
    problem = post(without, "merges", {"source": "side"}).json()
    assert "no gate 'no-trees' is installed" in problem["errors"][0]["message"]


def test_a_ruling_that_comes_by_event_runs_the_gates_and_may_be_refused(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    view = merge(world)
    put_gates(world, CARS)
    ruled = world.put(painted())
    said = ConflictDecided(
        conflict_id=view["conflicts"][0]["conflict_id"],
        merge_id=view["merge_id"],
        sample_id=sample,
        mask_id=ruled,
        decided_by="key_judge000",
    )
    world.hear(said, twice=True, key=sample)
    said.mask_id = world.put(painted((0, 0, 9, 9, 3)))
    world.hear(said, key=sample)
    world.service.step()
    done = world.dataset(f"merges/{view['merge_id']}")
    assert (done["state"], done["num_resolved"]) == ("refused", 1)
    assert (done["conflicts"][0]["mask_id"], done["conflicts"][0]["resolved_by"]) == (ruled, "key_judge000")
    assert world.service.step() >= 0
    put_gates(world, "")
    assert post(world, f"merges/{view['merge_id']}/complete").json()["state"] == "merged"


def test_an_event_for_a_conflict_that_is_not_known_or_not_open_is_safe(world: World) -> None:
    [sample] = forked(world)
    with pytest.raises(NotKnownYet):
        world.hear(ConflictDecided(conflict_id="cfl_nowhere000", mask_id="0" * 64), key=sample)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    view = merge(world)
    conflict_id = view["conflicts"][0]["conflict_id"]
    with pytest.raises(NotKnownYet):
        world.hear(ConflictDecided(conflict_id=conflict_id, mask_id="0" * 64), key=sample)
    small = world.put(np.ones((5, 5), np.uint8))
    with pytest.raises(CorruptInput):
        world.hear(ConflictDecided(conflict_id=conflict_id, mask_id=small), key=sample)
    post(world, f"merges/{view['merge_id']}/abandon")
    world.hear(ConflictDecided(conflict_id=conflict_id, mask_id=world.put(painted())), key=sample)
    assert world.dataset(f"merges/{view['merge_id']}")["num_resolved"] == 0
