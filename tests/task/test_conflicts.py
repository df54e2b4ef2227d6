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


def asked(sample_id: str, number: int = 1, removed_by: str = "", **more: Any) -> events.AdjudicationRequested:
    sides = {"": ["ours", "theirs"], "ours": ["theirs"], "theirs": ["ours"]}[removed_by]
    return events.AdjudicationRequested(
        adjudication_id=f"adj_0000000{number}",
        sample=events.SampleRef(sample_id=sample_id, image_hash="a" * 64, height=64, width=64),
        mask_id=mask_of("merged"),
        region=events.Region(y=1, x=2, height=3, width=4),
        candidate_mask_ids=[mask_of(side) for side in sides],
        merge_id=MERGE,
        removed_by=removed_by,
        **more,
    )


def decided(submission: Any, number: int = 1) -> events.ConflictDecided:
    return events.ConflictDecided(
        conflict_id=f"cfl_0000000{number}",
        merge_id=MERGE,
        adjudication_id=f"adj_0000000{number}",
        sample_id=submission["sample_id"],
        mask_id="" if submission.get("verdict") == "remove" else mask_of("ruled"),
        removed=submission.get("verdict") == "remove",
        decided_by=submission["annotator_id"],
        submission_id=submission["submission_id"],
    )


def test_a_conflict_is_a_task_with_both_sides_in_the_merges_batch(hand: Hand) -> None:
    hand.project()
    [first, second] = hand.images(2)
    hand.hear(asked(first, base_mask_id=mask_of("base")))
    hand.hear(asked(second, 2))
    tasks = hand.tasks(kind="adjudicate")
    assert [t["sample_id"] for t in tasks] == [first, second]
    assert tasks[0]["candidate_mask_ids"] == [mask_of("ours"), mask_of("theirs")]
    assert (tasks[0]["mask_id"], tasks[0]["region"]) == (
        mask_of("merged"), {"y": 1, "x": 2, "height": 3, "width": 4},
    )  # fmt: skip
    assert [(t["base_mask_id"], t["removed_by"]) for t in tasks] == [(mask_of("base"), None), (None, None)]
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


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_of_a_sample_that_one_side_removed_the_other_is_shown_and_may_be_removed(hand: Hand, side: str) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id, removed_by=side, base_mask_id=mask_of("base")))
    lease = hand.lease("judge", "reviewer", status=200)
    task = lease["task"]
    assert (task["removed_by"], task["base_mask_id"]) == (side, mask_of("base"))
    assert task["candidate_mask_ids"] == [mask_of("theirs" if side == "ours" else "ours")]
    refused = hand.submit(lease, "judge", "reviewer", status=422, verdict="remove")
    assert refused["field"] == "mask_id"
    hand.submit(lease, "judge", "reviewer", status=422, verdict="pass")
    hand.new()
    submission = hand.submit(lease, "judge", "reviewer", verdict="remove", mask_id=None, idempotency_key="s1")
    assert (submission["verdict"], submission["mask_id"], submission["state"]) == ("remove", None, "received")
    again = hand.submit(lease, "judge", "reviewer", verdict="remove", mask_id=None, idempotency_key="s1")
    assert again == submission
    [received] = hand.new(events.SubmissionReceived)
    assert (received.verdict, received.mask_id, received.subject_id) == ("remove", "", "adj_00000001")
    hand.hear(decided(submission))
    assert hand.task(task["task_id"])["state"] == "accepted"
    assert hand.call("GET", f"/v1/submissions/{submission['submission_id']}")["state"] == "accepted"
    assert_counts_hold(hand.service, hand.project_id)


def test_a_sample_that_one_side_removed_may_be_kept_with_a_mask(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id, removed_by="ours"))
    lease = hand.lease("judge", "reviewer", status=200)
    hand.submit(lease, "judge", "reviewer", status=422, mask_id=None)
    submission = hand.submit(lease, "judge", "reviewer")
    assert (submission["verdict"], submission["mask_id"]) == (None, mask_of("judge"))
    hand.hear(decided(submission))
    assert hand.task(lease["task"]["task_id"])["state"] == "accepted"


def test_a_sample_that_both_sides_have_is_not_removed(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id))
    lease = hand.lease("judge", "reviewer", status=200)
    refused = hand.submit(lease, "judge", "reviewer", status=422, verdict="remove", mask_id=None)
    assert refused["field"] == "verdict"


def test_removing_comes_too_late_for_a_conflict_that_was_withdrawn(hand: Hand) -> None:
    hand.project()
    [sample_id] = hand.images(1)
    hand.hear(asked(sample_id, removed_by="theirs"))
    lease = hand.lease("judge", "reviewer", status=200)
    hand.hear(events.AdjudicationWithdrawn(adjudication_id="adj_00000001", sample_id=sample_id))
    late = hand.submit(lease, "judge", "reviewer", verdict="remove", mask_id=None)
    assert late["state"] == "late"
    assert hand.new(events.SubmissionReceived)[-1].late
    hand.hear(decided(late))
    assert hand.task(lease["task"]["task_id"])["state"] == "cancelled"
