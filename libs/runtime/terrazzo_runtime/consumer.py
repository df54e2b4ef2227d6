"""The consumer: takes a service's events off the bus, once each in effect.

A handler that fails is tried again with growing waits; its key's later events wait behind it. After
the last try the event is parked as a dead letter, where a person can see and replay it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message

from terrazzo_runtime.bus import Bus, Delivery, Record
from terrazzo_runtime.unit_of_work import AlreadyHandled, UnitOfWork
from terrazzo_schema.errors import CorruptInput, NotFound
from terrazzo_schema.events import SOURCE_OF, Event, peek_type, topic_of, type_name, unwrap
from terrazzo_schema.ids import content_hash

log = logging.getLogger("terrazzo.consumer")

Handler = Callable[[Event], None]
"""Handles one event. It opens `uow.begin(cause=event)` itself: what it fetches over REST or writes as
blobs comes before, and the state change and the inbox row go in one commit. One that has
nothing to change returns; the inbox row is then written for it."""


@dataclass
class _Failure:
    attempts: int
    first_failed_at: datetime


class Consumer:
    def __init__(
        self,
        uow: UnitOfWork[Any],
        bus: Bus,
        handlers: Mapping[type[Message], Handler],
        *,
        max_attempts: int = 8,
        backoff_s: float = 0.05,
    ) -> None:
        self._uow = uow
        self._handlers = {type_name(message): handler for message, handler in handlers.items()}
        self._max_attempts = max_attempts
        self._backoff_s = backoff_s
        self._failures: dict[str, _Failure] = {}
        topics = sorted({topic_of(SOURCE_OF[name]) for name in self._handlers})
        self._subscription = bus.subscribe(uow.service, topics) if topics else None
        self.num_consumed = 0

    def run_once(self, timeout_s: float = 0.0, max_records: int = 32) -> int:
        """Handle what is there. Returns how many deliveries were taken off the bus."""
        if self._subscription is None:
            return 0
        deliveries = self._subscription.poll(max_records, timeout_s)
        for delivery in deliveries:
            self._deliver(delivery)
        return len(deliveries)

    def _deliver(self, delivery: Delivery) -> None:
        assert self._subscription is not None
        record = delivery.record
        try:
            self.handle(record.value)
        except Exception as error:  # noqa: BLE001 - a handler may fail in any way; it is retried, then parked
            failure = self._failures.setdefault(record.id, _Failure(0, self._uow.clock.now()))
            failure.attempts += 1
            if failure.attempts < self._max_attempts and not isinstance(error, CorruptInput):
                log.info("try %d of %s failed: %s", failure.attempts, record.id, error)
                self._subscription.nack(delivery, self._backoff_s * 2 ** (failure.attempts - 1))
                return
            log.warning("parked %s after %d tries: %s", record.id, failure.attempts, error)
            self._park(record, error, failure)
        self._failures.pop(record.id, None)
        self._subscription.ack(delivery)

    def handle(self, value: bytes) -> None:
        """Handle one event's bytes; a second time does nothing."""
        handler = self._handlers.get(peek_type(value))
        if handler is None:
            return
        event = unwrap(value)
        if self._is_handled(event.id):
            return
        try:
            handler(event)
            if not self._is_handled(event.id):
                with self._uow.begin(cause=event):
                    pass
        except AlreadyHandled:
            return
        self.num_consumed += 1

    def _is_handled(self, event_id: str) -> bool:
        inbox = self._uow.tables.inbox
        with self._uow.database.read() as connection:
            return (
                connection.execute(sa.select(inbox.c.event_id).where(inbox.c.event_id == event_id)).first()
                is not None
            )

    def _park(self, record: Record, error: Exception, failure: _Failure) -> None:
        try:
            event: Event | None = unwrap(record.value)
        except CorruptInput:
            event = None
        dead = self._uow.tables.dead_letters
        event_id = event.id if event else "raw_" + content_hash(record.value)[:26]
        lines = traceback.format_exception_only(type(error), error)
        with self._uow.database.write() as connection:
            connection.execute(dead.delete().where(dead.c.event_id == event_id))
            connection.execute(
                dead.insert().values(
                    event_id=event_id,
                    event_type=event.type if event else "unknown",
                    source=event.source if event else "unknown",
                    organisation_id=event.organisation_id if event else "",
                    project_id=event.project_id if event else "",
                    key=record.key,
                    topic=record.topic,
                    value=record.value,
                    error="".join(lines).strip()[:4_000],
                    attempts=failure.attempts,
                    first_failed_at=failure.first_failed_at,
                    parked_at=self._uow.clock.now(),
                )
            )

    def replay(self, event_id: str, organisation_id: str) -> None:
        """Handle a dead letter again; it leaves the store only when that succeeds. Raises NotFound."""
        dead = self._uow.tables.dead_letters
        with self._uow.database.read() as connection:
            row = connection.execute(
                sa.select(dead.c.value).where(
                    dead.c.event_id == event_id, dead.c.organisation_id.in_([organisation_id, ""])
                )
            ).first()
        if row is None:
            raise NotFound(f"no dead letter {event_id}", field="event_id", value=event_id)
        self.handle(row.value)
        with self._uow.database.write() as connection:
            connection.execute(dead.delete().where(dead.c.event_id == event_id))

    def forget_before(self, keep: timedelta) -> None:
        """Drop inbox rows older than `keep` (longer than any redelivery)."""
        inbox = self._uow.tables.inbox
        with self._uow.database.write() as connection:
            connection.execute(inbox.delete().where(inbox.c.handled_at < self._uow.clock.now() - keep))

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
