"""Statements that the parts of the store share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from terrazzo_mask_storage.adapters import tables

# Both databases take more values in one IN than this; statements stay short enough to be planned quickly.
IN_MAX = 1_000


class Statements:
    """Queries and writes on one connection, inside its transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        # For this transaction alone: a number that was given in it goes when it is rolled back.
        self._owners: dict[tuple[str, str], int] = {}

    def _owner(self, organisation_id: str, project_id: str = "") -> int:
        """The number of an organisation or of a project; 0, which nothing has, for one without a number."""
        key = (organisation_id, project_id)
        if key not in self._owners:
            asked = {"of_organisation": organisation_id, "of_project": project_id}
            self._owners[key] = self._connection.execute(_owner_by_name(), asked).scalar() or 0
        return self._owners[key]

    def _owner_for_change(self, organisation_id: str, project_id: str = "") -> int:
        """As `_owner`; one without a number is given one."""
        if not self._owner(organisation_id, project_id):
            # The organisation first, always: two writers then never wait for each other in a ring.
            for project in dict.fromkeys(("", project_id)):
                self._add(tables.owners, [{"organisation_id": organisation_id, "project_id": project}])
                self._owners.pop((organisation_id, project), None)
        return self._owner(organisation_id, project_id)

    def _first(self, query: sa.Select[Any]) -> Any:
        return self._connection.execute(query).first()

    def _by_ids(self, query: sa.Select[Any], column: sa.ColumnElement[Any], ids: Iterable[str]) -> Iterator[Any]:
        for chunk in chunks(ids):
            yield from self._connection.execute(query.where(column.in_(chunk))).all()

    def _by_digests(self, query: str, values: tuple[Any, ...], digests: Iterable[str]) -> Iterator[Any]:
        """Rows of a query (SQL as of `_each`) that ends before "IN (...)", for hashes in hex after `values`.

        Digests come back as the bytes that they are.
        """
        for chunk in chunks(digests):
            yield from self._among(query, (*values, *map(bytes.fromhex, chunk)), len(chunk))

    def _by_texts(self, query: str, values: tuple[Any, ...], texts: Iterable[str]) -> Iterator[Any]:
        """As `_by_digests`, of text."""
        for chunk in chunks(texts):
            yield from self._among(query, (*values, *chunk), len(chunk))

    def _among(self, query: str, asked: tuple[Any, ...], num: int) -> Sequence[Any]:
        sql = f"{query} IN ({', '.join('?' * num)})"
        return self._connection.exec_driver_sql(self._sql(sql), asked).all()

    def _each(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement (in what SQL both databases share, "?" for a value) once for each row.

        Values go to the driver as they are: numbers, text, bytes or None. Of what is written by the thousand this
        is a third of the time that a row takes otherwise.
        """
        if rows:
            self._connection.exec_driver_sql(self._sql(statement), list(rows))

    def _sql(self, text: str) -> str:
        return text if self._is_sqlite else text.replace("?", "%s")

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
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    @property
    def _is_sqlite(self) -> bool:
        return self._connection.dialect.name == "sqlite"


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), IN_MAX):
        yield distinct[start : start + IN_MAX]


@cache
def _owner_by_name() -> sa.Select[Any]:
    c = tables.owners.c
    return sa.select(c.owner).where(
        c.organisation_id == sa.bindparam("of_organisation", type_=sa.String),
        c.project_id == sa.bindparam("of_project", type_=sa.String),
    )
