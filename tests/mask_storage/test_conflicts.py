"""Conflicts of a merge: what people are shown, and what their rulings do, whenever and however often they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from terrazzo_runtime.clock import FakeClock
from terrazzo_schema.errors import CorruptInput
from terrazzo_schema.events import ConflictDecided, ConflictFound, ConflictWithdrawn, MergeOpened

from .conftest import World
from .merging import H, W, commit_masks, forked, labels_at, merge, painted, post


def test_the_same_pixels_in_two_classes_are_a_conflict_with_both_sides_shown(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 20, 20, 2))})
    commit_masks(world, {sample: painted((10, 10, 20, 20, 3))}, "side")
    view = merge(world)
    assert (view["state"], view["commit_id"], view["num_conflicts"], view["num_resolved"]) == ("open", None, 1, 0)
    [conflict] = view["conflicts"]
    assert conflict["box"] == {"y": 10, "x": 10, "height": 10, "width": 10}
    assert conflict["num_pixels"] == 100
    assert conflict["flow"] == [{"from_class": 2, "to_class": 3, "pixels": 100}]
    assert (world.labels(conflict["ours_mask_id"]) == painted((0, 0, 20, 20, 2))).all()
    assert (world.labels(conflict["theirs_mask_id"]) == painted((10, 10, 20, 20, 3))).all()
    assert (world.labels(conflict["base_mask_id"]) == painted()).all()
    assert (world.labels(conflict["merged_mask_id"]) == painted((10, 10, 20, 20, 3), (0, 0, 20, 20, 2))).all()
    [found] = world.said(ConflictFound)
    assert found.key == sample
    assert found.message.conflict_id == conflict["conflict_id"]
    assert (found.message.region.y, found.message.num_pixels) == (10, 100)
    assert len(world.said(MergeOpened)) == 1
    assert world.dataset("commits/main")["message"] == "a commit"
    assert world.dataset(f"merges/{view['merge_id']}") == view
    assert world.dataset("merges")["items"] == [view]
    assert world.dataset(f"merges/{view['merge_id']}/conflicts")["items"] == [conflict]


def test_a_ruling_by_hand_calls_the_task_off_and_completes_the_merge_by_itself(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    view = merge(world)
    ruled = world.put(painted((0, 0, 9, 9, 0)))
    small = world.put(np.ones((5, 5), np.uint8))
    path = f"merges/{view['merge_id']}/resolutions"
    assert post(world, path, {"sample_id": sample, "mask_id": small}).status_code == 422
    assert post(world, path, {"sample_id": sample, "mask_id": "0" * 64}).status_code == 422
    assert post(world, path, {"sample_id": sample, "mask_id": ruled}).status_code == 200
    assert len(world.said(ConflictWithdrawn)) == 1
    world.service.step()
    done = world.dataset(f"merges/{view['merge_id']}")
    assert (done["state"], done["num_resolved"], done["conflicts"][0]["mask_id"]) == ("merged", 1, ruled)
    assert (labels_at(world, "main")[sample] == painted((0, 0, 9, 9, 0))).all()
    assert world.dataset("commits/main")["parent_ids"] == [view["target_commit_id"], view["source_commit_id"]]


def test_rulings_stand_when_the_branch_moves_and_new_conflicts_are_asked_about(world: World) -> None:
    a, b = forked(world, 2)
    commit_masks(world, {a: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {a: painted((0, 0, 9, 9, 3)), b: painted((5, 5, 5, 5, 3))}, "side")
    view = merge(world)
    post(world, f"merges/{view['merge_id']}/resolutions", {"sample_id": a, "choose": "theirs"})
    moved = commit_masks(world, {b: painted((5, 5, 5, 5, 2))})
    world.service.step()
    again = world.dataset(f"merges/{view['merge_id']}")
    assert (again["state"], again["num_conflicts"], again["num_resolved"]) == ("open", 2, 1)
    assert again["target_commit_id"] == moved["commit_id"]
    assert {c["sample_id"]: c["state"] for c in again["conflicts"]} == {a: "resolved", b: "open"}
    assert [e.key for e in world.said(ConflictFound)] == [b], "the first one is on its way"
    answer = post(world, f"merges/{view['merge_id']}/complete", {"strategy": "ours"})
    assert answer.json()["state"] == "merged"
    found = labels_at(world, "main")
    assert (found[a] == painted((0, 0, 9, 9, 3))).all()
    assert (found[b] == painted((5, 5, 5, 5, 2))).all()


def test_a_conflict_that_the_branch_itself_settles_is_withdrawn(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    view = merge(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))})
    answer = post(world, f"merges/{view['merge_id']}/complete")
    assert (answer.json()["state"], answer.json()["num_conflicts"]) == ("merged", 0)
    assert len(world.said(ConflictWithdrawn)) == 1


def test_an_abandoned_merge_calls_its_tasks_off_and_stays_abandoned(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    merge_id = merge(world)["merge_id"]
    for _ in range(2):
        assert post(world, f"merges/{merge_id}/abandon").json()["state"] == "abandoned"
    assert len(world.said(ConflictWithdrawn)) == 1
    assert post(world, f"merges/{merge_id}/complete").status_code == 409
    assert world.service.step() >= 0
    assert world.dataset("commits/main")["message"] == "a commit"


def test_the_base_of_a_conflict_between_crosswise_histories_can_be_read(world: World, clock: FakeClock) -> None:
    [sample] = forked(world)
    road, car, sky = (0, 0, 9, 9, 2), (5, 5, 9, 9, 3), (40, 40, 9, 9, 3)
    commit_masks(world, {sample: painted(road)})
    clock.advance(60)
    commit_masks(world, {sample: painted(car, sky)}, "side")
    post(world, "branches", {"name": "old-main", "ref": "main"})
    assert merge(world, strategy="theirs")["state"] == "merged"
    assert merge(world, "old-main", target="side", strategy="ours")["state"] == "merged"
    commit_masks(world, {sample: painted(road, car, sky, (20, 20, 9, 9, 2))})
    commit_masks(world, {sample: painted(road, car, sky, (20, 20, 9, 9, 3))}, "side")
    view = merge(world)
    [conflict] = view["conflicts"]
    assert (view["state"], len(view["base_commit_ids"])) == ("open", 2)
    # No commit has this mask: it is what the two bases come to, where they contradict each other the older one's.
    assert (world.labels(conflict["base_mask_id"]) == painted(car, road, sky)).all()


CHANGED = (0, 0, 5, 5, 3)


def removed_on(world: World, side: str) -> tuple[str, dict[str, Any]]:
    """A sample that one side removed and the other painted CHANGED on; the merge that is open because of it."""
    [sample] = forked(world)
    branches = {"ours": ("main", "side"), "theirs": ("side", "main")}[side]
    commit_masks(world, {sample: None}, branches[0])
    commit_masks(world, {sample: painted(CHANGED)}, branches[1])
    return sample, merge(world)


def decide(world: World, view: dict[str, Any], **ruling: Any) -> None:
    """A person's ruling on the first conflict of a merge comes in, twice."""
    conflict = view["conflicts"][0]
    said = ConflictDecided(
        conflict_id=conflict["conflict_id"], merge_id=view["merge_id"], sample_id=conflict["sample_id"],
        decided_by="key_judge0000", **ruling,
    )  # fmt: skip
    world.hear(said, twice=True, key=conflict["sample_id"])


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_of_a_sample_that_one_side_removed_people_are_shown_the_other(world: World, side: str) -> None:
    sample, view = removed_on(world, side)
    [conflict] = view["conflicts"]
    assert (view["state"], conflict["kind"], conflict["box"]) == ("open", "removed", None)
    left = conflict["theirs_mask_id" if side == "ours" else "ours_mask_id"]
    [found] = world.said(ConflictFound)
    said = found.message
    assert (found.key, said.conflict_id, said.num_pixels) == (sample, conflict["conflict_id"], 0)
    assert (said.region.y, said.region.x, said.region.height, said.region.width) == (0, 0, H, W)
    assert (said.ours_mask_id, said.theirs_mask_id) == (("", left) if side == "ours" else (left, ""))
    assert said.merged_mask_id == left
    assert (world.labels(left) == painted(CHANGED)).all()
    assert (world.labels(said.base_mask_id) == painted()).all()


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_ruling_to_remove_removes_the_sample_and_the_first_one_stands(world: World, side: str) -> None:
    _, view = removed_on(world, side)
    decide(world, view, removed=True)
    decide(world, view, mask_id=view["conflicts"][0]["base_mask_id"])
    world.service.step()
    done = world.dataset(f"merges/{view['merge_id']}")
    assert (done["state"], done["num_resolved"]) == ("merged", 1)
    [conflict] = done["conflicts"]
    assert (conflict["state"], conflict["mask_id"], conflict["resolved_by"]) == ("resolved", None, "key_judge0000")
    assert labels_at(world, "main") == {}
    history = world.dataset("commits")["items"]
    decide(world, view, removed=True)
    world.service.step()
    assert world.dataset("commits")["items"] == history, "what comes after the merge changes nothing"
    assert world.dataset(f"merges/{view['merge_id']}") == done


