"""Tasks for a merge's conflicts: their batch, who may have them, how they end; whatever comes twice or late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from terrazzo_schema import events
from terrazzo_schema.errors import NotKnownYet

from .conftest import mask_of
from .recount import assert_counts_hold

if TYPE_CHECKING:
    from .conftest import Hand

MERGE = "mrg_00000001"


def asked(sample_id: str, number: int = 1, **more: Any) -> events.AdjudicationRequested:
    return events.AdjudicationRequested(
        adjudication_id=f"adj_0000000{number}",
        sample=events.SampleRef(sample_id=sample_id, image_hash="a" * 64, height=64, width=64),
        mask_id=mask_of("merged"),
        region=events.Region(y=1, x=2, height=3, width=4),
        candidate_mask_ids=[mask_of("ours"), mask_of("theirs")],
        merge_id=MERGE,
        **more,
    )


def decided(submission: Any, number: int = 1) -> events.ConflictDecided:
    return events.ConflictDecided(
        conflict_id=f"cfl_0000000{number}",
        merge_id=MERGE,
        adjudication_id=f"adj_0000000{number}",
        sample_id=submission["sample_id"],
        mask_id=mask_of("ruled"),
        decided_by=submission["annotator_id"],
        submission_id=submission["submission_id"],
    )


def test_a_conflict_is_a_task_with_both_sides_in_the_merges_batch(hand: Hand) -> None:
    hand.project()
    [first, second] = hand.images(2)
    hand.hear(asked(first))
    hand.hear(asked(second, 2))
    tasks = hand.tasks(kind="adjudicate")
    assert [t["sample_id"] for t in tasks] == [first, second]
    assert tasks[0]["candidate_mask_ids"] == [mask_of("ours"), mask_of("theirs")]
    assert (tasks[0]["mask_id"], tasks[0]["region"]) == (
        mask_of("merged"), {"y": 1, "x": 2, "height": 3, "width": 4},
    )  # fmt: skip
    batch = hand.get_batch(tasks[0]["batch_id"])
    assert (batch["strategy"], batch["num_tasks"], batch["sample_ids"]) == ("merge", 2, [first, second])
    assert tasks[1]["batch_id"] == batch["batch_id"]
    assert_counts_hold(hand.service, hand.project_id)


def test_the_ruling_ends_the_task_and_leaves_the_sample_as_it_is(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id))
    lease = hand.lease("judge", "reviewer", status=200)
    submission = hand.submit(lease, "judge", "reviewer")
    hand.new()
    hand.hear(decided(submission))
    assert hand.task(lease["task"]["task_id"])["state"] == "accepted"
    assert hand.call("GET", f"/v1/submissions/{submission['submission_id']}")["state"] == "accepted"
    assert hand.get_batch(lease["task"]["batch_id"])["state"] == "closed"
    sample = hand.call("GET", f"/v1/projects/{hand.project_id}/samples/{sample_id}")
    assert (sample["state"], sample["mask_id"]) == ("unlabelled", None)
    assert len(hand.new(events.TaskClosed)) == 1
    assert_counts_hold(hand.service, hand.project_id)


def test_who_worked_on_a_side_does_not_get_the_task(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id, annotator_ids=["key_painter0000"]))
    assert hand.lease("painter", "reviewer", status=204) is None
    assert hand.lease("judge", "reviewer", status=200)["task"]["sample_id"] == sample_id


def test_a_withdrawn_conflict_takes_its_task_and_its_lease_away(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    withdrawn = events.AdjudicationWithdrawn(adjudication_id="adj_00000001", sample_id=sample_id)
    with pytest.raises(NotKnownYet):
        hand.hear(withdrawn)
    hand.hear(asked(sample_id))
    lease = hand.lease("judge", "reviewer", status=200)
    hand.hear(withdrawn)
    assert hand.task(lease["task"]["task_id"])["state"] == "cancelled"
    assert hand.progress()["leases_active"] == 0
    late = hand.submit(lease, "judge", "reviewer")
    assert late["state"] == "late"
    hand.hear(decided(late))
    assert hand.task(lease["task"]["task_id"])["state"] == "cancelled", "what is final stays"
    assert_counts_hold(hand.service, hand.project_id)


def test_a_ruling_before_its_task_is_tried_again(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    with pytest.raises(NotKnownYet):
        hand.hear(decided({"sample_id": sample_id, "annotator_id": "key_x", "submission_id": "sub_x"}))


def test_a_conflict_of_a_sample_that_is_not_known_yet_is_tried_again(hand: Hand) -> None:
    hand.project()
    with pytest.raises(NotKnownYet):
        hand.hear(asked("smp_" + "0" * 24))


def test_a_manager_may_cancel_the_batch_of_a_merge(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id))
    [task] = hand.tasks(kind="adjudicate")
    path = f"/v1/projects/{hand.project_id}/batches/{task['batch_id']}/cancel"
    assert hand.call("POST", path, status=200)["state"] == "cancelled"
    assert hand.task(task["task_id"])["state"] == "cancelled"
    assert_counts_hold(hand.service, hand.project_id)
