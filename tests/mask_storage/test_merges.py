"""Merges over REST: by sample, tile and pixel; conflicts; reverts; cherry-picks; branches."""

from __future__ import annotations

from typing import Any

import pytest

from terrazzo_schema.events import CommitCreated, ConflictFound, MergeClosed

from .conftest import PROJECT, World
from .merging import H, W, commit_masks, forked, labels_at, merge, painted, post


def test_strokes_in_different_places_of_one_image_are_both_there(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 10, 10, 2))})
    commit_masks(world, {sample: painted((40, 40, 10, 10, 3))}, "side")
    view = merge(world, message="both")
    assert (view["state"], view["num_changed"], view["num_blended"], view["num_conflicts"]) == ("merged", 1, 1, 0)
    assert (labels_at(world, "main")[sample] == painted((0, 0, 10, 10, 2), (40, 40, 10, 10, 3))).all()
    [commit] = world.dataset("commits", limit=1)["items"]
    assert commit["commit_id"] == view["commit_id"]
    assert commit["parent_ids"] == [view["target_commit_id"], view["source_commit_id"]]
    assert commit["counts"] == {"1": H * W - 200, "2": 100, "3": 100}
    assert commit["message"] == "both"
    [closed] = world.said(MergeClosed)
    assert closed.message.commit_id == view["commit_id"]
    assert world.said(CommitCreated)[-1].message.parent_ids == commit["parent_ids"]


def test_what_one_side_alone_changed_added_or_removed_is_taken(world: World) -> None:
    a, b, c, d = forked(world, 4)
    new = world.sample(99)
    commit_masks(world, {a: painted((0, 0, 5, 5, 2)), b: None})
    commit_masks(world, {c: painted((1, 1, 5, 5, 3)), d: None, new: painted(under=3)}, "side")
    view = merge(world)
    assert (view["state"], view["num_changed"], view["num_blended"]) == ("merged", 3, 0)
    found = labels_at(world, "main")
    assert sorted(found) == sorted([a, c, new])
    assert (found[a] == painted((0, 0, 5, 5, 2))).all()
    assert (found[c] == painted((1, 1, 5, 5, 3))).all()


def test_a_branch_with_nothing_of_its_own_moves_forward_without_a_commit(world: World) -> None:
    [sample] = forked(world)
    ahead = commit_masks(world, {sample: painted((0, 0, 5, 5, 2))}, "side")
    world.stage({sample: ahead and world.dataset(f"entries/{sample}", ref="side")["mask_id"]})
    view = merge(world)
    assert (view["state"], view["commit_id"], view["num_changed"]) == ("fast_forward", ahead["commit_id"], 1)
    assert world.dataset("commits/main")["commit_id"] == ahead["commit_id"]
    assert world.dataset("status")["staged"] == 0
    again = merge(world)
    assert (again["state"], again["merge_id"]) == ("up_to_date", None)
    assert len(world.dataset("merges")["items"]) == 1
    assert merge(world, "main")["state"] == "up_to_date"


@pytest.mark.parametrize(("strategy", "first", "second"), [("ours", 3, 2), ("theirs", 2, 3)])
def test_a_strategy_decides_the_conflicts_and_nothing_else(
    world: World, strategy: str, first: int, second: int
) -> None:
    [sample] = forked(world)
    boxes = {2: (0, 0, 20, 20, 2), 3: (10, 10, 20, 20, 3)}
    commit_masks(world, {sample: painted(boxes[2])})
    commit_masks(world, {sample: painted(boxes[3])}, "side")
    assert merge(world, strategy=strategy)["state"] == "merged"
    assert (labels_at(world, "main")[sample] == painted(boxes[first], boxes[second])).all()


def test_fail_refuses_conflicts_by_name_and_stores_nothing(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    answer = post(world, "merges", {"source": "side", "strategy": "fail"})
    assert answer.status_code == 409
    assert answer.json()["errors"] == [{"field": sample, "message": "image-0.png: 81 pixels"}]
    assert world.dataset("merges")["items"] == []
    assert world.said(ConflictFound) == []


def test_a_dry_run_says_what_would_be_and_stores_nothing(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3), (30, 30, 5, 5, 2))}, "side")
    before = world.dataset("commits")["items"]
    view = merge(world, dry_run=True)
    assert (view["merge_id"], view["state"], view["num_conflicts"]) == (None, "open", 1)
    assert view["conflicts"][0]["num_pixels"] == 81
    assert merge(world, dry_run=True, strategy="theirs")["state"] == "merged"
    assert world.dataset("merges")["items"] == []
    assert world.dataset("commits")["items"] == before
    assert not world.said(MergeClosed)


