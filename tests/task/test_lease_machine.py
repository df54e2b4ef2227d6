"""Any order of leasing, submitting, expiring, checking, accepting and cancelling leaks no task."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from terrazzo_schema import events
from terrazzo_task.adapters import tables as t

from .conftest import Hand, mask_of
from .recount import assert_counts_hold

PEOPLE = ("ann", "bob", "cid")


class LeaseMachine(RuleBasedStateMachine):
    """`hand` is shared by all examples: each makes a project of its own."""

    hand: ClassVar[Hand]
    num_examples: ClassVar[int] = 0

    @initialize(has_model=st.booleans(), multi_share=st.sampled_from([0.0, 0.5, 1.0]))
    def begin(self, has_model: bool, multi_share: float) -> None:
        type(self).num_examples += 1
        self.tag = f"x{self.num_examples}"
        self.leases: list[tuple[str, Any]] = []
        self.submissions: list[Any] = []
        self.sent: list[tuple[Any, ...]] = []
        self.num_adjudications = 0
        hand = self.hand
        hand.clock.advance(1_000)  # leases of the example before are over
        hand.project(lease_s=100)
        self.sample_ids = hand.images(3)
        self.model_id = "mdl_first00001"
        if has_model:
            hand.model(self.model_id)
        self.batch = hand.batch(3, redundancy=2, multi_share=multi_share)
        hand.said.clear()

    @rule(which=st.integers(0, 2), works=st.booleans())
    def propose(self, which: int, works: bool) -> None:
        sample_id = self.sample_ids[which]
        if works:
            self.hand.predicted(sample_id, batch_id=self.batch["batch_id"], model_id=self.model_id)
        else:
            self.hand.hear(
                events.PredictionFailed(
                    sample_id=sample_id, model_id=self.model_id, batch_id=self.batch["batch_id"], reason="broken"
                )
            )

    @rule(person=st.sampled_from(PEOPLE), reviewer=st.booleans())
    def lease(self, person: str, reviewer: bool) -> None:
        lease = self.hand.lease(person, role="reviewer" if reviewer else "annotator")
        if lease is not None and "lease_id" in lease:
            self.leases.append((person, lease))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        name, lease = data.draw(st.sampled_from(self.leases))
        key = f"{self.tag}-{len(self.sent)}"
        answer = self.hand.submit(lease, name, role="reviewer", status=None, idempotency_key=key)
        self.sent.append((lease, name, key, answer))
        if "submission_id" in answer:
            self.submissions.append(answer)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def submit_again_with_the_same_key(self, data: st.DataObject) -> None:
        lease, name, key, answer = data.draw(st.sampled_from(self.sent))
        again = self.hand.submit(lease, name, role="reviewer", status=None, idempotency_key=key)
        if "submission_id" in answer:
            assert again == answer

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), gives_back=st.booleans())
    def release_or_extend(self, data: st.DataObject, gives_back: bool) -> None:
        name, lease = data.draw(st.sampled_from(self.leases))
        path = f"/v1/leases/{lease['lease_id']}"
        if gives_back:
            self.hand.call("DELETE", path, "annotator", name)
        else:
            self.hand.call("POST", path + "/extend", "annotator", name)

    @rule(seconds=st.sampled_from([1, 50, 100, 150]), marks=st.booleans())
    def time_passes(self, seconds: int, marks: bool) -> None:
        self.hand.clock.advance(seconds)
        if marks:
            for worker in self.hand.service.workers:
                worker.run_once()

    @precondition(lambda self: self.submissions)
    @rule(data=st.data(), passed=st.booleans())
    def check(self, data: st.DataObject, passed: bool) -> None:
        self.hand.checked(data.draw(st.sampled_from(self.submissions)), passed, () if passed else ("empty",))

    @rule(data=st.data(), disputed=st.booleans())
    def decide(self, data: st.DataObject, disputed: bool) -> None:
        """Consensus is reached, or asks for adjudication; any submitted task may be decided."""
        ready = self.hand.tasks(state="submitted", kind="annotate")
        if not ready:
            return
        task = data.draw(st.sampled_from(ready))
        if not disputed:
            self.hand.accepted(task, self._counted(task))
            return
        self.num_adjudications += 1
        self.hand.hear(
            events.AdjudicationRequested(
                adjudication_id=f"adj_{self.tag}{self.num_adjudications:08}",
                task_id=task["task_id"],
                batch_id=task["batch_id"],
                sample=events.SampleRef(sample_id=task["sample_id"]),
                mask_id=mask_of("consensus"),
                region=events.Region(y=1, x=2, height=3, width=4),
                annotator_ids=[s["annotator_id"] for s in self._counted(task)],
            )
        )

    def _counted(self, task: Any) -> list[Any]:
        path = f"/v1/projects/{self.hand.project_id}/submissions"
        items = self.hand.call("GET", path, params={"task_id": task["task_id"]})["items"]
        return [s for s in items if s["state"] == "received"]

    @rule(data=st.data(), whole_batch=st.sampled_from([False, False, False, True]))
    def cancel(self, data: st.DataObject, whole_batch: bool) -> None:
        if whole_batch:
            path = f"/v1/projects/{self.hand.project_id}/batches/{self.batch['batch_id']}/cancel"
        else:
            path = f"/v1/tasks/{data.draw(st.sampled_from(self.hand.tasks()))['task_id']}/cancel"
        self.hand.call("POST", path)

    @invariant()
    def slots_are_never_overfilled(self) -> None:
        now = self.hand.clock.now()
        with self.hand.service.uow.database.read() as connection:
            submissions, all_leases = (self._rows(connection, table) for table in (t.submissions, t.leases))
            for task in self._rows(connection, t.tasks):
                own = [s for s in submissions if s.task_id == task.task_id]
                counted = [s for s in own if s.is_counted]
                assert task.num_submissions == len(counted)
                assert all(s.state in ("received", "accepted") for s in counted)
                voters = Counter(s.annotator_id for s in counted)
                leases = [x for x in all_leases if x.task_id == task.task_id]
                live = [x for x in leases if x.state == "active" and x.expires_at > now]
                holders = Counter(x.annotator_id for x in live)
                assert all(n == 1 for n in (voters + holders).values()), "a person has two of a task's slots"
                assert len(counted) + len(live) <= task.redundancy
                if task.state in ("accepted", "cancelled"):
                    assert not any(x.state == "active" for x in leases)
                else:
                    assert (task.state == "submitted") == (task.num_submissions == task.redundancy)

    @invariant()
    def nothing_is_lost_and_the_counts_hold(self) -> None:
        with self.hand.service.uow.database.read() as connection:
            kept = {s.submission_id for s in self._rows(connection, t.submissions)}
        assert kept == {s["submission_id"] for s in self.submissions}
        assert_counts_hold(self.hand.service, self.hand.project_id)

    @invariant()
    def ends_are_said_once(self) -> None:
        self.hand.new()
        closed = Counter(e.message.task_id for e in self.hand.said if isinstance(e.message, events.TaskClosed))
        with self.hand.service.uow.database.read() as connection:
            tasks = self._rows(connection, t.tasks)
        final = [x.task_id for x in tasks if x.state in ("accepted", "cancelled")]
        assert closed == Counter(final)
        assert sum(isinstance(e.message, events.BatchClosed) for e in self.hand.said) <= 1

    def _rows(self, connection: sa.Connection, table: sa.Table) -> list[Any]:
        return list(connection.execute(sa.select(table).where(table.c.project_id == self.hand.project_id)))

    def teardown(self) -> None:
        """Whatever happened: people who come and work bring every task to its end."""
        if not hasattr(self, "batch"):
            return
        for which in range(3):
            self.propose(which, True)
        self.hand.clock.advance(1_000)
        for helper in range(60):
            if not any(x["state"] in ("open", "submitted") for x in self.hand.tasks()):
                break
            lease = self.hand.lease(f"helper{helper}", role="reviewer")
            if lease is not None:
                submission = self.hand.submit(lease, f"helper{helper}", role="reviewer")
                self.submissions.append(submission)
            for task in self.hand.tasks(state="submitted"):
                parts = [
                    x
                    for x in self.hand.tasks(state="open", kind="adjudicate")
                    if x["sample_id"] == task["sample_id"]
                ]
                if not parts:
                    self.hand.accepted(task, self._counted(task))
        leaked = [x for x in self.hand.tasks() if x["state"] not in ("accepted", "cancelled")]
        assert leaked == []
        assert self.hand.get_batch(self.batch["batch_id"])["state"] in ("closed", "cancelled")
        self.nothing_is_lost_and_the_counts_hold()
        self.ends_are_said_once()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_any_order_of_work_keeps_the_rules_and_leaks_no_task(hand: Hand) -> None:
    LeaseMachine.hand = hand
    run_state_machine_as_test(
        LeaseMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
