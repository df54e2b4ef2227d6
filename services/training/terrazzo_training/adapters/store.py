"""`ports.Store` over SQLAlchemy Core. Columns and the domain's fields have the same names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from terrazzo_training.adapters.tables import epochs, models, projects, runs
from terrazzo_training.domain.models import Model
from terrazzo_training.domain.project import Project
from terrazzo_training.domain.reports import EpochReport
from terrazzo_training.domain.runs import Run, State


class TableStore:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def project(self, organisation_id: str, project_id: str) -> Project | None:
        row = self._first(
            sa.select(projects).where(
                projects.c.organisation_id == organisation_id, projects.c.project_id == project_id
            )
        )
        return None if row is None else Project(**row)

    def put_project(self, project: Project) -> None:
        self._connection.execute(
            projects.delete().where(
                projects.c.organisation_id == project.organisation_id, projects.c.project_id == project.project_id
            )
        )
        self._connection.execute(projects.insert().values(asdict(project)))

    def add_run(self, run: Run) -> None:
        self._connection.execute(runs.insert().values(_without_sequence(asdict(run))))

    def run(self, organisation_id: str, run_id: str) -> Run | None:
        row = self._first(
            sa.select(runs).where(runs.c.organisation_id == organisation_id, runs.c.run_id == run_id)
        )
        return None if row is None else Run(**row)

    def runs(self, organisation_id: str, project_id: str | None, before: int | None, limit: int) -> list[Run]:
        return [Run(**row) for row in self._newest(runs, organisation_id, project_id, before, limit)]

    def runs_in(self, state: State) -> list[Run]:
        query = sa.select(runs).where(runs.c.state == state).order_by(runs.c.sequence)
        return [Run(**row) for row in self._all(query)]

    def replace_run(self, run: Run) -> None:
        self._connection.execute(
            runs.update()
            .where(runs.c.organisation_id == run.organisation_id, runs.c.run_id == run.run_id)
            .values(_without_sequence(asdict(run)))
        )

    def epochs(self, run_ids: Sequence[str]) -> dict[str, list[EpochReport]]:
        query = sa.select(epochs).where(epochs.c.run_id.in_(run_ids)).order_by(epochs.c.run_id, epochs.c.epoch)
        found: dict[str, list[EpochReport]] = {}
        for row in self._all(query):
            report = EpochReport(row["epoch"], row["loss"], row["learning_rate"], row["seconds"])
            found.setdefault(row["run_id"], []).append(report)
        return found

    def add_epoch(self, run: Run, report: EpochReport) -> bool:
        known = sa.select(epochs.c.epoch).where(epochs.c.run_id == run.run_id, epochs.c.epoch == report.epoch)
        if self._connection.execute(known).first() is not None:
            return False
        self._connection.execute(
            epochs.insert().values(run_id=run.run_id, organisation_id=run.organisation_id, **asdict(report))
        )
        return True

    def add_model(self, model: Model) -> None:
        self._connection.execute(models.insert().values(_without_sequence(asdict(model))))

    def model(self, organisation_id: str, model_id: str) -> Model | None:
        row = self._first(
            sa.select(models).where(models.c.organisation_id == organisation_id, models.c.model_id == model_id)
        )
        return None if row is None else Model(**row)

    def models(self, organisation_id: str, project_id: str | None, before: int | None, limit: int) -> list[Model]:
        return [Model(**row) for row in self._newest(models, organisation_id, project_id, before, limit)]

    def promoted_model(self, organisation_id: str, project_id: str) -> Model | None:
        row = self._first(
            sa.select(models).where(
                models.c.organisation_id == organisation_id,
                models.c.project_id == project_id,
                models.c.state == "promoted",
            )
        )
        return None if row is None else Model(**row)

    def next_version(self, organisation_id: str, project_id: str) -> int:
        query = sa.select(sa.func.coalesce(sa.func.max(models.c.version), 0)).where(
            models.c.organisation_id == organisation_id, models.c.project_id == project_id
        )
        return int(self._connection.execute(query).scalar_one()) + 1

    def replace_model(self, model: Model) -> None:
        self._connection.execute(
            models.update()
            .where(models.c.organisation_id == model.organisation_id, models.c.model_id == model.model_id)
            .values(_without_sequence(asdict(model)))
        )

    def _newest(
        self, table: sa.Table, organisation_id: str, project_id: str | None, before: int | None, limit: int
    ) -> list[dict[str, Any]]:
        query = sa.select(table).where(table.c.organisation_id == organisation_id)
        if project_id is not None:
            query = query.where(table.c.project_id == project_id)
        if before is not None:
            query = query.where(table.c.sequence < before)
        return self._all(query.order_by(table.c.sequence.desc()).limit(limit))

    def _first(self, query: sa.Select[Any]) -> dict[str, Any] | None:
        row = self._connection.execute(query).mappings().first()
        return None if row is None else dict(row)

    def _all(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query).mappings()]


def _without_sequence(values: dict[str, Any]) -> dict[str, Any]:
    """The database numbers the rows."""
    return {name: value for name, value in values.items() if name != "sequence"}