def test_a_merge_that_would_be_lost_under_staged_masks_is_refused(world: World) -> None:
    a, b = forked(world, 2)
    commit_masks(world, {a: painted((0, 0, 9, 9, 2))}, "side")
    world.stage({a: world.put(painted((20, 20, 9, 9, 3))), b: world.put(painted((20, 20, 9, 9, 3)))})
    refused = post(world, "merges", {"source": "side"})
    assert refused.status_code == 409
    assert "1 samples that the merge changes are staged on 'main'" in refused.json()["detail"]
    assert merge(world, dry_run=True)["state"] == "fast_forward"
    world.commit(sample_ids=[a])
    assert merge(world)["state"] == "merged"
    assert (labels_at(world, "main")[a] == painted((0, 0, 9, 9, 2), (20, 20, 9, 9, 3))).all()
    assert world.dataset("status")["staged"] == 1
    commit_masks(world, {b: painted((0, 0, 9, 9, 2))}, "side")
    assert post(world, "merges", {"source": "side"}).status_code == 409


def test_the_same_merge_asked_for_again_while_it_is_open_is_the_same_merge(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    assert merge(world) == merge(world)
    assert len(world.said(ConflictFound)) == 1


def test_the_same_request_again_gets_the_same_merge(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((20, 20, 9, 9, 3))}, "side")
    answers = [post(world, "merges", {"source": "side"}, Idempotency_Key="m1").json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(world.dataset("commits")["items"]) == 4
    undo = {"ref": answers[0]["commit_id"]}
    reverts = [post(world, "reverts", undo, Idempotency_Key="r1") for _ in range(2)]
    assert [r.status_code for r in reverts] == [201, 201]
    assert reverts[0].json() == reverts[1].json()
    assert len(world.dataset("commits")["items"]) == 5


def test_two_histories_merged_crosswise_merge_again(world: World) -> None:
    a, b = forked(world, 2)
    commit_masks(world, {a: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {b: painted((0, 0, 9, 9, 3))}, "side")
    post(world, "branches", {"name": "old-main", "ref": "main"})
    assert merge(world)["state"] == "merged"
    assert merge(world, "old-main", target="side")["state"] == "merged"
    commit_masks(world, {a: painted((0, 0, 9, 9, 2), (30, 30, 9, 9, 3))})
    commit_masks(world, {a: painted((0, 0, 9, 9, 2), (0, 40, 9, 9, 3))}, "side")
    view = merge(world)
    assert len(view["base_commit_ids"]) == 2
    assert view["state"] == "merged"
    assert (labels_at(world, "main")[a] == painted((0, 0, 9, 9, 2), (30, 30, 9, 9, 3), (0, 40, 9, 9, 3))).all()
    assert (labels_at(world, "main")[b] == painted((0, 0, 9, 9, 3))).all()


def test_histories_that_share_nothing_merge_what_either_labelled(world: World) -> None:
    a, b = world.sample(1), world.sample(2)
    commit_masks(world, {a: painted((0, 0, 9, 9, 2), under=0)}, "x")
    commit_masks(world, {a: painted((20, 20, 9, 9, 3), under=0), b: painted()}, "y")
    view = merge(world, "y", target="x")
    assert (view["state"], view["base_commit_ids"]) == ("merged", [])
    assert (labels_at(world, "x")[a] == painted((0, 0, 9, 9, 2), (20, 20, 9, 9, 3), under=0)).all()
    assert merge(world, "x")["state"] == "fast_forward", "main is not there yet"


def test_a_revert_restores_what_was_and_keeps_later_work(world: World) -> None:
    a, b = forked(world, 2)
    bad = commit_masks(world, {a: painted((0, 0, 9, 9, 2)), b: None})
    commit_masks(world, {a: painted((0, 0, 9, 9, 2), (30, 30, 9, 9, 3))})
    answer = post(world, "reverts", {"ref": bad["commit_id"]})
    assert answer.status_code == 201
    assert answer.json()["message"].startswith(f"Revert {bad['commit_id'][:12]}")
    found = labels_at(world, "main")
    assert (found[a] == painted((30, 30, 9, 9, 3))).all()
    assert (found[b] == painted()).all()
    again = post(world, "reverts", {"ref": answer.json()["commit_id"]})
    assert again.status_code == 201
    assert (labels_at(world, "main")[a] == painted((0, 0, 9, 9, 2), (30, 30, 9, 9, 3))).all()
    assert b not in labels_at(world, "main")


def test_a_revert_with_later_work_in_the_way_is_refused_or_decided(world: World) -> None:
    [sample] = forked(world)
    bad = commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))})
    refused = post(world, "reverts", {"ref": bad["commit_id"]})
    assert refused.status_code == 409
    assert "image-0.png: 81 pixels" in refused.json()["detail"]
    assert post(world, "reverts", {"ref": bad["commit_id"], "strategy": "theirs"}).status_code == 201
    assert (labels_at(world, "main")[sample] == painted()).all()
    nothing = post(world, "reverts", {"ref": bad["commit_id"]})
    assert nothing.status_code == 409
    assert "changes nothing" in nothing.json()["detail"]


