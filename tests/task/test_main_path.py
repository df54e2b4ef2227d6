"""From a project to a closed batch, as the other services see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terrazzo_schema import events

if TYPE_CHECKING:
    from .conftest import Hand


def test_a_sample_goes_from_image_to_label_and_its_batch_closes(hand: Hand) -> None:
    hand.project()
    (sample_id,) = hand.images(1)
    assert [type(m).__name__ for m in hand.new()] == ["ProjectCreated", "SampleAdded"]
    batch = hand.batch(5)
    assert batch["sample_ids"] == [sample_id]
    assert batch["state"] == "open"
    (chosen,) = hand.new()
    assert isinstance(chosen, events.BatchChosen)
    assert chosen.model_id == ""
    assert chosen.samples[0].sample_id == sample_id
    lease = hand.lease(status=200)
    assert hand.lease("bob", status=204) is None
    submission = hand.submit(lease)
    assert submission["state"] == "received"
    assert hand.task(submission["task_id"])["state"] == "submitted"
    (received,) = hand.new()
    assert received.submission_id == submission["submission_id"]
    assert received.sample.height == 64
    hand.checked(submission)
    hand.accepted(lease["task"], [submission])
    task = hand.task(submission["task_id"])
    assert (task["state"], task["num_submissions"]) == ("accepted", 1)
    assert task["closed_at"] is not None
    assert [type(m).__name__ for m in hand.new()] == ["TaskClosed", "BatchClosed"]
    assert hand.get_batch(batch["batch_id"])["state"] == "closed"
    sample = hand.call("GET", f"/v1/projects/{hand.project_id}/samples/{sample_id}", status=200)
    assert (sample["state"], sample["mask_id"]) == ("labelled", task and sample["mask_id"])
    assert hand.call("GET", f"/v1/submissions/{submission['submission_id']}")["state"] == "accepted"


def test_with_a_model_a_task_waits_for_its_proposal(hand: Hand) -> None:
    hand.project()
    first, second = sorted(hand.images(2))
    model_id = hand.model()
    batch = hand.batch(2)
    assert (batch["state"], batch["model_id"]) == ("proposing", model_id)
    assert hand.lease(status=204) is None
    hand.predicted(second, batch_id=batch["batch_id"])
    lease = hand.lease(status=200)
    assert lease["task"]["sample_id"] == second
    assert lease["task"]["proposal"]["model_id"] == model_id
    hand.hear(events.PredictionFailed(sample_id=first, model_id=model_id, batch_id=batch["batch_id"], reason="x"))
    assert hand.get_batch(batch["batch_id"])["state"] == "open"
    lease = hand.lease(status=200)
    assert lease["task"]["sample_id"] == first
    assert lease["task"]["proposal"] is None


def test_the_bus_carries_the_events_between_two_services(hand: Hand) -> None:
    hand.project()
    while hand.service.step():
        pass
    assert hand.service.relay.num_published == 1
