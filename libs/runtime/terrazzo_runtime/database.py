"""The database port: one database per service, SQLite or PostgreSQL, behind SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Connections and transactions. Writers of an SQLite file take turns from their first statement on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        options: dict[str, Any] = {"pool_size": 16, "max_overflow": 48} if self.is_sqlite else {}
        self.engine = sa.create_engine(url, **options)
        if self.is_sqlite:
            _prepare_sqlite(self.engine)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that may write. Commits at the end of the block, rolls back on any error."""
        with self.engine.connect().execution_options(terrazzo_write=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent snapshot to read from. Nothing is committed."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def migrate(self, versions: Path) -> None:
        """Bring the schema to the newest of the alembic revisions in folder `versions`."""
        newest = max((p.stem for p in versions.glob("[0-9]*.py")), default=None)
        if newest is not None and self._revision() == newest.split("_")[0]:
            return  # the usual start: alembic itself need not be imported
        from alembic import command

        command.upgrade(self.alembic_config(versions), "head")

    def alembic_config(self, versions: Path) -> Any:
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("version_locations", str(versions).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        config.attributes["engine"] = self.engine
        return config

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
            return row[0] if row else None

    def close(self) -> None:
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.absolute()}"


def _prepare_sqlite(engine: sa.Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that later writes can fail with 'database is locked' at once, busy
        # timeout or not; writers therefore queue at BEGIN.
        write = connection.get_execution_options().get("terrazzo_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
