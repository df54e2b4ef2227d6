"""Merges, conflicts, gates and branches in the database: a part of `store.SqlStore`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.statements import Statements
from terrazzo_mask_storage.domain.merge_records import (
    Clashing,
    Conflict,
    GatesFile,
    MeasuredAgreement,
    Merge,
    Report,
)
from terrazzo_mask_storage.ports import Scope

_IN_MAX = 1_000


class MergeStore(Statements):
    """Implements the part of ports.Store that merges and gates need."""

    # the commit DAG

    def graph(self, scope: Scope) -> dict[str, tuple[str, ...]]:
        """Every commit's parents, in one query."""
        c = tables.commits.c
        query = sa.select(c.commit_id, c.parent_ids).where(*_within(tables.commits, scope))
        return {row.commit_id: tuple(row.parent_ids) for row in self._connection.execute(query)}

    def head_for_change(self, scope: Scope, branch: str) -> str | None:
        table = tables.branches
        query = sa.select(table.c.commit_id).where(*_within(table, scope), table.c.name == branch)
        row = self._connection.execute(query.with_for_update()).first()
        return None if row is None else str(row.commit_id)

    def remove_branch(self, scope: Scope, branch: str) -> None:
        branches, staged = tables.branches, tables.staged
        mine = staged.c.owner == self._owner(scope.organisation_id, scope.project_id)
        self._connection.execute(branches.delete().where(*_within(branches, scope), branches.c.name == branch))
        self._connection.execute(staged.delete().where(mine, staged.c.branch == branch))

    # merges

    def add_merge(self, scope: Scope, merge: Merge) -> None:
        self._connection.execute(tables.merges.insert().values(**_keys(scope), **_columns(merge)))

    def merge(self, scope: Scope, merge_id: str, *, for_change: bool = False) -> Merge | None:
        table = tables.merges
        query = sa.select(table).where(*_within(table, scope), table.c.merge_id == merge_id)
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return None if row is None else _merge(row)

    def change_merge(self, scope: Scope, merge: Merge) -> None:
        table = tables.merges
        where = (*_within(table, scope), table.c.merge_id == merge.merge_id)
        self._connection.execute(table.update().where(*where).values(_columns(merge)))

    def merges(self, scope: Scope, before: str | None, limit: int) -> list[Merge]:
        table = tables.merges
        query = sa.select(table).where(*_within(table, scope))
        if before is not None:
            query = query.where(table.c.merge_id < before)
        rows = self._connection.execute(query.order_by(table.c.merge_id.desc()).limit(limit))
        return [_merge(row) for row in rows]

    def open_merges_into(self, scope: Scope, branch: str) -> list[Merge]:
        table = tables.merges
        query = sa.select(table).where(*_within(table, scope), table.c.target == branch, table.c.state == "open")
        return [_merge(row) for row in self._connection.execute(query.order_by(table.c.merge_id))]

    def decided_merges(self, limit: int) -> list[tuple[Scope, str]]:
        c = tables.merges.c
        query = (
            sa.select(c.organisation_id, c.project_id, c.merge_id)
            .where(c.state == "open", c.num_resolved >= c.num_conflicts)
            .order_by(c.merge_id)
            .limit(limit)
        )
        return [(Scope(row[0], row[1]), row[2]) for row in self._connection.execute(query)]

    # conflicts

    def add_conflicts(self, scope: Scope, conflicts: Iterable[Conflict]) -> None:
        rows = [{**_keys(scope), **_conflict_columns(conflict)} for conflict in conflicts]
        if rows:
            self._connection.execute(tables.merge_conflicts.insert(), rows)

    def conflict(self, scope: Scope, conflict_id: str, *, for_change: bool = False) -> Conflict | None:
        table = tables.merge_conflicts
        query = sa.select(table).where(*_within(table, scope), table.c.conflict_id == conflict_id)
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return None if row is None else _conflict(row)

    def conflicts(
        self, scope: Scope, merge_id: str, after: str = "", limit: int | None = None, *, withdrawn: bool = False
    ) -> list[Conflict]:
        table = tables.merge_conflicts
        query = sa.select(table).where(
            *_within(table, scope), table.c.merge_id == merge_id, table.c.sample_id > after
        )
        if not withdrawn:
            query = query.where(table.c.state != "withdrawn")
        rows = self._connection.execute(query.order_by(table.c.sample_id, table.c.conflict_id).limit(limit))
        return [_conflict(row) for row in rows]

    def change_conflict(self, scope: Scope, conflict: Conflict) -> None:
        table = tables.merge_conflicts
        where = (*_within(table, scope), table.c.conflict_id == conflict.conflict_id)
        changed = {"state": conflict.state, "mask_id": conflict.mask_id, "resolved_by": conflict.resolved_by}
        self._connection.execute(table.update().where(*where).values(changed))

    # gates

    def gates(self, scope: Scope, version: int | None = None) -> GatesFile | None:
        table = tables.gates
        query = sa.select(table).where(*_within(table, scope)).order_by(table.c.version.desc()).limit(1)
        if version is not None:
            query = query.where(table.c.version == version)
        row = self._connection.execute(query).first()
        return None if row is None else _read(GatesFile, row)

    def add_gates(self, scope: Scope, gates: GatesFile) -> None:
        self._connection.execute(tables.gates.insert().values(**_keys(scope), **asdict(gates)))

    def add_report(self, scope: Scope, report: Report) -> None:
        if self.report(scope, report.report_id) is None:
            values = {**_keys(scope), **asdict(report), "outcomes": [dict(o) for o in report.outcomes]}
            self._connection.execute(tables.gate_reports.insert().values(values))

    def report(self, scope: Scope, report_id: str) -> Report | None:
        table = tables.gate_reports
        query = sa.select(table).where(*_within(table, scope), table.c.report_id == report_id)
        row = self._connection.execute(query).first()
        return None if row is None else _read(Report, row)

    def reports(self, scope: Scope, before: str | None, limit: int) -> list[Report]:
        table = tables.gate_reports
        query = sa.select(table).where(*_within(table, scope))
        if before is not None:
            query = query.where(table.c.report_id < before)
        rows = self._connection.execute(query.order_by(table.c.report_id.desc()).limit(limit))
        return [_read(Report, row) for row in rows]

    def put_agreement(self, scope: Scope, said: MeasuredAgreement) -> None:
        table = tables.agreements
        where = (*_within(table, scope), table.c.sample_id == said.sample_id)
        known = self._connection.execute(sa.select(table).where(*where).with_for_update()).first()
        if known is None:
            self._connection.execute(table.insert().values(**_keys(scope), **asdict(said)))
        elif known.said_at <= said.said_at:
            self._connection.execute(table.update().where(*where).values(asdict(said)))

    def agreements(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, float]:
        table = tables.agreements
        ids, found = list(dict.fromkeys(sample_ids)), {}
        for start in range(0, len(ids), _IN_MAX):
            chunk = ids[start : start + _IN_MAX]
            query = sa.select(table.c.sample_id, table.c.agreement).where(
                *_within(table, scope), table.c.sample_id.in_(chunk)
            )
            found.update({row.sample_id: row.agreement for row in self._connection.execute(query)})
        return found


