"""Killed at any step between a submission and its decision, the service does the rest after a restart, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from terrazzo_client import NoAnswer, NotFound
from terrazzo_qa import consumers
from terrazzo_qa.adapters.store import SqlStore
from terrazzo_qa.adapters.tables import metadata
from terrazzo_qa.domain.records import Submission
from terrazzo_qa.handlers import submissions
from terrazzo_runtime.blobs import Blobs
from terrazzo_runtime.consumer import Consumer
from terrazzo_runtime.database import Database
from terrazzo_runtime.unit_of_work import UnitOfWork
from terrazzo_schema.events import Event, MaskAccepted, SubmissionChecked, unwrap

from .conftest import World, refused
from .test_order import AGREEING, DISPUTED, events_of, final


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Fuse:
    """Kills at the n-th step; 0 never."""

    at: int = 0
    steps: int = 0

    def step(self, *_: object) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Killed


class DyingBlobs:
    def __init__(self, blobs: Blobs, fuse: Fuse) -> None:
        self._blobs, self._fuse = blobs, fuse

    def put(self, data: bytes) -> str:
        self._fuse.step()
        return self._blobs.put(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


class DyingDatabase:
    """Dies before a transaction, inside it when all is written, and right after its commit."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        self._database, self._fuse = database, fuse

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._fuse.step()
        with self._database.write() as connection:
            yield connection
            self._fuse.step()
        self._fuse.step()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


def arm(world: World, fuse: Fuse) -> None:
    world.peers.masks.before_labels = fuse.step
    world.peers.masks.after_put = fuse.step
    database: Any = DyingDatabase(world.ports.database, fuse)
    blobs: Any = DyingBlobs(world.ports.blobs, fuse)
    world.ports = replace(world.ports, database=database, blobs=blobs)
    world.restart()


def deliver(world: World, events: list[Event], fuse: Fuse) -> int:
    """At least once: an event that was not finished comes again after the restart. Returns the kills."""
    kills = 0
    for event in events:
        while True:
            try:
                world.handle(event)
                break
            except Killed:
                kills += 1
                fuse.at = 0
                world.restart()
    return kills


@pytest.mark.parametrize("votes", [AGREEING, DISPUTED], ids=["agreeing", "disputed"])
def test_killed_at_each_step_it_ends_the_same(world_of: Callable[..., World], votes: Any) -> None:
    reference = world_of()
    expected = final(reference, events_of(reference, votes))
    at = 0
    while True:
        at += 1
        world, fuse = world_of(), Fuse()
        arm(world, fuse)
        world.create_project()
        events = events_of(world, votes)
        fuse.at = fuse.steps + at
        kills = deliver(world, events, fuse)
        assert (world.state(), world.words()) == expected, f"killed at step {at}"
        if kills == 0:
            break
    # Three submissions' masks and commits, then the votes' masks, the consensus, three maps.
    assert at - 1 >= 3 + 9 + 3 + 1 + 3


def test_this_would_be_seen_if_an_event_was_handled_twice(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: without inbox and without a look at what is recorded, some kill counts work twice."""
    reference = world_of()
    expected = final(reference, events_of(reference, AGREEING))
    add = SqlStore.add_submission

    def replacing(store: SqlStore, submission: Submission) -> None:
        table = metadata.tables["submissions"]
        same = table.c.submission_id == submission.submission_id
        store._connection.execute(table.delete().where(same))
        add(store, submission)

    monkeypatch.setattr(SqlStore, "add_submission", replacing)
    monkeypatch.setattr(submissions, "is_recorded", lambda store, submission: False)
    monkeypatch.setattr(UnitOfWork, "_enter_inbox", lambda *_: None)
    monkeypatch.setattr(Consumer, "handle", _handle_always)
    outcomes = []
    for at in range(1, 6):
        world, fuse = world_of(), Fuse()
        arm(world, fuse)
        world.create_project()
        fuse.at = fuse.steps + at
        deliver(world, events_of(world, AGREEING), fuse)
        outcomes.append((world.state(), world.words()) == expected)
    assert not all(outcomes)


def _handle_always(consumer: Consumer, value: bytes) -> None:
    event = unwrap(value)
    consumer._handlers[event.type](event)


def test_mask_storage_that_does_not_answer_loses_nothing(world: World) -> None:
    def down(mask_id: str) -> None:
        raise NoAnswer("not reachable")

    world.peers.masks.before_labels = down
    event = world.event_of(world.work(AGREEING[0]), project_id="prj_test0001")
    with pytest.raises(NoAnswer):
        world.handle(event)
    assert world.outbox() == []
    world.peers.masks.before_labels = lambda mask_id: None
    world.handle(event)
    assert world.said(SubmissionChecked)[0].passed


def test_a_project_that_mask_storage_has_not_heard_of_is_no_verdict_on_the_mask(world: World) -> None:
    def not_yet(mask_id: str) -> None:
        raise refused(NotFound, 404, "no project", slug="not-known-yet")

    world.peers.masks.before_labels = not_yet
    with pytest.raises(NotFound):
        world.submit(AGREEING[0])
    assert world.outbox() == []


def test_votes_that_came_in_meanwhile_are_counted_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two consumers of one database: the second finds its plan out of date and starts over."""
    first, second, third = events_of(world, AGREEING)
    world.handle(first)
    make_plan = consumers._plan

    def overtaken(*arguments: Any) -> Any:
        plan = make_plan(*arguments)
        monkeypatch.setattr(consumers, "_plan", make_plan)
        world.handle(third)
        return plan

    monkeypatch.setattr(consumers, "_plan", overtaken)
    with pytest.raises(Exception, match="changed while they were counted"):
        world.handle(second)
    assert world.said(MaskAccepted) == []
    world.handle(second)
    assert len(world.said(MaskAccepted)) == 1


def test_two_consumers_of_one_event_commit_it_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [event, *_] = events_of(world, AGREEING)
    make_plan = consumers._plan

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(consumers, "_plan", make_plan)
        world.handle(event)
        return make_plan(*arguments)

    monkeypatch.setattr(consumers, "_plan", overtaken)
    world.handle(event)  # AlreadyHandled ends here, quietly
    assert len(world.said(SubmissionChecked)) == 1
