"""The task service's store on SQLAlchemy Core: one open transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from terrazzo_task.adapters import tables as t
from terrazzo_task.adapters.rows import as_columns, columns, record
from terrazzo_task.adapters.store_projects import ProjectStore
from terrazzo_task.adapters.store_work import WorkStore
from terrazzo_task.domain.projects import Batch


class SqlStore(ProjectStore, WorkStore):
    """Implements ports.Store; the batches are here, the rest in the two that it is made of."""

    def add_batch(self, batch: Batch) -> Batch:
        result = self._connection.execute(t.batches.insert().values(columns(batch)))
        assert result.inserted_primary_key is not None
        return replace(batch, sequence=result.inserted_primary_key[0])

    def batch(self, organisation_id: str, batch_id: str, *, for_change: bool = False) -> Batch | None:
        query = sa.select(t.batches).where(
            t.batches.c.organisation_id == organisation_id, t.batches.c.batch_id == batch_id
        )
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return record(Batch, row) if row else None

    def batches(self, organisation_id: str, project_id: str, after: int | None, limit: int) -> list[Batch]:
        query = sa.select(t.batches).where(
            t.batches.c.organisation_id == organisation_id, t.batches.c.project_id == project_id
        )
        if after is not None:
            query = query.where(t.batches.c.sequence > after)
        rows = self._connection.execute(query.order_by(t.batches.c.sequence).limit(limit))
        return [record(Batch, row) for row in rows]

    def change_batch(self, batch: Batch, **changes: Any) -> Batch:
        self._connection.execute(
            t.batches.update().where(t.batches.c.batch_id == batch.batch_id).values(as_columns(changes))
        )
        return replace(batch, **changes)

    def stalled_batches(self, proposed_before: datetime) -> list[Batch]:
        query = (
            sa.select(t.batches)
            .where(t.batches.c.state == "proposing", t.batches.c.proposed_at < proposed_before)
            .order_by(t.batches.c.sequence)
            .with_for_update()
        )
        return [record(Batch, row) for row in self._connection.execute(query)]
