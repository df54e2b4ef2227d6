"""The unit of work: state, inbox row, outbox rows and the request's answer go in one commit.

    with uow.begin(cause=event) as tx:      # raises AlreadyHandled for a second delivery
        tx.store.add(...)
        tx.publish(MaskAccepted(...), key=sample_id, ...)

Nothing else commits, and nothing is published in any other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError, OperationalError

from terrazzo_runtime.clock import Clock
from terrazzo_runtime.database import Database
from terrazzo_runtime.tables import RuntimeTables
from terrazzo_schema.errors import IdempotencyKeyReused, StorageFull
from terrazzo_schema.events import Event, topic_of, wrap_many
from terrazzo_schema.ids import new_ids

S = TypeVar("S")
V = TypeVar("V", bound=BaseModel)

trace_id: ContextVar[str] = ContextVar("trace_id", default="")


class AlreadyHandled(Exception):
    """This event was handled before (at-least-once delivery)."""


class AlreadyAnswered(Exception):
    """This request was answered before; `answer` is the JSON that it got."""

    def __init__(self, answer: str) -> None:
        super().__init__("this request was answered before")
        self.answer = answer


@dataclass(frozen=True)
class Once:
    """A client's write, named by its idempotency key. The fingerprint tells a retry from another request."""

    organisation_id: str
    caller: str
    key: str
    fingerprint: str


class Tx(Generic[S]):
    """An open transaction: the service's store, and what is said when it commits."""

    def __init__(
        self, uow: UnitOfWork[S], connection: sa.Connection, cause: Event | None, once: Once | None
    ) -> None:
        self._uow = uow
        self._cause = cause
        self._once = once
        self.connection = connection
        self.store: S = uow.make_store(connection)
        self.clock = uow.clock

    def publish(self, message: Message, *, key: str, organisation_id: str, project_id: str) -> str:
        """Say an event when (and only when) this transaction commits. Returns the event's id."""
        [event_id] = self.publish_many([(message, key)], organisation_id=organisation_id, project_id=project_id)
        return event_id

    def publish_many(
        self, messages: Sequence[tuple[Message, str]], *, organisation_id: str, project_id: str
    ) -> list[str]:
        """As `publish`, of several (message, key) in one statement. Returns the events' ids."""
        if not messages:
            return []
        uow, cause, once = self._uow, self._cause, self._once
        now, topic = uow.clock.now(), topic_of(uow.service)
        causation_id = cause.id if cause else (once.key if once else "")
        trace = cause.trace_id if cause else trace_id.get()
        ids = new_ids("evt", len(messages))
        message, key = messages[0]
        like = Event(ids[0], uow.service, now, organisation_id, project_id, key, causation_id, trace, message)
        keys = [key for _, key in messages]
        values = wrap_many(like, zip(ids, keys, (message for message, _ in messages), strict=True))
        rows = [
            (id_, topic, f"{project_id}/{key}", value) for id_, key, value in zip(ids, keys, values, strict=True)
        ]
        # As the driver takes it: of what is written by the thousand, that is half of the time.
        mark = "?" if self.connection.dialect.name == "sqlite" else "%s"
        marks = ", ".join([mark] * 4)
        self.connection.exec_driver_sql(f"INSERT INTO outbox (id, topic, key, value) VALUES ({marks})", rows)
        return ids

    @contextmanager
    def part(self) -> Iterator[None]:
        """What is done in it is taken back alone if it raises: the rest of the transaction may go on."""
        with self.connection.begin_nested():
            yield

    def remember(self, answer: BaseModel) -> None:
        """Keep the answer to this request, so that its retry gets the same one."""
        if self._once is None:
            return
        self.connection.execute(
            self._uow.tables.requests.insert().values(
                organisation_id=self._once.organisation_id,
                caller=self._once.caller,
                key=self._once.key,
                fingerprint=self._once.fingerprint,
                answer=answer.model_dump_json(),
                answered_at=self._uow.clock.now(),
            )
        )


class UnitOfWork(Generic[S]):
    """Opens transactions over one service's database.

    `committed` is called after each commit (the relay listens: there may be news in the outbox).
    """

    def __init__(
        self,
        service: str,
        database: Database,
        tables: RuntimeTables,
        make_store: Callable[[sa.Connection], S],
        clock: Clock,
    ) -> None:
        self.service = service
        self.database = database
        self.tables = tables
        self.make_store = make_store
        self.clock = clock
        self.committed: Callable[[], None] = lambda: None

    @contextmanager
    def begin(self, *, cause: Event | None = None, once: Once | None = None) -> Iterator[Tx[S]]:
        """One transaction. Raises AlreadyHandled / AlreadyAnswered before anything is done twice,
        IdempotencyKeyReused for a key that came with another request, StorageFull when the disk is."""
        try:
            with self.database.write() as connection:
                if cause is not None:
                    self._enter_inbox(connection, cause)
                if once is not None:
                    self._refuse_second(connection, once)
                yield Tx(self, connection, cause, once)
        except OperationalError as error:
            if "full" in str(error.orig):
                raise StorageFull("the database has no room; nothing was stored") from error
            raise
        self.committed()

    @contextmanager
    def read(self) -> Iterator[S]:
        """A consistent snapshot, to read only."""
        with self.database.read() as connection:
            yield self.make_store(connection)

    def once(self, once: Once | None, view: type[V], action: Callable[[Tx[S]], V]) -> V:
        """Run `action` in one transaction, and exactly once per idempotency key."""
        try:
            with self.begin(once=once) as tx:
                answer = action(tx)
                tx.remember(answer)
                return answer
        except AlreadyAnswered as done:
            return view.model_validate_json(done.answer)

    def _enter_inbox(self, connection: sa.Connection, cause: Event) -> None:
        try:
            connection.execute(self.tables.inbox.insert().values(event_id=cause.id, handled_at=self.clock.now()))
        except IntegrityError:
            raise AlreadyHandled(cause.id) from None

    def _refuse_second(self, connection: sa.Connection, once: Once) -> None:
        requests = self.tables.requests
        row = connection.execute(
            sa.select(requests.c.fingerprint, requests.c.answer).where(
                requests.c.organisation_id == once.organisation_id,
                requests.c.caller == once.caller,
                requests.c.key == once.key,
            )
        ).first()
        if row is None:
            return
        if row.fingerprint != once.fingerprint:
            raise IdempotencyKeyReused(
                f"the idempotency key {once.key!r} was used for a different request",
                field="Idempotency-Key",
                value=once.key,
                remedy="use a new key for a new request",
            )
        raise AlreadyAnswered(row.answer)
