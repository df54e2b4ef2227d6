"""Organisations, keys, projects, ontologies and samples in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from terrazzo_task.adapters import tables as t
from terrazzo_task.adapters.rows import as_columns, columns, record
from terrazzo_task.adapters.store_counts import CountStore
from terrazzo_task.domain.choose import Candidate
from terrazzo_task.domain.projects import ClassShare, Key, OntologyVersion, Organisation, Project, Sample

_FLOAT = np.dtype("<f4")
_MAX_PARAMETERS = 500


class ProjectStore(CountStore):
    """Implements ports.People and ports.Projects."""

    def organisation(self, organisation_id: str) -> Organisation | None:
        query = sa.select(t.organisations).where(t.organisations.c.organisation_id == organisation_id)
        row = self._connection.execute(query).first()
        return record(Organisation, row) if row else None

    def add_organisation(self, organisation: Organisation) -> None:
        self._connection.execute(t.organisations.insert().values(columns(organisation)))

    def add_key(self, key: Key) -> None:
        self._connection.execute(t.keys.insert().values(columns(key)))

    def key(self, organisation_id: str, key_id: str) -> Key | None:
        query = sa.select(t.keys).where(t.keys.c.organisation_id == organisation_id, t.keys.c.key_id == key_id)
        row = self._connection.execute(query).first()
        return record(Key, row) if row else None

    def keys(self, organisation_id: str, after: str | None, limit: int) -> list[Key]:
        query = sa.select(t.keys).where(t.keys.c.organisation_id == organisation_id)
        if after is not None:
            query = query.where(t.keys.c.key_id > after)
        return [record(Key, r) for r in self._connection.execute(query.order_by(t.keys.c.key_id).limit(limit))]

    def revoke_key(self, key: Key, at: datetime) -> None:
        self._connection.execute(t.keys.update().where(t.keys.c.key_id == key.key_id).values(revoked_at=at))
        revoked = t.runtime.revoked_keys
        self._connection.execute(revoked.delete().where(revoked.c.key_id == key.key_id))
        self._connection.execute(revoked.insert().values(key_id=key.key_id, revoked_at=at))

    def add_project(self, project: Project) -> None:
        self._connection.execute(t.projects.insert().values(columns(project)))

    def project(self, organisation_id: str, project_id: str, *, for_change: bool = False) -> Project | None:
        query = sa.select(t.projects).where(
            t.projects.c.organisation_id == organisation_id, t.projects.c.project_id == project_id
        )
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return record(Project, row) if row else None

    def projects(self, organisation_id: str, after: int | None, limit: int) -> list[Project]:
        query = sa.select(t.projects).where(t.projects.c.organisation_id == organisation_id)
        if after is not None:
            query = query.where(t.projects.c.sequence > after)
        rows = self._connection.execute(query.order_by(t.projects.c.sequence).limit(limit))
        return [record(Project, row) for row in rows]

    def change_project(self, project: Project, **changes: Any) -> Project:
        self._connection.execute(
            t.projects.update().where(t.projects.c.project_id == project.project_id).values(as_columns(changes))
        )
        return replace(project, **changes)

    def add_ontology(self, version: OntologyVersion) -> None:
        self._connection.execute(t.ontologies.insert().values(columns(version)))

    def ontologies(self, organisation_id: str, project_id: str) -> list[OntologyVersion]:
        query = (
            sa.select(t.ontologies)
            .where(t.ontologies.c.organisation_id == organisation_id, t.ontologies.c.project_id == project_id)
            .order_by(t.ontologies.c.version)
        )
        return [record(OntologyVersion, row) for row in self._connection.execute(query)]

    def add_sample(self, sample: Sample) -> None:
        self._connection.execute(t.samples.insert().values(columns(sample)))
        self._connection.execute(
            t.projects.update()
            .where(t.projects.c.project_id == sample.project_id)
            .values(num_samples=t.projects.c.num_samples + 1)
        )
        self.bump(sample.project_id, "samples", {"total": 1, sample.state: 1, sample.split: 1})

    def sample(
        self, organisation_id: str, project_id: str, sample_id: str, *, for_change: bool = False
    ) -> Sample | None:
        query = sa.select(t.samples).where(
            t.samples.c.organisation_id == organisation_id,
            t.samples.c.project_id == project_id,
            t.samples.c.sample_id == sample_id,
        )
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return record(Sample, row) if row else None

    def samples(
        self,
        organisation_id: str,
        project_id: str,
        *,
        split: str | None = None,
        state: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[Sample]:
        query = sa.select(t.samples).where(
            t.samples.c.organisation_id == organisation_id, t.samples.c.project_id == project_id
        )
        if split is not None:
            query = query.where(t.samples.c.split == split)
        if state is not None:
            query = query.where(t.samples.c.state == state)
        if after is not None:
            query = query.where(t.samples.c.sample_id > after)
        rows = self._connection.execute(query.order_by(t.samples.c.sample_id).limit(limit))
        return [record(Sample, row) for row in rows]

    def samples_by_id(self, organisation_id: str, project_id: str, sample_ids: Sequence[str]) -> list[Sample]:
        found: dict[str, Sample] = {}
        for start in range(0, len(sample_ids), _MAX_PARAMETERS):
            query = sa.select(t.samples).where(
                t.samples.c.organisation_id == organisation_id,
                t.samples.c.project_id == project_id,
                t.samples.c.sample_id.in_(sample_ids[start : start + _MAX_PARAMETERS]),
            )
            found |= {row.sample_id: record(Sample, row) for row in self._connection.execute(query)}
        return [found[sample_id] for sample_id in sample_ids if sample_id in found]

    def change_sample(self, sample: Sample, **changes: Any) -> Sample:
        after = replace(sample, **changes)
        self._write_sample(sample, after, changes)
        return after

    def score_sample(
        self,
        sample: Sample,
        *,
        model_id: str,
        at: datetime,
        entropy_mean: float,
        classes: tuple[ClassShare, ...],
        embedding: Sequence[float],
    ) -> None:
        changes: dict[str, Any] = {
            "scored_by": model_id,
            "scored_at": at,
            "entropy_mean": entropy_mean,
            "classes": classes,
        }
        after = replace(sample, **changes)
        packed = np.asarray(embedding, _FLOAT).tobytes()
        self._write_sample(sample, after, {**changes, "embedding": packed})

    def _write_sample(self, before: Sample, after: Sample, changes: dict[str, Any]) -> None:
        self._connection.execute(
            t.samples.update()
            .where(t.samples.c.project_id == before.project_id, t.samples.c.sample_id == before.sample_id)
            .values(as_columns(changes))
        )
        if before.state != after.state:
            self.bump_moves(after.project_id, "samples", [(before.state, after.state)])
        if before.scored_by != after.scored_by:
            self.bump_moves(after.project_id, "scored", [(before.scored_by, after.scored_by)])
        if before.classes != after.classes or before.state != after.state:
            self.move_forecast(before, after)

    def set_samples_in_progress(self, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        project_id = samples[0].project_id
        statement = (
            t.samples.update()
            .where(t.samples.c.project_id == project_id, t.samples.c.sample_id == sa.bindparam("which"))
            .values(state="in_progress")
        )
        self._connection.execute(statement, [{"which": s.sample_id} for s in samples])
        self.bump_moves(project_id, "samples", [(s.state, "in_progress") for s in samples])

    def candidates(self, organisation_id: str, project_id: str) -> list[Candidate]:
        s = t.samples.c
        query = (
            sa.select(s.sample_id, s.height, s.width, s.entropy_mean, s.classes, s.embedding)
            .where(
                s.organisation_id == organisation_id,
                s.project_id == project_id,
                s.state == "unlabelled",
                s.split == "train",
            )
            .order_by(s.sample_id)
        )
        return [
            Candidate(
                row.sample_id,
                row.height,
                row.width,
                row.entropy_mean,
                tuple(ClassShare(*c) for c in row.classes),
                np.frombuffer(row.embedding or b"", _FLOAT),
            )
            for row in self._connection.execute(query)
        ]

    def covered_embeddings(self, organisation_id: str, project_id: str) -> list[Any]:
        s = t.samples.c
        query = (
            sa.select(s.embedding)
            .where(
                s.organisation_id == organisation_id,
                s.project_id == project_id,
                s.state.in_(["in_progress", "labelled"]),
                s.embedding.is_not(None),
            )
            .order_by(s.sample_id)
        )
        return [np.frombuffer(row.embedding, _FLOAT) for row in self._connection.execute(query)]