@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("corrected", [False, True], ids=["as it is", "corrected"])
def test_a_ruling_to_keep_puts_the_mask_in_place(world: World, side: str, corrected: bool) -> None:
    sample, view = removed_on(world, side)
    kept = painted(CHANGED, (30, 30, 9, 9, 0)) if corrected else painted(CHANGED)
    decide(world, view, mask_id=world.put(kept))
    decide(world, view, removed=True)
    world.service.step()
    assert world.dataset(f"merges/{view['merge_id']}")["state"] == "merged"
    assert (labels_at(world, "main")[sample] == kept).all()


def test_a_sample_that_both_sides_have_is_not_removed_by_a_ruling(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 9, 9, 2))})
    commit_masks(world, {sample: painted((0, 0, 9, 9, 3))}, "side")
    view = merge(world)
    with pytest.raises(CorruptInput, match="no side removed"):
        decide(world, view, removed=True)
    assert world.dataset(f"merges/{view['merge_id']}")["num_resolved"] == 0


def test_a_manager_may_rule_on_a_removed_sample_and_the_task_is_called_off(world: World) -> None:
    sample, view = removed_on(world, "ours")
    path = f"merges/{view['merge_id']}/resolutions"
    assert post(world, path, {"sample_id": sample}).status_code == 422
    assert post(world, path, {"sample_id": "smp_" + "0" * 24, "choose": "ours"}).status_code == 404
    assert post(world, path, {"sample_id": sample, "choose": "theirs"}).json()["num_resolved"] == 1
    assert post(world, path, {"sample_id": sample, "choose": "ours"}).status_code == 409
    [withdrawn] = world.said(ConflictWithdrawn)
    assert withdrawn.message.conflict_id == view["conflicts"][0]["conflict_id"]
    decide(world, view, removed=True)
    world.service.step()
    assert (labels_at(world, "main")[sample] == painted(CHANGED)).all(), "the ruling came too late"


