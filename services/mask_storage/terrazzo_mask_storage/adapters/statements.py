"""Statements that the parts of the store share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

# Both databases take more values in one IN than this; statements stay short enough to be planned quickly.
IN_MAX = 1_000


class Statements:
    """Queries and writes on one connection, inside its transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def _first(self, query: sa.Select[Any]) -> Any:
        return self._connection.execute(query).first()

    def _by_ids(self, query: sa.Select[Any], column: sa.Column[Any], ids: Iterable[str]) -> Iterator[Any]:
        for chunk in chunks(ids):
            yield from self._connection.execute(query.where(column.in_(chunk)))

    def _add(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert the rows that are not there."""
        if rows:
            self._connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _put(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert, or replace what is not part of the primary key."""
        if not rows:
            return
        insert = self._insert(table)
        keys = [column.name for column in table.primary_key.columns]
        changed = {name: insert.excluded[name] for name in rows[0] if name not in keys}
        self._connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        is_sqlite = self._connection.dialect.name == "sqlite"
        return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), IN_MAX):
        yield distinct[start : start + IN_MAX]
