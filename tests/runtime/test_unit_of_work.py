"""One commit for state, inbox, outbox and answers; handlers retried, then parked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from terrazzo_runtime.consumer import Consumer
from terrazzo_runtime.relay import Relay
from terrazzo_runtime.service import Ports
from terrazzo_runtime.tables import runtime_tables
from terrazzo_runtime.unit_of_work import AlreadyHandled, Once, UnitOfWork
from terrazzo_schema.errors import CorruptInput, IdempotencyKeyReused, NotFound
from terrazzo_schema.events import Event, MaskAccepted, ProjectCreated, unwrap, wrap

METADATA = sa.MetaData()
TABLES = runtime_tables(METADATA)
NOTES = sa.Table("notes", METADATA, sa.Column("text", sa.String(100), primary_key=True))


class Notes:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, text: str) -> None:
        self._connection.execute(NOTES.insert().values(text=text))

    def all(self) -> list[str]:
        return list(self._connection.execute(sa.select(NOTES.c.text).order_by(NOTES.c.text)).scalars())


class Answer(BaseModel):
    text: str


@pytest.fixture
def ports(ports_factory: Callable[..., Ports]) -> Ports:
    ports = ports_factory("qa")
    METADATA.create_all(ports.database.engine)
    return ports


@pytest.fixture
def uow(ports: Ports) -> UnitOfWork[Notes]:
    return UnitOfWork("qa", ports.database, TABLES, Notes, ports.clock)


def publish(tx: Any, sample_id: str = "smp_1") -> None:
    tx.publish(MaskAccepted(sample_id=sample_id), key=sample_id, organisation_id="org_1", project_id="prj_1")


def notes(uow: UnitOfWork[Notes]) -> list[str]:
    with uow.read() as store:
        return store.all()


def test_state_and_events_are_committed_together_or_not_at_all(uow: UnitOfWork[Notes], ports: Ports) -> None:
    relay = Relay(ports.database, TABLES, ports.bus)

    def write_then_crash() -> None:
        with uow.begin() as tx:
            tx.store.add("lost")
            publish(tx)
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        write_then_crash()
    assert notes(uow) == []
    assert relay.waiting() == 0
    with uow.begin() as tx:
        tx.store.add("kept")
        publish(tx)
    assert notes(uow) == ["kept"]
    assert relay.waiting() == 1


def test_the_relay_publishes_again_when_it_crashed_before_it_could_note_it(
    uow: UnitOfWork[Notes], ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    with uow.begin() as tx:
        publish(tx)
    relay = Relay(ports.database, TABLES, ports.bus)
    with monkeypatch.context() as patched:

        def crash() -> None:
            raise RuntimeError("killed")

        patched.setattr(ports.database, "write", crash)
        with pytest.raises(RuntimeError):
            relay.run_once()
    assert relay.run_once() == 1
    assert relay.run_once() == 0
    subscription = ports.bus.subscribe("x", ["terrazzo.qa.v1"])
    ids = []
    while deliveries := subscription.poll(8, 0.0):
        ids += [unwrap(d.record.value).id for d in deliveries]
        for delivery in deliveries:
            subscription.ack(delivery)
    assert len(ids) == 2
    assert len(set(ids)) == 1, "the copies carry one id, so that an inbox can tell"


def test_an_event_is_handled_once_however_often_it_comes(uow: UnitOfWork[Notes], event_of: Any) -> None:
    event = event_of(ProjectCreated(name="p"))
    with uow.begin(cause=event) as tx:
        tx.store.add("once")
    with pytest.raises(AlreadyHandled), uow.begin(cause=event) as tx:
        tx.store.add("twice")
    assert notes(uow) == ["once"]


def test_a_retried_request_gets_the_first_answer_and_does_nothing(uow: UnitOfWork[Notes]) -> None:
    once = Once("org_1", "key_1", "retry-1", "f")

    def act(tx: Any) -> Answer:
        tx.store.add("done")
        return Answer(text="first")

    assert uow.once(once, Answer, act) == uow.once(once, Answer, act) == Answer(text="first")
    with pytest.raises(IdempotencyKeyReused):
        uow.once(Once("org_1", "key_1", "retry-1", "another body"), Answer, act)
    # The same key of another caller is another key.
    with pytest.raises(sa.exc.IntegrityError):
        uow.once(Once("org_1", "key_2", "retry-1", "f"), Answer, act)


def consumer_of(uow: UnitOfWork[Notes], ports: Ports, handler: Callable[[Event], None]) -> Consumer:
    return Consumer(uow, ports.bus, {MaskAccepted: handler}, max_attempts=3, backoff_s=0.001)


def send(uow: UnitOfWork[Notes], ports: Ports, *sample_ids: str) -> None:
    with uow.begin() as tx:
        for sample_id in sample_ids:
            publish(tx, sample_id)
    Relay(ports.database, TABLES, ports.bus).run_once()


def run_until_idle(consumer: Consumer) -> None:
    while consumer.run_once(timeout_s=0.1):
        pass


def dead_letters(ports: Ports) -> list[Any]:
    with ports.database.read() as connection:
        return list(connection.execute(sa.select(TABLES.dead_letters)).mappings())


def test_a_failing_event_is_retried_then_parked_and_others_go_on(uow: UnitOfWork[Notes], ports: Ports) -> None:
    tries: list[str] = []

    def handler(event: Event) -> None:
        assert isinstance(event.message, MaskAccepted)
        tries.append(event.message.sample_id)
        if event.message.sample_id == "bad":
            raise ValueError("it always fails")
        with uow.begin(cause=event) as tx:
            tx.store.add(event.message.sample_id)

    consumer = consumer_of(uow, ports, handler)
    send(uow, ports, "bad", "good")
    run_until_idle(consumer)
    assert tries.count("bad") == 3
    assert notes(uow) == ["good"]
    (dead,) = dead_letters(ports)
    assert dead["attempts"] == 3
    assert "it always fails" in dead["error"]


def test_a_dead_letter_is_replayed_when_its_cause_is_gone(uow: UnitOfWork[Notes], ports: Ports) -> None:
    broken = True

    def handler(event: Event) -> None:
        if broken:
            raise ValueError("down")
        with uow.begin(cause=event) as tx:
            tx.store.add("replayed")

    consumer = consumer_of(uow, ports, handler)
    send(uow, ports, "s")
    run_until_idle(consumer)
    (dead,) = dead_letters(ports)
    with pytest.raises(NotFound):
        consumer.replay(dead["event_id"], "org_other")
    with pytest.raises(ValueError, match="down"):
        consumer.replay(dead["event_id"], "org_1")
    assert dead_letters(ports), "a replay that fails keeps it"
    broken = False
    consumer.replay(dead["event_id"], "org_1")
    assert notes(uow) == ["replayed"]
    assert dead_letters(ports) == []


def test_a_handler_with_nothing_to_change_still_leaves_an_inbox_row(uow: UnitOfWork[Notes], ports: Ports) -> None:
    calls = []
    consumer = consumer_of(uow, ports, calls.append)
    send(uow, ports, "s")
    run_until_idle(consumer)
    value = wrap(calls[0])
    consumer.handle(value)
    assert len(calls) == 1


def test_the_inbox_forgets_only_what_is_older_than_asked(
    uow: UnitOfWork[Notes], ports: Ports, event_of: Any, clock: Any
) -> None:
    event = event_of(MaskAccepted(sample_id="s"))
    with uow.begin(cause=event):
        pass
    consumer = consumer_of(uow, ports, lambda _: None)
    clock.advance(3_600)
    consumer.forget_before(timedelta(hours=2))
    with pytest.raises(AlreadyHandled), uow.begin(cause=event):
        pass
    consumer.forget_before(timedelta(minutes=30))
    with uow.begin(cause=event):
        pass


def test_bytes_that_are_no_event_are_parked_at_once(uow: UnitOfWork[Notes], ports: Ports) -> None:
    from terrazzo_runtime.bus import Record

    ports.bus.publish([Record("x", "terrazzo.qa.v1", "k", b"\xff\xfe not an envelope")])
    consumer = consumer_of(uow, ports, lambda _: None)
    run_until_idle(consumer)
    (dead,) = dead_letters(ports)
    assert dead["event_type"] == "unknown"
    with pytest.raises(CorruptInput):
        consumer.replay(dead["event_id"], "org_1")
