"""The tables that every service's database has: outbox, inbox, dead letters, answered requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone, so it is put back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


@dataclass(frozen=True)
class RuntimeTables:
    outbox: sa.Table
    inbox: sa.Table
    dead_letters: sa.Table
    requests: sa.Table
    revoked_keys: sa.Table


def runtime_tables(metadata: sa.MetaData) -> RuntimeTables:
    """Declare the runtime's tables in a service's metadata (once), and in its first migration."""
    return RuntimeTables(
        outbox=sa.Table(
            "outbox",
            metadata,
            # SQLite counts up only an INTEGER primary key.
            sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
            sa.Column("id", sa.String(64), nullable=False, unique=True),
            sa.Column("topic", sa.String(100), nullable=False),
            sa.Column("key", sa.String(200), nullable=False),
            sa.Column("value", sa.LargeBinary, nullable=False),
            sqlite_autoincrement=True,
        ),
        inbox=sa.Table(
            "inbox",
            metadata,
            sa.Column("event_id", sa.String(64), primary_key=True),
            sa.Column("handled_at", UtcDateTime, nullable=False, index=True),
        ),
        dead_letters=sa.Table(
            "dead_letters",
            metadata,
            sa.Column("event_id", sa.String(64), primary_key=True),
            sa.Column("event_type", sa.String(100), nullable=False),
            sa.Column("source", sa.String(100), nullable=False),
            sa.Column("organisation_id", sa.String(64), nullable=False, index=True),
            sa.Column("project_id", sa.String(64), nullable=False),
            sa.Column("key", sa.String(200), nullable=False),
            sa.Column("topic", sa.String(100), nullable=False),
            sa.Column("value", sa.LargeBinary, nullable=False),
            sa.Column("error", sa.Text, nullable=False),
            sa.Column("attempts", sa.Integer, nullable=False),
            sa.Column("first_failed_at", UtcDateTime, nullable=False),
            sa.Column("parked_at", UtcDateTime, nullable=False),
        ),
        requests=sa.Table(
            "requests",
            metadata,
            sa.Column("organisation_id", sa.String(64), primary_key=True),
            sa.Column("caller", sa.String(64), primary_key=True),
            sa.Column("key", sa.String(200), primary_key=True),
            sa.Column("fingerprint", sa.String(64), nullable=False),
            sa.Column("answer", sa.Text, nullable=False),
            sa.Column("answered_at", UtcDateTime, nullable=False, index=True),
        ),
        revoked_keys=sa.Table(
            "revoked_keys",
            metadata,
            sa.Column("key_id", sa.String(64), primary_key=True),
            sa.Column("revoked_at", UtcDateTime, nullable=False),
        ),
    )
