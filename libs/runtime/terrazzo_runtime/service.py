"""A service as the composition root sees it: an app, its loops, and one step of each for tests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from terrazzo_runtime.auth import TokenAuthority
from terrazzo_runtime.blobs import Blobs
from terrazzo_runtime.bus import Bus
from terrazzo_runtime.clock import Clock
from terrazzo_runtime.consumer import Consumer, Handler
from terrazzo_runtime.database import Database
from terrazzo_runtime.relay import Relay
from terrazzo_runtime.settings import Settings
from terrazzo_runtime.tables import RuntimeTables
from terrazzo_runtime.unit_of_work import UnitOfWork
from terrazzo_schema.events import Event, KeyRevoked

if TYPE_CHECKING:
    from fastapi import FastAPI

    from terrazzo_client import TerrazzoClient

log = logging.getLogger("terrazzo.service")
S = TypeVar("S")


class Peers(Protocol):
    """The other services, over REST, on behalf of an organisation."""

    def client(self, service: str, organisation_id: str) -> TerrazzoClient:
        """A client that `service` may use; kept and shared, so never closed by its user."""
        ...


@dataclass(frozen=True)
class Ports:
    """What a service is given. The composition root chose each."""

    settings: Settings
    clock: Clock
    database: Database
    bus: Bus
    blobs: Blobs
    authority: TokenAuthority
    peers: Peers


@dataclass
class Worker:
    """A background job: `run_once` does a piece and returns how much it did (0: wait for `interval_s`)."""

    name: str
    run_once: Callable[[], int]
    interval_s: float = 0.5


@dataclass
class Service:
    """`prefixes` are the path prefixes that this service answers, e.g. "/v1/tasks"."""

    name: str
    prefixes: tuple[str, ...]
    app: FastAPI
    uow: UnitOfWork[Any]
    relay: Relay
    consumer: Consumer
    workers: list[Worker] = field(default_factory=list)
    on_stop: list[Callable[[], None]] = field(default_factory=list)
    inbox_keep: timedelta = timedelta(days=30)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _news: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Run the relay, the consumer and the workers in threads of their own until `stop`."""
        self._stopping.clear()
        self.uow.committed = self._news.set
        loops: list[tuple[str, Callable[[], int], Callable[[], None]]] = [
            ("relay", self.relay.run_once, self._await_news),
            ("consumer", lambda: self.consumer.run_once(timeout_s=0.5), lambda: None),
            ("housekeeping", self._tidy, lambda: self._pause(3_600)),
        ]
        for worker in self.workers:
            loops.append((worker.name, worker.run_once, lambda w=worker: self._pause(w.interval_s)))  # type: ignore[misc]
        for name, step, wait in loops:
            thread = threading.Thread(
                target=self._loop, args=(name, step, wait), name=f"{self.name}-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self._threads.clear()
        self.consumer.close()
        for close in self.on_stop:
            close()

    def step(self) -> int:
        """One turn of everything, in this thread: for tests that must control the order."""
        done = self.relay.run_once() + self.consumer.run_once()
        return done + sum(worker.run_once() for worker in self.workers)

    def _loop(self, name: str, step: Callable[[], int], wait: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                done = step()
            except Exception:
                if self._stopping.is_set():
                    return
                log.exception("%s %s failed; it goes on in a second", self.name, name)
                self._pause(1.0)
                continue
            if done == 0:
                wait()

    def _await_news(self) -> None:
        self._news.wait(timeout=1.0)
        self._news.clear()

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(timeout=seconds)

    def _tidy(self) -> int:
        self.consumer.forget_before(self.inbox_keep)
        return 0


def assemble(
    name: str,
    prefixes: tuple[str, ...],
    ports: Ports,
    *,
    tables: RuntimeTables,
    make_store: Callable[[sa.Connection], S],
    migrations: Path,
    version: str,
) -> Service:
    """Migrate the database and build a service without routes and handlers; the caller adds those.

    `service.app.include_router(...)` for HTTP, `handle(service, ports, {...})` for events.
    """
    from terrazzo_runtime.http import build_app
    from terrazzo_runtime.ops import ops_router

    ports.database.migrate(migrations)
    uow: UnitOfWork[S] = UnitOfWork(name, ports.database, tables, make_store, ports.clock)
    app = build_app(
        f"Terrazzo {name}",
        version,
        ports.authority,
        ports.settings.max_body_bytes,
        openapi_url=f"/v1/ops/{name}/openapi.json",
    )
    service = Service(
        name=name,
        prefixes=(*prefixes, f"/v1/ops/{name}"),
        app=app,
        uow=uow,
        relay=Relay(ports.database, tables, ports.bus),
        consumer=Consumer(uow, ports.bus, {}),
        inbox_keep=timedelta(days=ports.settings.inbox_keep_days),
    )
    app.state.is_revoked = _revocations(ports, tables)
    app.include_router(ops_router(service))
    return service


def handle(service: Service, ports: Ports, handlers: Mapping[type[Message], Handler]) -> None:
    """Subscribe the service to its events (and to revoked keys, which every service must hear of)."""
    service.consumer = Consumer(
        service.uow,
        ports.bus,
        {KeyRevoked: _on_key_revoked(service.uow), **handlers},
        max_attempts=ports.settings.consumer_attempts,
        backoff_s=ports.settings.consumer_backoff_s,
    )


def _on_key_revoked(uow: UnitOfWork[Any]) -> Handler:
    def on_key_revoked(event: Event) -> None:
        assert isinstance(event.message, KeyRevoked)
        with uow.begin(cause=event) as tx:
            revoked = uow.tables.revoked_keys
            tx.connection.execute(revoked.delete().where(revoked.c.key_id == event.message.key_id))
            tx.connection.execute(revoked.insert().values(key_id=event.message.key_id, revoked_at=tx.clock.now()))

    return on_key_revoked


def _revocations(ports: Ports, tables: RuntimeTables) -> Callable[[str], bool]:
    def is_revoked(key_id: str) -> bool:
        with ports.database.read() as connection:
            query = sa.select(tables.revoked_keys.c.key_id).where(tables.revoked_keys.c.key_id == key_id)
            return connection.execute(query).first() is not None

    return is_revoked
