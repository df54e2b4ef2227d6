"""Queries for many samples or commits at once: a part of `store.SqlStore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.statements import Statements
from terrazzo_mask_storage.ports import Commit, Scope, Shown


class ScaleStore(Statements):
    """Implements the part of ports.Store that asks for little of much."""

    def shown(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, Shown]:
        c = tables.images.c
        query = sa.select(c.sample_id, c.image_hash, c.height, c.width).where(*_mine(tables.images, scope))
        rows = self._by_ids(query, c.sample_id, sample_ids)
        return {sample_id: Shown(*rest) for sample_id, *rest in rows}

    def names_of(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, str]:
        c = tables.images.c
        query = sa.select(c.sample_id, c.names).where(*_mine(tables.images, scope))
        return {sample_id: names[0] for sample_id, names in self._by_ids(query, c.sample_id, sample_ids)}

    def image_names(self, scope: Scope) -> Iterator[tuple[str, list[str]]]:
        c = tables.images.c
        query = sa.select(c.sample_id, c.names).where(*_mine(tables.images, scope))
        return ((row.sample_id, row.names) for row in self._connection.execute(query))

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