def _within(table: sa.Table, scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.organisation_id == scope.organisation_id, table.c.project_id == scope.project_id)


def _keys(scope: Scope) -> dict[str, str]:
    return {"organisation_id": scope.organisation_id, "project_id": scope.project_id}


def _columns(merge: Merge) -> dict[str, Any]:
    return {**asdict(merge), "base_commit_ids": list(merge.base_commit_ids)}


def _merge(row: Any) -> Merge:
    values = {field.name: getattr(row, field.name) for field in fields(Merge)}
    return Merge(**{**values, "base_commit_ids": tuple(row.base_commit_ids)})


def _conflict_columns(conflict: Conflict) -> dict[str, Any]:
    """A conflict as a row: what is clashing lies flat in it."""
    columns = asdict(conflict)
    columns.update(columns.pop("clashing"))
    return columns


def _conflict(row: Any) -> Conflict:
    clashing = {field.name: getattr(row, field.name) for field in fields(Clashing)}
    clashing["box"] = None if row.box is None else tuple(row.box)
    clashing["boxes"] = tuple(tuple(box) for box in row.boxes)
    clashing["flow"] = tuple(tuple(pair) for pair in row.flow)
    return Conflict(row.conflict_id, row.merge_id, Clashing(**clashing), row.state, row.mask_id, row.resolved_by)


def _read(record: type[Any], row: Any) -> Any:
    values = {field.name: getattr(row, field.name) for field in fields(record)}
    if record is Report:
        values["outcomes"] = tuple(values["outcomes"])
    return record(**values)
