"""Who gets which task, for how long, and what becomes of work that comes late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terrazzo_schema import events

if TYPE_CHECKING:
    from .conftest import Hand


def test_tasks_are_leased_by_priority_then_in_the_order_they_were_made(hand: Hand) -> None:
    hand.project()
    hand.images(3)
    batch = hand.batch(3)
    last = hand.tasks()[2]
    hand.call("PATCH", f"/v1/tasks/{last['task_id']}", json={"priority": 7}, status=200)
    got = [hand.lease(status=200)["task"]["sample_id"] for _ in range(3)]
    first, second, third = batch["sample_ids"]
    assert got == [third, first, second]


def test_redundancy_hands_a_task_to_that_many_people_and_to_nobody_twice(hand: Hand) -> None:
    hand.project()
    hand.images(1)
    hand.batch(1, redundancy=2, multi_share=1.0)
    first = hand.lease("ann", status=200)
    assert hand.lease("ann", status=204) is None
    second = hand.lease("bob", status=200)
    assert second["task"]["task_id"] == first["task"]["task_id"]
    assert hand.lease("cid", status=204) is None
    hand.submit(first, "ann")
    assert hand.lease("ann", status=204) is None
    assert hand.task(first["task"]["task_id"])["state"] == "open"
    hand.submit(second, "bob")
    assert hand.task(first["task"]["task_id"])["state"] == "submitted"


def test_a_lease_that_ran_out_goes_back_to_the_queue(hand: Hand) -> None:
    hand.project(lease_s=60)
    hand.images(1)
    hand.batch(1)
    lease = hand.lease("ann", status=200)
    hand.clock.advance(59.9)
    assert hand.lease("bob", status=204) is None
    assert hand.progress()["leases_active"] == 1
    hand.clock.advance(0.1)
    assert hand.progress()["leases_active"] == 0
    again = hand.lease("bob", status=200)
    assert again["task"]["task_id"] == lease["task"]["task_id"]
    hand.call("POST", f"/v1/leases/{lease['lease_id']}/extend", "annotator", "ann", status=409)
    assert [w.run_once() for w in hand.service.workers if w.name == "lease-expiry"] == [1]
    assert [w.run_once() for w in hand.service.workers if w.name == "lease-expiry"] == [0]


def test_late_work_counts_while_the_slot_is_free(hand: Hand) -> None:
    hand.project(lease_s=60)
    hand.images(1)
    hand.batch(1)
    lease = hand.lease("ann", status=200)
    hand.clock.advance(61)
    hand.new()
    submission = hand.submit(lease, "ann")
    assert (submission["late"], submission["state"]) == (True, "received")
    assert hand.task(submission["task_id"])["state"] == "submitted"
    (received,) = hand.new()
    assert received.late is False, "for the checks it is an ordinary vote"


def test_late_work_is_kept_but_not_counted_once_the_task_is_in_other_hands(hand: Hand) -> None:
    hand.project(lease_s=60)
    hand.images(1)
    hand.batch(1)
    late = hand.lease("ann", status=200)
    hand.clock.advance(61)
    on_time = hand.lease("bob", status=200)
    hand.new()
    kept = hand.submit(late, "ann")
    assert (kept["late"], kept["state"]) == (True, "late")
    (received,) = hand.new()
    assert received.late is True
    assert hand.task(kept["task_id"])["num_submissions"] == 0
    assert hand.submit(on_time, "bob")["state"] == "received"
    hand.checked(kept, passed=False, codes=("empty",))
    found = hand.call("GET", f"/v1/submissions/{kept['submission_id']}")
    assert (found["state"], found["codes"]) == ("late", ["empty"])
    assert hand.task(kept["task_id"])["state"] == "submitted"


def test_work_on_a_task_that_was_cancelled_meanwhile_is_kept(hand: Hand) -> None:
    hand.project()
    hand.images(1)
    hand.batch(1)
    lease = hand.lease("ann", status=200)
    hand.call("POST", f"/v1/tasks/{lease['task']['task_id']}/cancel", status=200)
    kept = hand.submit(lease, "ann")
    assert kept["state"] == "late"
    assert hand.task(kept["task_id"])["state"] == "cancelled"


def test_the_same_submission_twice_is_one_submission(hand: Hand) -> None:
    hand.project()
    hand.images(1)
    hand.batch(1)
    lease = hand.lease(status=200)
    hand.new()
    first = hand.submit(lease, idempotency_key="k1")
    assert hand.submit(lease, idempotency_key="k1") == first
    assert len(hand.new(events.SubmissionReceived)) == 1
    hand.submit(lease, idempotency_key="k2", status=409)
    hand.submit(lease, idempotency_key="k1", seconds_spent=9.0, status=422)


def test_the_same_lease_request_twice_is_one_lease(hand: Hand) -> None:
    hand.project()
    hand.images(2)
    hand.batch(2)
    path = f"/v1/projects/{hand.project_id}/leases"
    first = hand.call("POST", path, "annotator", json={}, idempotency_key="a", status=200)
    assert hand.call("POST", path, "annotator", json={}, idempotency_key="a", status=200) == first
    assert hand.progress()["leases_active"] == 1


def test_a_lease_of_someone_else_or_of_another_task_is_refused(hand: Hand) -> None:
    hand.project()
    hand.images(2)
    hand.batch(2)
    mine, other = hand.lease("ann", status=200), hand.lease("bob", status=200)
    hand.submit(other, "ann", status=403)
    hand.submit({**mine, "task": other["task"]}, "ann", status=404)
    hand.submit({**mine, "lease_id": "lse_unknown0001"}, "ann", status=404)
    hand.call("DELETE", f"/v1/leases/{mine['lease_id']}", "annotator", "bob", status=403)


def test_a_task_given_back_is_offered_to_its_giver_last(hand: Hand) -> None:
    hand.project()
    hand.images(2)
    hand.batch(2)
    first = hand.lease(status=200)
    hand.call("DELETE", f"/v1/leases/{first['lease_id']}", "annotator", "ann", status=204)
    hand.call("DELETE", f"/v1/leases/{first['lease_id']}", "annotator", "ann", status=204)
    second = hand.lease(status=200)
    assert second["task"]["task_id"] != first["task"]["task_id"]
    assert hand.lease(status=200)["task"]["task_id"] == first["task"]["task_id"]
    hand.submit(first, status=409)


def test_extending_moves_the_end_and_never_brings_it_nearer(hand: Hand) -> None:
    hand.project(lease_s=60)
    hand.images(1)
    hand.batch(1)
    lease = hand.lease(status=200, lease_s=500)
    path = f"/v1/leases/{lease['lease_id']}/extend"
    assert hand.call("POST", path, "annotator", "ann", status=200)["expires_at"] == lease["expires_at"]
    hand.clock.advance(490)
    assert hand.call("POST", path, "annotator", "ann", status=200)["expires_at"] > lease["expires_at"]
    hand.clock.advance(59)
    assert hand.submit(lease)["late"] is False


def test_nobody_holds_more_than_ten_leases(hand: Hand) -> None:
    hand.project()
    hand.images(11)
    hand.batch(11)
    for _ in range(10):
        hand.lease(status=200)
    problem = hand.lease(status=409)
    assert problem["value"] == "10"


def test_roles_do_the_kinds_of_work_that_are_theirs(hand: Hand) -> None:
    hand.project()
    hand.images(1)
    hand.batch(1)
    hand.lease("vic", role="viewer", status=403)
    hand.lease("tom", role="trainer", status=403)
    problem = hand.lease("ann", kinds=["audit"], status=403)
    assert problem["value"] == "audit"
    assert hand.lease("rev", role="reviewer", kinds=["audit"], status=204) is None
    assert hand.lease("rev", role="reviewer", kinds=["annotate"], status=200)


def test_a_vendor_sees_only_what_was_handed_to_it(hand: Hand) -> None:
    hand.project()
    hand.images(2)
    hand.batch(2)
    lease = hand.lease("vera", role="vendor", vendor="Acme", status=200)
    other = hand.lease("bob", status=200)
    seen = hand.call("GET", f"/v1/projects/{hand.project_id}/tasks", "vendor", "vera", vendor="Acme")["items"]
    assert [x["task_id"] for x in seen] == [lease["task"]["task_id"]]
    path = f"/v1/tasks/{lease['task']['task_id']}"
    hand.call("GET", path, "vendor", "victor", vendor="Acme", status=200)
    hand.call("GET", path, "vendor", "wanda", vendor="Other", status=404)
    hand.call("GET", f"/v1/tasks/{other['task']['task_id']}", "vendor", "vera", vendor="Acme", status=404)
    mine = hand.submit(lease, "vera", role="vendor", vendor="Acme")
    theirs = hand.submit(other, "bob")
    assert mine["vendor"] == "Acme"
    assert theirs["vendor"] is None
    found = hand.call("GET", f"/v1/projects/{hand.project_id}/submissions", "vendor", "vera", vendor="Acme")
    assert [s["submission_id"] for s in found["items"]] == [mine["submission_id"]]
    hand.call("GET", f"/v1/submissions/{theirs['submission_id']}", "vendor", "vera", vendor="Acme", status=404)
    for closed in ("samples", "batches", "progress"):
        hand.call("GET", f"/v1/projects/{hand.project_id}/{closed}", "vendor", "vera", vendor="Acme", status=403)
    (vendor,) = hand.progress()["vendors"]
    assert vendor == {"name": "Acme", "tasks": 1, "submissions": 1, "seconds": 2.5}


def test_an_annotation_needs_a_mask_and_an_audit_a_verdict(hand: Hand) -> None:
    hand.project()
    hand.images(1)
    hand.batch(1)
    lease = hand.lease(status=200)
    hand.submit(lease, mask_id=None, status=422)
    hand.submit(lease, verdict="pass", status=422)
    hand.submit(lease, seconds_spent=-1, status=422)
    hand.submit(lease)
