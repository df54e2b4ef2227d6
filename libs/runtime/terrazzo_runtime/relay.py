"""The relay: carries what is in the outbox to the bus, in order, at least once."""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_runtime.bus import Bus, Record
from terrazzo_runtime.database import Database
from terrazzo_runtime.tables import RuntimeTables


class Relay:
    """`run_once` publishes a batch, then removes it. A crash between the two publishes it again."""

    def __init__(self, database: Database, tables: RuntimeTables, bus: Bus) -> None:
        self._database = database
        self._outbox = tables.outbox
        self._bus = bus
        self.num_published = 0

    def run_once(self, max_records: int = 256) -> int:
        """Returns how many records were carried."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(self._outbox).order_by(self._outbox.c.sequence).limit(max_records)
            ).all()
        if not rows:
            return 0
        self._bus.publish([Record(row.id, row.topic, row.key, row.value) for row in rows])
        with self._database.write() as connection:
            connection.execute(
                self._outbox.delete().where(self._outbox.c.sequence.in_([row.sequence for row in rows]))
            )
        self.num_published += len(rows)
        return len(rows)

    def waiting(self) -> int:
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(self._outbox)).scalar_one()
