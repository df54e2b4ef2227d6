"""ports.Store over SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from terrazzo_inference.adapters import tables as t
from terrazzo_inference.domain.summary import ClassSummary
from terrazzo_inference.ports import Item, Job, Model, Prediction, Project, Sample

_CHUNK = 500  # databases limit the number of values in one statement
_FLOATS = np.dtype("<f4")


class SqlStore:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # Projects and samples: copies of what other services said.

    def put_project(self, project: Project) -> None:
        if self.project(project.organisation_id, project.project_id) is None:
            self._connection.execute(t.projects.insert().values(**asdict(project)))

    def project(self, organisation_id: str, project_id: str) -> Project | None:
        row = self._one(
            sa.select(t.projects).where(
                t.projects.c.project_id == project_id, t.projects.c.organisation_id == organisation_id
            )
        )
        return None if row is None else Project(**row)

    def put_ontology(self, organisation_id: str, project_id: str, version: int, ontology_json: str) -> bool:
        if self.project(organisation_id, project_id) is None:
            return False
        self._connection.execute(
            t.projects.update()
            .where(t.projects.c.project_id == project_id, t.projects.c.ontology_version < version)
            .values(ontology_version=version, ontology_json=ontology_json)
        )
        return True

    def put_sample(self, organisation_id: str, project_id: str, sample: Sample, split: str, name: str) -> None:
        key = (t.samples.c.project_id == project_id, t.samples.c.sample_id == sample.sample_id)
        self._connection.execute(t.samples.delete().where(*key, t.samples.c.organisation_id == organisation_id))
        self._connection.execute(
            t.samples.insert().values(
                project_id=project_id, organisation_id=organisation_id, split=split, name=name, **asdict(sample)
            )
        )

    def samples(self, organisation_id: str, project_id: str, sample_ids: Sequence[str]) -> dict[str, Sample]:
        c = t.samples.c
        found: dict[str, Sample] = {}
        for first in range(0, len(sample_ids), _CHUNK):
            query = sa.select(c.sample_id, c.image_hash, c.height, c.width).where(
                c.organisation_id == organisation_id,
                c.project_id == project_id,
                c.sample_id.in_(sample_ids[first : first + _CHUNK]),
            )
            found.update({row.sample_id: Sample(*row) for row in self._connection.execute(query)})
        return found

    # Models.

    def put_predictor(self, model: Model) -> None:
        values = asdict(model) | {"class_ids": list(model.class_ids)}
        for table, row in (
            (t.models, values),
            (t.predictors, {name: values[name] for name in ("project_id", "organisation_id", "model_id")}),
        ):
            key = [column == row[column.name] for column in table.primary_key.columns]
            self._connection.execute(table.delete().where(*key, table.c.organisation_id == model.organisation_id))
            self._connection.execute(table.insert().values(**row))

    def predictor(self, organisation_id: str, project_id: str) -> Model | None:
        row = self._one(
            sa.select(t.models)
            .join(
                t.predictors,
                (t.predictors.c.project_id == t.models.c.project_id)
                & (t.predictors.c.model_id == t.models.c.model_id),
            )
            .where(t.models.c.project_id == project_id, t.models.c.organisation_id == organisation_id)
        )
        return None if row is None else _model(row)

    def model(self, organisation_id: str, project_id: str, model_id: str) -> Model | None:
        row = self._one(
            sa.select(t.models).where(
                t.models.c.project_id == project_id,
                t.models.c.model_id == model_id,
                t.models.c.organisation_id == organisation_id,
            )
        )
        return None if row is None else _model(row)

    def models_in_use(self) -> set[tuple[str, int]]:
        same_project = t.models.c.project_id
        current = sa.select(t.models.c.model_name, t.models.c.version).join(
            t.predictors,
            (t.predictors.c.project_id == same_project) & (t.predictors.c.model_id == t.models.c.model_id),
        )
        awaited = (
            sa.select(t.models.c.model_name, t.models.c.version)
            .join(t.jobs, (t.jobs.c.project_id == same_project) & (t.jobs.c.model_id == t.models.c.model_id))
            .where(t.jobs.c.finished_at.is_(None))
        )
        return {(row.model_name, row.version) for row in self._connection.execute(sa.union(current, awaited))}

    # Jobs.

    def add_job(self, job: Job, samples: Sequence[Sample]) -> Job:
        values = asdict(job)
        del values["sequence"]
        sequence = self._connection.execute(t.jobs.insert().returning(t.jobs.c.sequence), values).scalar_one()
        rows = [
            {
                "job_id": job.job_id,
                "position": position,
                "rank": 0 if job.purpose == "propose" else 1,
                "job_sequence": sequence,
                "state": "waiting",
                "attempts": 0,
                "not_before": job.created_at,
                "reason": "",
                **asdict(sample),
            }
            for position, sample in enumerate(samples)
        ]
        if rows:
            self._connection.execute(t.job_items.insert(), rows)
        return replace(job, sequence=sequence)

    def job(self, organisation_id: str, project_id: str, job_id: str) -> Job | None:
        return self._job(organisation_id, project_id, t.jobs.c.job_id == job_id)

    def job_of_batch(self, organisation_id: str, project_id: str, batch_id: str) -> Job | None:
        return self._job(organisation_id, project_id, t.jobs.c.batch_id == batch_id)

    def _job(self, organisation_id: str, project_id: str, which: sa.ColumnElement[bool]) -> Job | None:
        row = self._one(
            sa.select(t.jobs).where(
                t.jobs.c.organisation_id == organisation_id, t.jobs.c.project_id == project_id, which
            )
        )
        return None if row is None else Job(**row)

    def jobs(self, organisation_id: str, project_id: str, after: int, limit: int) -> list[Job]:
        rows = self._connection.execute(
            sa.select(t.jobs)
            .where(
                t.jobs.c.organisation_id == organisation_id,
                t.jobs.c.project_id == project_id,
                t.jobs.c.sequence > after,
            )
            .order_by(t.jobs.c.sequence)
            .limit(limit)
        ).mappings()
        return [Job(**row) for row in rows]

    def next_item(self, now: datetime) -> Item | None:
        c = t.job_items.c
        row = self._one(
            sa.select(t.job_items)
            .where(c.state == "waiting", c.not_before <= now)
            .order_by(c.rank, c.job_sequence, c.position)
            .limit(1)
        )
        if row is None:
            return None
        job = self._one(sa.select(t.jobs).where(t.jobs.c.job_id == row["job_id"]))
        assert job is not None, "an item's job is never deleted"
        sample = Sample(row["sample_id"], row["image_hash"], row["height"], row["width"])
        return Item(Job(**job), row["position"], sample, row["attempts"])

    def is_waiting(self, job_id: str, position: int) -> bool:
        query = sa.select(t.job_items.c.state).where(*_item(job_id, position))
        return self._connection.execute(query).scalar_one_or_none() == "waiting"

    def start_job(self, job_id: str, now: datetime) -> None:
        self._connection.execute(
            t.jobs.update().where(t.jobs.c.job_id == job_id, t.jobs.c.started_at.is_(None)).values(started_at=now)
        )

    def postpone(self, job_id: str, position: int, attempts: int, until: datetime, reason: str) -> None:
        self._connection.execute(
            t.job_items.update()
            .where(*_item(job_id, position))
            .values(attempts=attempts, not_before=until, reason=reason)
        )

    def finish_item(self, job_id: str, position: int, *, reason: str | None, now: datetime) -> None:
        state = "done" if reason is None else "failed"
        self._connection.execute(
            t.job_items.update().where(*_item(job_id, position)).values(state=state, reason=reason or "")
        )
        counter = t.jobs.c.num_done if reason is None else t.jobs.c.num_failed
        mine = t.jobs.c.job_id == job_id
        self._connection.execute(t.jobs.update().where(mine).values({counter.name: counter + 1}))
        self._connection.execute(
            t.jobs.update()
            .where(mine, t.jobs.c.num_done + t.jobs.c.num_failed == t.jobs.c.num_samples)
            .values(finished_at=now)
        )

    # Predictions.

    def add_prediction(self, prediction: Prediction) -> None:
        values: dict[str, Any] = {
            name: value
            for name, value in vars(prediction).items()
            if name not in ("sequence", "classes", "embedding_D")
        }
        self._connection.execute(
            t.predictions.insert().values(
                **values,
                classes=[asdict(c) for c in prediction.classes],
                embedding=prediction.embedding_D.astype(_FLOATS).tobytes(),
            )
        )

    def prediction(self, organisation_id: str, project_id: str, prediction_id: str) -> Prediction | None:
        c = t.predictions.c
        row = self._one(
            sa.select(t.predictions).where(
                c.organisation_id == organisation_id,
                c.project_id == project_id,
                c.prediction_id == prediction_id,
            )
        )
        return None if row is None else _prediction(row)

    def predictions(
        self,
        organisation_id: str,
        project_id: str,
        *,
        sample_id: str | None,
        model_id: str | None,
        after: int,
        limit: int,
    ) -> list[Prediction]:
        c = t.predictions.c
        query = sa.select(t.predictions).where(
            c.organisation_id == organisation_id, c.project_id == project_id, c.sequence > after
        )
        if sample_id is not None:
            query = query.where(c.sample_id == sample_id)
        if model_id is not None:
            query = query.where(c.model_id == model_id)
        rows = self._connection.execute(query.order_by(c.sequence).limit(limit)).mappings()
        return [_prediction(dict(row)) for row in rows]

    def _one(self, query: sa.Select[Any]) -> dict[str, Any] | None:
        row = self._connection.execute(query).mappings().first()
        return None if row is None else dict(row)


def _item(job_id: str, position: int) -> tuple[sa.ColumnElement[bool], ...]:
    return t.job_items.c.job_id == job_id, t.job_items.c.position == position


def _model(row: dict[str, Any]) -> Model:
    return Model(**row | {"class_ids": tuple(row["class_ids"])})


def _prediction(row: dict[str, Any]) -> Prediction:
    row = dict(row)
    embedding_D = np.frombuffer(row.pop("embedding"), dtype=_FLOATS).astype(np.float32)
    classes = tuple(ClassSummary(**c) for c in row.pop("classes"))
    return Prediction(**row, classes=classes, embedding_D=embedding_D)
