"""Queries for many samples or commits at once: a part of `store.SqlStore`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.statements import Statements
from terrazzo_mask_storage.ports import Commit, Scope, Shown

_ROWS_AT_ONCE = 10_000
_NAMES = "SELECT sample_id, names FROM images WHERE organisation_id = ? AND project_id = ?"
_SHOWN = """
SELECT sample_id, image_hash, height, width FROM images
WHERE organisation_id = ? AND project_id = ? AND sample_id"""


class ScaleStore(Statements):
    """Implements the part of ports.Store that asks for little of much."""

    def shown(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, Shown]:
        rows = self._by_texts(_SHOWN, (scope.organisation_id, scope.project_id), sample_ids)
        return {row[0]: Shown(row[1], row[2], row[3]) for row in rows}

    def names_of(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, str]:
        rows = self._by_texts(f"{_NAMES} AND sample_id", (scope.organisation_id, scope.project_id), sample_ids)
        return {sample_id: names[0] for sample_id, names in self._with_names(rows)}

    def image_names(self, scope: Scope) -> Iterator[tuple[str, list[str]]]:
        asked = (scope.organisation_id, scope.project_id)
        for rows in self._connection.exec_driver_sql(self._sql(_NAMES), asked).partitions(_ROWS_AT_ONCE):
            yield from self._with_names(rows)

    def _with_names(self, rows: Iterable[Any]) -> Iterator[tuple[str, list[str]]]:
        """(sample id, names) of rows whose names are as the driver gives them."""
        sample_ids, names = tuple(zip(*rows, strict=True)) or ((), ())
        if self._is_sqlite:  # there it is text; one by one it takes three times as long
            names = json.loads(f"[{','.join(names)}]")
        return zip(sample_ids, names, strict=True)

    def commits(self, scope: Scope, commit_ids: Iterable[str]) -> dict[str, Commit]:
        table = tables.commits
        query = sa.select(table).where(*_mine(table, scope))
        return {row.commit_id: commit_of(row) for row in self._by_ids(query, table.c.commit_id, commit_ids)}

    def commits_until(self, scope: Scope, moment: datetime, limit: int) -> list[Commit]:
        table = tables.commits
        query = sa.select(table).where(*_mine(table, scope), table.c.created_at <= moment)
        newest_first = query.order_by(table.c.created_at.desc()).limit(limit)
        return [commit_of(row) for row in self._connection.execute(newest_first)]


def commit_of(row: Any) -> Commit:
    return Commit(
        row.commit_id,
        row.tree_id,
        row.branch,
        tuple(row.parent_ids),
        row.message,
        row.author,
        row.num_samples,
        row.num_changed,
        dict(row.counts),
        row.created_at,
    )


def _mine(table: sa.Table, scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.organisation_id == scope.organisation_id, table.c.project_id == scope.project_id)
