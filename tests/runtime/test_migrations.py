"""Each service's migrations make exactly the tables that its code declares."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from terrazzo_runtime.database import Database
from terrazzo_runtime.service import Ports
from terrazzo_runtime.settings import SERVICES


def versions_of(service: str) -> Path:
    package = Path(str(import_module(f"terrazzo_{service}").__file__)).parent
    return package / "adapters" / "migrations" / "versions"


def metadata_of(service: str) -> sa.MetaData:
    tables = import_module(f"terrazzo_{service}.adapters.tables")
    found: sa.MetaData = next(v for v in vars(tables).values() if isinstance(v, sa.MetaData))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_the_migrated_schema_is_the_declared_one(service: str, ports_factory: Callable[..., Ports]) -> None:
    database: Database = ports_factory(service).database
    database.migrate(versions_of(service))
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata_of(service)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_migrating_down_and_up_again_works(service: str, ports_factory: Callable[..., Ports]) -> None:
    database: Database = ports_factory(service).database
    versions = versions_of(service)
    database.migrate(versions)
    command.downgrade(database.alembic_config(versions), "base")
    with database.engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    database.migrate(versions)
    database.migrate(versions)