def test_a_removed_sample_that_the_branch_brings_back_as_it_was_changed_is_no_conflict(world: World) -> None:
    sample, view = removed_on(world, "ours")
    commit_masks(world, {sample: painted(CHANGED)})
    answer = post(world, f"merges/{view['merge_id']}/complete").json()
    assert (answer["state"], answer["num_conflicts"]) == ("merged", 0)
    assert len(world.said(ConflictWithdrawn)) == 1
    decide(world, view, removed=True)
    assert sample in labels_at(world, "main")


def test_a_removed_sample_that_changes_again_is_asked_about_again(world: World) -> None:
    sample, view = removed_on(world, "theirs")
    decide(world, view, removed=True)
    commit_masks(world, {sample: painted(CHANGED, (20, 20, 5, 5, 2))})
    world.service.step()
    again = world.dataset(f"merges/{view['merge_id']}")
    assert (again["state"], again["num_conflicts"], again["num_resolved"]) == ("open", 1, 0)
    [found] = world.said(ConflictFound)
    assert found.message.conflict_id != view["conflicts"][0]["conflict_id"]
    assert (world.labels(found.message.merged_mask_id) == painted(CHANGED, (20, 20, 5, 5, 2))).all()
    decide(world, again, removed=True)
    world.service.step()
    assert labels_at(world, "main") == {}


def test_a_sample_that_both_sides_added_has_no_base(world: World) -> None:
    forked(world)
    new = world.sample(99)
    commit_masks(world, {new: painted((0, 0, 9, 9, 2), under=0)})
    commit_masks(world, {new: painted((5, 5, 9, 9, 3), under=0)}, "side")
    view = merge(world)
    [conflict] = view["conflicts"]
    assert (conflict["kind"], conflict["base_mask_id"], conflict["num_pixels"]) == ("pixels", None, 16)
    [found] = world.said(ConflictFound)
    assert (found.message.base_mask_id, found.message.num_pixels) == ("", 16)
    decide(world, view, mask_id=conflict["merged_mask_id"])
    world.service.step()
    assert (labels_at(world, "main")[new] == painted((5, 5, 9, 9, 3), (0, 0, 9, 9, 2), under=0)).all()


def test_both_sides_of_a_conflict_have_the_images_size(world: World) -> None:
    [sample] = forked(world)
    larger = world.put(np.ones((H + 1, W), np.uint8))
    for branch in ("main", "side"):
        rows = [{"sample_id": sample, "mask_id": larger}]
        answer = post(world, "stage", {"branch": branch, "items": rows})
        assert answer.status_code == 422, answer.text
        assert f"{H + 1} x {W}" in answer.json()["detail"]
    # The same picture in another size is another sample: no merge puts the two together.
    assert world.sample(0, height=H + 1) != sample
