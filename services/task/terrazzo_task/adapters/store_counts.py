"""The running counts, and what every part of the store stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from terrazzo_task.adapters import tables as t
from terrazzo_task.domain.projects import Sample, forecast_pixels
from terrazzo_task.domain.work import Submission
from terrazzo_task.ports import ClassPixels, Worked


class CountStore:
    """Implements ports.Progress."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def counts(self, project_id: str, scope: str) -> Mapping[str, int]:
        query = sa.select(t.counts.c.name, t.counts.c.value).where(
            t.counts.c.project_id == project_id, t.counts.c.scope == scope
        )
        return {row.name: row.value for row in self._connection.execute(query)}

    def num_scored_by(self, project_id: str, model_id: str) -> int:
        return self.counts(project_id, "scored").get(model_id, 0)

    def num_active_leases(self, project_id: str, now: datetime) -> int:
        query = sa.select(sa.func.count()).where(
            t.leases.c.project_id == project_id, t.leases.c.state == "active", t.leases.c.expires_at > now
        )
        return self._connection.execute(query).scalar_one()

    def worked(self, project_id: str, kind: str) -> list[Worked]:
        query = (
            sa.select(t.worked)
            .where(t.worked.c.project_id == project_id, t.worked.c.kind == kind)
            .order_by(t.worked.c.name, t.worked.c.person)
        )
        return [Worked(r.name, r.num_tasks, r.num_submissions, r.time_ms) for r in self._connection.execute(query)]

    def add_work(self, submission: Submission, *, is_new_task: bool) -> None:
        people = [("annotator", submission.annotator_id, submission.annotator)]
        if submission.vendor is not None:
            people.append(("vendor", submission.vendor, submission.vendor))
        # Whole milliseconds: their sum does not depend on the order in which work arrives.
        time_ms = round(submission.seconds_spent * 1_000)
        for kind, person, name in people:
            added = {"num_tasks": int(is_new_task), "num_submissions": 1, "time_ms": time_ms}
            key = {"project_id": submission.project_id, "kind": kind, "person": person}
            self._add(t.worked, [{**key, "name": name, **added}], tuple(added))
        self.bump(submission.project_id, "time_ms", {"total": time_ms})

    def class_pixels(self, project_id: str) -> list[ClassPixels]:
        query = (
            sa.select(t.class_pixels)
            .where(t.class_pixels.c.project_id == project_id)
            .order_by(t.class_pixels.c.class_id, t.class_pixels.c.labelled)
        )
        return [
            ClassPixels(r.class_id, r.labelled, r.pixels, r.num_samples) for r in self._connection.execute(query)
        ]

    def bump(self, project_id: str, scope: str, changes: Mapping[str, int]) -> None:
        """Add to the running counts of a scope; amounts may be negative."""
        rows = [
            {"project_id": project_id, "scope": scope, "name": name, "value": change}
            for name, change in sorted(changes.items())
            if change
        ]
        self._add(t.counts, rows, ("value",))

    def bump_moves(self, project_id: str, scope: str, moves: Iterable[tuple[str | None, str | None]]) -> None:
        """Count records that went from one state to another; None: did not exist, or exists no more."""
        changes: Counter[str] = Counter()
        for before, after in moves:
            if before is not None:
                changes[before] -= 1
            if after is not None:
                changes[after] += 1
        self.bump(project_id, scope, changes)

    def move_forecast(self, before: Sample, after: Sample) -> None:
        """Keep the predicted pixels per class in step with a sample's scores and state."""
        changes: Counter[tuple[int, bool]] = Counter()
        num_samples: Counter[tuple[int, bool]] = Counter()
        for sample, sign in ((before, -1), (after, 1)):
            for class_id, pixels in forecast_pixels(sample).items():
                changes[class_id, sample.state == "labelled"] += sign * pixels
                num_samples[class_id, sample.state == "labelled"] += sign
        rows = [
            {
                "project_id": after.project_id,
                "class_id": class_id,
                "labelled": labelled,
                "pixels": changes[class_id, labelled],
                "num_samples": num_samples[class_id, labelled],
            }
            for class_id, labelled in sorted(changes)
            if changes[class_id, labelled] or num_samples[class_id, labelled]
        ]
        self._add(t.class_pixels, rows, ("pixels", "num_samples"))

    def _add(self, table: sa.Table, rows: list[dict[str, Any]], amounts: tuple[str, ...]) -> None:
        """Add `amounts` to rows by primary key, making the rows that are not there."""
        if not rows:
            return
        is_sqlite = self._connection.dialect.name == "sqlite"
        statement: Any = sqlite.insert(table) if is_sqlite else postgresql.insert(table)
        statement = statement.on_conflict_do_update(
            index_elements=[c.name for c in table.primary_key],
            set_={name: table.c[name] + statement.excluded[name] for name in amounts},
        )
        self._connection.execute(statement, rows)
