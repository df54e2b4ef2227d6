"""The store on SQLAlchemy Core: one instance per transaction, each query within an organisation's project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from terrazzo_qa.adapters import tables as t
from terrazzo_qa.domain.records import (
    Acceptance,
    Adjudication,
    Audit,
    AuditItem,
    ConsensusRecord,
    Listing,
    Project,
    Region,
    Sample,
    Scorecard,
    Submission,
    Vote,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


class SqlStore:
    """Implements `terrazzo_qa.ports.Store`."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def project(self, organisation_id: str, project_id: str) -> Project | None:
        return self._one(Project, t.projects, organisation_id, project_id)

    def add_project(self, project: Project) -> None:
        self._add(t.projects, project)

    def replace_ontology(self, organisation_id: str, project_id: str, version: int, ontology_json: str) -> None:
        self._update(
            t.projects, organisation_id, project_id, {}, ontology_version=version, ontology_json=ontology_json
        )

    def replace_settings(self, organisation_id: str, project_id: str, settings: dict[str, Any]) -> None:
        self._update(t.projects, organisation_id, project_id, {}, settings=settings, settings_problem=None)

    def add_submission(self, submission: Submission) -> None:
        self._add(t.submissions, submission)

    def submission(self, organisation_id: str, project_id: str, submission_id: str) -> Submission | None:
        return self._one(Submission, t.submissions, organisation_id, project_id, submission_id=submission_id)

    def submissions(self, organisation_id: str, project_id: str, listing: Listing) -> list[Submission]:
        return self._list(Submission, t.submissions, "submission_id", organisation_id, project_id, listing)

    def votes(self, organisation_id: str, project_id: str, task_id: str) -> list[Vote]:
        c = t.submissions.c
        query = (
            sa.select(c.submission_id, c.annotator_id, c.mask_id)
            .where(
                c.organisation_id == organisation_id,
                c.project_id == project_id,
                c.task_id == task_id,
                c.kind == "annotate",
                c.passed,
                ~c.late,
            )
            .order_by(c.annotator_id, c.submission_id)
        )
        return [Vote(*row) for row in self._connection.execute(query)]

    def masks_of_others(self, organisation_id: str, project_id: str, task_id: str, annotator_id: str) -> list[str]:
        c = t.submissions.c
        query = (
            sa.select(c.mask_id)
            .where(
                c.organisation_id == organisation_id,
                c.project_id == project_id,
                c.task_id == task_id,
                c.kind == "annotate",
                c.annotator_id != annotator_id,
            )
            .order_by(c.annotator_id, c.submission_id)
        )
        return list(self._connection.execute(query).scalars())

    def authors_of(
        self, organisation_id: str, project_id: str, sample_id: str, mask_ids: Sequence[str]
    ) -> list[str]:
        found: set[str] = set()
        for table, column in ((t.submissions, "annotator_id"), (t.acceptances, "annotator_ids")):
            query = sa.select(table.c[column]).where(
                table.c.organisation_id == organisation_id,
                table.c.project_id == project_id,
                table.c.sample_id == sample_id,
                table.c.mask_id.in_(mask_ids),
            )
            for value in self._connection.execute(query).scalars():
                found.update([value] if isinstance(value, str) else value)
        return sorted(found)

    def add_consensus(self, consensus: ConsensusRecord) -> None:
        self._add(t.consensus, consensus)

    def consensus(self, organisation_id: str, project_id: str, task_id: str) -> ConsensusRecord | None:
        return self._one(ConsensusRecord, t.consensus, organisation_id, project_id, task_id=task_id)

    def consensuses(self, organisation_id: str, project_id: str, listing: Listing) -> list[ConsensusRecord]:
        return self._list(ConsensusRecord, t.consensus, "task_id", organisation_id, project_id, listing)

    def accept_consensus(self, organisation_id: str, project_id: str, task_id: str) -> None:
        self._update(t.consensus, organisation_id, project_id, {"task_id": task_id}, state="accepted")

    def add_adjudication(self, adjudication: Adjudication) -> None:
        self._add(t.adjudications, adjudication)

    def adjudication(self, organisation_id: str, project_id: str, adjudication_id: str) -> Adjudication | None:
        return self._one(
            Adjudication, t.adjudications, organisation_id, project_id, adjudication_id=adjudication_id
        )

    def adjudications(self, organisation_id: str, project_id: str, listing: Listing) -> list[Adjudication]:
        return self._list(Adjudication, t.adjudications, "adjudication_id", organisation_id, project_id, listing)

    def decide_adjudication(self, decided: Adjudication) -> None:
        self._replace(t.adjudications, decided, "adjudication_id")

    def add_acceptance(self, acceptance: Acceptance) -> None:
        self._add(t.acceptances, acceptance)

    def latest_revision(self, organisation_id: str, project_id: str, sample_id: str) -> int:
        c = t.acceptances.c
        query = sa.select(sa.func.coalesce(sa.func.max(c.revision), 0)).where(
            c.organisation_id == organisation_id, c.project_id == project_id, c.sample_id == sample_id
        )
        return int(self._connection.execute(query).scalar_one())

    def is_accepted(self, organisation_id: str, project_id: str, task_id: str) -> bool:
        c = t.acceptances.c
        query = sa.select(c.revision).where(
            c.organisation_id == organisation_id, c.project_id == project_id, c.task_id == task_id
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def accepted_in_batch(self, organisation_id: str, project_id: str, batch_id: str) -> list[Acceptance]:
        c = t.acceptances.c
        query = (
            sa.select(t.acceptances)
            .where(c.organisation_id == organisation_id, c.project_id == project_id, c.batch_id == batch_id)
            .order_by(c.sample_id, c.revision)
        )
        newest = {row["sample_id"]: row for row in self._connection.execute(query).mappings()}
        return [_read(Acceptance, row) for row in newest.values()]

    def add_audit(self, audit: Audit, items: Sequence[AuditItem]) -> None:
        self._add(t.audits, audit)
        self._connection.execute(t.audit_items.insert(), [_columns(item) for item in items])

    def audit(self, organisation_id: str, project_id: str, audit_id: str) -> Audit | None:
        return self._one(Audit, t.audits, organisation_id, project_id, audit_id=audit_id)

    def audits(self, organisation_id: str, project_id: str, listing: Listing) -> list[Audit]:
        return self._list(Audit, t.audits, "audit_id", organisation_id, project_id, listing)

    def audit_item(self, organisation_id: str, project_id: str, audit_item_id: str) -> AuditItem | None:
        return self._one(AuditItem, t.audit_items, organisation_id, project_id, audit_item_id=audit_item_id)

    def audit_items(self, organisation_id: str, project_id: str, audit_id: str) -> list[AuditItem]:
        query = _select(t.audit_items, organisation_id, project_id, {"audit_id": audit_id})
        rows = self._connection.execute(query.order_by(t.audit_items.c.sample_id)).mappings()
        return [_read(AuditItem, row) for row in rows]

    def judge_item(self, judged: AuditItem) -> None:
        self._replace(t.audit_items, judged, "audit_item_id")

    def replace_audit(self, audit: Audit) -> None:
        self._replace(t.audits, audit, "audit_id")

    def add_to_scorecard(self, organisation_id: str, project_id: str, more: Scorecard) -> None:
        columns = asdict(more)
        annotator_id = columns.pop("annotator_id")
        found = self._one(Scorecard, t.scorecards, organisation_id, project_id, annotator_id=annotator_id)
        if found is None:
            self._connection.execute(
                t.scorecards.insert().values(
                    organisation_id=organisation_id,
                    project_id=project_id,
                    annotator_id=annotator_id,
                    **columns,
                )
            )
            return
        sums = {name: t.scorecards.c[name] + value for name, value in columns.items()}
        self._update(t.scorecards, organisation_id, project_id, {"annotator_id": annotator_id}, **sums)

    def scorecards(self, organisation_id: str, project_id: str, listing: Listing) -> list[Scorecard]:
        return self._list(Scorecard, t.scorecards, "annotator_id", organisation_id, project_id, listing)

    def _one(
        self, record: type[R], table: sa.Table, organisation_id: str, project_id: str, **where: Any
    ) -> R | None:
        row = self._connection.execute(_select(table, organisation_id, project_id, where)).mappings().first()
        return None if row is None else _read(record, row)

    def _list(
        self,
        record: type[R],
        table: sa.Table,
        key: str,
        organisation_id: str,
        project_id: str,
        listing: Listing,
    ) -> list[R]:
        query = _select(table, organisation_id, project_id, listing.where)
        if listing.cursor is not None:
            query = query.where(table.c[key] > listing.cursor)
        rows = self._connection.execute(query.order_by(table.c[key]).limit(listing.limit)).mappings()
        return [_read(record, row) for row in rows]

    def _add(self, table: sa.Table, record: Any) -> None:
        self._connection.execute(table.insert().values(**_columns(record)))

    def _replace(self, table: sa.Table, record: Any, key: str) -> None:
        columns = _columns(record)
        where = {key: columns[key]}
        self._update(table, columns["organisation_id"], columns["project_id"], where, **columns)

    def _update(
        self,
        table: sa.Table,
        organisation_id: str,
        project_id: str,
        where: Mapping[str, Any],
        /,
        **columns: Any,
    ) -> None:
        conditions = [table.c[name] == value for name, value in where.items()]
        self._connection.execute(
            table.update()
            .where(table.c.organisation_id == organisation_id, table.c.project_id == project_id, *conditions)
            .values(**columns)
        )


def _select(table: sa.Table, organisation_id: str, project_id: str, where: Mapping[str, Any]) -> sa.Select[Any]:
    return sa.select(table).where(
        table.c.organisation_id == organisation_id,
        table.c.project_id == project_id,
        *[table.c[name] == value for name, value in where.items()],
    )


def _columns(record: Any) -> dict[str, Any]:
    """A record as columns: its sample lies flat in the row."""
    columns = asdict(record)
    columns.update(columns.pop("sample", {}))
    return columns


def _read(record: type[R], row: sa.RowMapping) -> R:
    """A record from its row."""
    names = {field.name for field in fields(record)}
    values = {name: row[name] for name in names if name in row}
    if "sample" in names:
        values["sample"] = Sample(row["sample_id"], row["image_hash"], row["height"], row["width"])
    if values.get("region") is not None:
        values["region"] = Region(**values["region"])
    return record(**values)
