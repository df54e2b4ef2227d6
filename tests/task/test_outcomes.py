"""What the checks, consensus, adjudication and audits do to tasks, in whatever order they are heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from terrazzo_schema import events
from terrazzo_schema.errors import NotKnownYet
from terrazzo_task.handlers.batches import PROPOSAL_PATIENCE

from .conftest import mask_of
from .recount import assert_counts_hold

if TYPE_CHECKING:
    from .conftest import Hand


def one_submitted(hand: Hand, redundancy: int = 1) -> tuple[Any, list[Any]]:
    """A task with all its submissions in."""
    hand.project()
    hand.images(1)
    hand.batch(1, redundancy=redundancy, multi_share=1.0)
    names = [f"ann{index}" for index in range(redundancy)]
    leases = [hand.lease(name, status=200) for name in names]
    submissions = [hand.submit(lease, name) for lease, name in zip(leases, names, strict=True)]
    hand.new()
    return leases[0]["task"], submissions


def adjudications(hand: Hand, task: Any, submissions: list[Any]) -> list[Any]:
    """The adjudication tasks, once one was asked for."""
    hand.hear(
        events.AdjudicationRequested(
            adjudication_id="adj_00000001",
            task_id=task["task_id"],
            batch_id=task["batch_id"],
            sample=events.SampleRef(sample_id=task["sample_id"]),
            mask_id=mask_of("consensus"),
            region=events.Region(y=1, x=2, height=3, width=4),
            candidate_mask_ids=[s["mask_id"] for s in submissions],
            annotator_ids=[s["annotator_id"] for s in submissions],
        )
    )
    return hand.tasks(kind="adjudicate")


def audit(hand: Hand, task: Any, submissions: list[Any]) -> Any:
    item = events.AuditItem(
        audit_item_id="aui_00000001",
        sample=events.SampleRef(sample_id=task["sample_id"]),
        mask_id=mask_of("accepted-1"),
        annotator_ids=[s["annotator_id"] for s in submissions],
    )
    hand.hear(events.AuditRequested(audit_id="aud_00000001", batch_id=task["batch_id"], items=[item]))
    (found,) = hand.tasks(kind="audit")
    return found


def test_work_that_fails_its_checks_goes_back_to_the_same_person_too(hand: Hand) -> None:
    task, (submission,) = one_submitted(hand)
    hand.checked(submission, passed=False, codes=("unlabelled-share", "sliver"))
    back = hand.task(task["task_id"])
    assert (back["state"], back["num_submissions"]) == ("open", 0)
    assert back["returned_reason"] == "unlabelled-share, sliver"
    assert hand.call("GET", f"/v1/submissions/{submission['submission_id']}")["state"] == "returned"
    again = hand.lease("ann0", status=200)
    assert again["task"]["returned_reason"] == "unlabelled-share, sliver"
    second = hand.submit(again, "ann0")
    hand.checked(second)
    hand.accepted(task, [second])
    assert hand.get_batch(task["batch_id"])["state"] == "closed"
    assert_counts_hold(hand.service, hand.project_id)


def test_after_three_returns_a_task_comes_first_and_others_are_asked_before(hand: Hand) -> None:
    task, (submission,) = one_submitted(hand)
    hand.images(1, prefix="more")
    hand.batch(1)
    for _ in range(2):
        hand.checked(submission, passed=False)
        submission = hand.submit(hand.lease("ann0", status=200), "ann0")
    assert submission["task_id"] == task["task_id"]
    hand.checked(submission, passed=False)
    assert hand.task(task["task_id"])["priority"] == 100
    assert hand.lease("ann0", status=200)["task"]["task_id"] != task["task_id"]
    other = hand.lease("bob", status=200)
    assert other["task"]["task_id"] == task["task_id"]
    hand.call("DELETE", f"/v1/leases/{other['lease_id']}", "annotator", "bob")
    assert hand.lease("ann0", status=200)["task"]["task_id"] == task["task_id"], "rather than nobody"


def test_a_mask_accepted_before_the_check_is_heard_stays_accepted(hand: Hand) -> None:
    task, (submission,) = one_submitted(hand)
    hand.accepted(task, [submission])
    hand.checked(submission, passed=True, codes=("island",))
    found = hand.call("GET", f"/v1/submissions/{submission['submission_id']}")
    assert (found["state"], found["codes"]) == ("accepted", ["island"])
    hand.checked(submission, passed=False)
    assert hand.task(task["task_id"])["state"] == "accepted"
    assert len(hand.new(events.TaskClosed)) == 1


def test_a_mask_accepted_early_ends_the_leases_that_are_still_out(hand: Hand) -> None:
    hand.project()
    hand.images(1)
    hand.batch(1, redundancy=2, multi_share=1.0)
    done, out = hand.lease("ann", status=200), hand.lease("bob", status=200)
    submission = hand.submit(done, "ann")
    hand.accepted(done["task"], [submission])
    assert hand.progress()["leases_active"] == 0
    assert hand.submit(out, "bob")["state"] == "late"
    assert hand.task(done["task"]["task_id"])["state"] == "accepted"


def test_a_higher_revision_replaces_the_label_and_a_lower_one_does_not(hand: Hand) -> None:
    task, submissions = one_submitted(hand)
    path = f"/v1/projects/{hand.project_id}/samples/{task['sample_id']}"
    hand.accepted(task, submissions, revision=2)
    hand.accepted(task, submissions, revision=1)
    assert hand.call("GET", path)["mask_id"] == mask_of("accepted-2")
    hand.accepted(task, [], by="audit", revision=3)
    assert hand.call("GET", path)["mask_id"] == mask_of("accepted-3")
    assert len(hand.new(events.TaskClosed)) == 1


def test_a_dispute_goes_to_someone_who_has_not_voted(hand: Hand) -> None:
    task, submissions = one_submitted(hand, redundancy=2)
    (found,) = adjudications(hand, task, submissions)
    assert found["region"] == {"y": 1, "x": 2, "height": 3, "width": 4}
    assert found["candidate_mask_ids"] == [s["mask_id"] for s in submissions]
    assert hand.get_batch(task["batch_id"])["num_tasks"] == 2
    assert hand.lease("ann0", status=204) is None
    assert hand.lease("vera", role="vendor", vendor="Acme", status=204) is None
    lease = hand.lease("rev", role="reviewer", status=200)
    assert lease["task"]["task_id"] == found["task_id"]
    hand.new()
    verdict = hand.submit(lease, "rev", role="reviewer")
    (received,) = hand.new()
    assert (received.kind, received.subject_id, received.region.width) == ("adjudicate", "adj_00000001", 4)
    hand.checked(verdict)
    hand.accepted(task, [*submissions, verdict], by="adjudication")
    assert {x["state"] for x in hand.tasks()} == {"accepted"}
    assert hand.get_batch(task["batch_id"])["state"] == "closed"
    assert [type(m).__name__ for m in hand.new()] == ["TaskClosed", "TaskClosed", "BatchClosed"]
    assert hand.call("GET", f"/v1/submissions/{verdict['submission_id']}")["state"] == "accepted"


def test_cancelling_an_adjudication_cancels_its_annotation_and_frees_the_sample(hand: Hand) -> None:
    task, submissions = one_submitted(hand, redundancy=2)
    (found,) = adjudications(hand, task, submissions)
    hand.call("POST", f"/v1/tasks/{found['task_id']}/cancel", status=200)
    hand.call("POST", f"/v1/tasks/{found['task_id']}/cancel", status=200)
    assert {x["state"] for x in hand.tasks()} == {"cancelled"}
    assert hand.get_batch(task["batch_id"])["state"] == "closed"
    assert hand.batch(1)["sample_ids"] == [task["sample_id"]]
    assert_counts_hold(hand.service, hand.project_id)


def test_an_adjudication_asked_for_after_its_task_was_cancelled_makes_no_work(hand: Hand) -> None:
    task, submissions = one_submitted(hand, redundancy=2)
    hand.call("POST", f"/v1/tasks/{task['task_id']}/cancel", status=200)
    assert adjudications(hand, task, submissions) == []


def test_an_audit_opens_the_batch_again_and_a_verdict_ends_it(hand: Hand) -> None:
    task, submissions = one_submitted(hand)
    hand.accepted(task, submissions)
    assert hand.get_batch(task["batch_id"])["state"] == "closed"
    found = audit(hand, task, submissions)
    assert hand.get_batch(task["batch_id"])["state"] == "open"
    assert hand.lease("ann0", role="reviewer", status=204) is None, "nobody audits their own work"
    assert hand.lease("ann1", status=204) is None
    lease = hand.lease("rev", role="reviewer", status=200)
    assert lease["task"]["mask_id"] == mask_of("accepted-1")
    hand.submit(lease, "rev", role="reviewer", mask_id=None, status=422)
    hand.new()
    verdict = hand.submit(lease, "rev", role="reviewer", verdict="fail")
    assert verdict["state"] == "accepted"
    assert hand.task(found["task_id"])["state"] == "accepted"
    assert hand.get_batch(task["batch_id"])["state"] == "closed"
    said = [type(m).__name__ for m in hand.new()]
    assert said == ["SubmissionReceived", "TaskClosed"], "BatchClosed was said before"
    hand.checked(verdict)
    assert_counts_hold(hand.service, hand.project_id)


def test_cancelling_a_batch_ends_every_task_and_frees_the_samples(hand: Hand) -> None:
    hand.project()
    hand.images(3)
    hand.model()
    batch = hand.batch(3)
    hand.predicted(batch["sample_ids"][0], batch_id=batch["batch_id"])
    lease = hand.lease(status=200)
    path = f"/v1/projects/{hand.project_id}/batches/{batch['batch_id']}/cancel"
    cancelled = hand.call("POST", path, status=200)
    assert (cancelled["state"], cancelled["num_tasks_final"]) == ("cancelled", 3)
    assert hand.call("POST", path, status=200) == cancelled
    hand.predicted(batch["sample_ids"][1], batch_id=batch["batch_id"])
    assert {x["state"] for x in hand.tasks()} == {"cancelled"}
    assert hand.progress()["samples"]["unlabelled"] == 3
    assert hand.submit(lease)["state"] == "late"
    assert len(hand.new(events.TaskClosed)) == 3
    assert_counts_hold(hand.service, hand.project_id)


def test_a_batch_whose_proposals_stay_away_goes_on_without(hand: Hand) -> None:
    hand.project()
    hand.images(2)
    hand.model()
    batch = hand.batch(2)
    stalled = next(w for w in hand.service.workers if w.name == "stalled-batches")
    hand.clock.advance(PROPOSAL_PATIENCE.total_seconds() - 1)
    hand.predicted(batch["sample_ids"][0], batch_id=batch["batch_id"])
    hand.clock.advance(2)
    assert stalled.run_once() == 0, "a proposal came in a moment ago"
    hand.clock.advance(PROPOSAL_PATIENCE.total_seconds())
    assert stalled.run_once() == 1
    assert hand.get_batch(batch["batch_id"])["state"] == "open"
    hand.predicted(batch["sample_ids"][1], batch_id=batch["batch_id"])
    assert [x["proposal"] is None for x in hand.tasks()] == [False, True]


def test_events_ahead_of_what_they_need_are_tried_again(hand: Hand) -> None:
    hand.project()
    with pytest.raises(NotKnownYet):
        hand.checked({"submission_id": "sub_unknown01", "task_id": "tsk_unknown01"})
    with pytest.raises(NotKnownYet):
        hand.predicted("smp_unknown01")
    hand.project_id = "prj_unknown01"
    with pytest.raises(NotKnownYet):
        hand.images(1)
    with pytest.raises(NotKnownYet):
        hand.model()


def test_an_image_that_is_stored_again_is_the_same_sample(hand: Hand) -> None:
    hand.project()
    (first,) = hand.images(1)
    (again,) = hand.images(1)
    assert first == again
    assert len(hand.new(events.SampleAdded)) == 1
    assert hand.call("GET", f"/v1/projects/{hand.project_id}")["num_samples"] == 1