def test_a_merge_is_reverted_to_either_side(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((20, 20, 9, 9, 3))}, "side")
    view = merge(world)
    assert post(world, "reverts", {"ref": "main", "parent": 3}).status_code == 422
    assert post(world, "reverts", {"ref": view["commit_id"], "parent": 2}).status_code == 201
    assert (labels_at(world, "main")[sample] == painted((20, 20, 9, 9, 3))).all()


def test_the_first_commit_can_be_reverted_too(world: World) -> None:
    [sample] = forked(world)
    assert post(world, "reverts", {"ref": "main"}).json()["num_samples"] == 0
    assert labels_at(world, "main") == {}
    assert sample in labels_at(world, "side")


def test_a_cherry_pick_brings_the_named_samples_alone(world: World) -> None:
    a, b, c = forked(world, 3)
    commit_masks(world, {a: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {a: painted((20, 20, 9, 9, 3)), b: painted((1, 1, 3, 3, 3)), c: None}, "side")
    answer = post(world, "cherry-picks", {"source": "side", "sample_ids": [a, c]})
    assert answer.status_code == 201
    assert answer.json()["parent_ids"] == [world.dataset("commits", limit=2)["items"][1]["commit_id"]]
    found = labels_at(world, "main")
    assert (found[a] == painted((0, 0, 9, 9, 2), (20, 20, 9, 9, 3))).all()
    assert (found[b] == painted()).all()
    assert c not in found
    unknown = post(world, "cherry-picks", {"source": "side", "sample_ids": ["smp_" + "0" * 24]})
    assert unknown.status_code == 404
    assert post(world, "cherry-picks", {"source": "side", "sample_ids": [a]}).status_code == 409
    assert post(world, "cherry-picks", {"source": "side", "sample_ids": []}).status_code == 422


def test_branches_are_made_and_taken_away_and_main_stays(world: World) -> None:
    [sample] = forked(world)
    path = f"/v1/datasets/{PROJECT}/branches"
    assert post(world, "branches", {"name": "side", "ref": "main"}).status_code == 201, "the same again"
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))}, "side")
    assert post(world, "branches", {"name": "side", "ref": "main"}).status_code == 409
    assert post(world, "branches", {"name": "x", "ref": "nowhere"}).status_code == 404
    post(world, "tags", {"name": "v1", "ref": "main"})
    assert post(world, "branches", {"name": "v1"}).status_code == 409
    assert world.client.delete(f"{path}/main").status_code == 409
    assert world.client.delete(f"{path}/nowhere").status_code == 404
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))})
    merge_id = merge(world, "main", target="side")["merge_id"]
    assert world.client.delete(f"{path}/side").status_code == 409
    post(world, f"merges/{merge_id}/abandon")
    world.stage({sample: None}, "side")
    assert world.client.delete(f"{path}/side").status_code == 409
    assert world.client.delete(f"{path}/side?force=true").json()["name"] == "side"
    assert [b["name"] for b in world.dataset("branches")["items"]] == ["main"]
    assert world.dataset("status", branch="side")["staged"] == 0


@pytest.mark.parametrize("role", ["annotator", "reviewer", "viewer", "vendor", "trainer"])
def test_only_managers_change_history(world: World, role: str) -> None:
    client = world.as_(role, **({"vendor": "v"} if role == "vendor" else {}))
    for path, body in (
        ("merges", {"source": "side"}),
        ("reverts", {"ref": "main"}),
        ("cherry-picks", {"source": "side", "sample_ids": ["smp_1"]}),
        ("branches", {"name": "x"}),
        ("merges/mrg_00000000/complete", {}),
        ("merges/mrg_00000000/abandon", {}),
        ("merges/mrg_00000000/resolutions", {"sample_id": "s"}),
    ):
        assert client.post(f"/v1/datasets/{PROJECT}/{path}", json=body).status_code == 403
    assert client.delete(f"/v1/datasets/{PROJECT}/branches/side").status_code == 403


def test_a_viewer_may_ask_what_a_merge_would_do(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))}, "side")
    body = {"source": "side", "dry_run": True}
    path = f"/v1/datasets/{PROJECT}/merges"
    assert world.as_("viewer").post(path, json=body).json()["state"] == "fast_forward"
    assert world.as_("vendor", vendor="v").post(path, json=body).status_code == 403


def test_another_organisation_sees_nothing(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    merge_id = merge(world)["merge_id"]
    other = world.as_("admin", organisation_id="org_other001")
    for path in (f"merges/{merge_id}", f"merges/{merge_id}/conflicts", "merges"):
        assert other.get(f"/v1/datasets/{PROJECT}/{path}").status_code == 404
    assert other.post(f"/v1/datasets/{PROJECT}/merges/{merge_id}/abandon").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"source": "nowhere"}, 404),
        ({"source": "side", "target": "nowhere"}, 404),
        ({"source": "side", "strategy": "best"}, 422),
        ({"source": "side", "dry_run": True, "gates": "rules: ["}, 422),
        ({"source": ""}, 422),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(world: World, body: dict[str, Any], status: int) -> None:
    forked(world)
    assert post(world, "merges", body).status_code == status
