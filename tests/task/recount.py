"""The running counts once more, the slow way: from the rows that they count."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from terrazzo_runtime.service import Service
from terrazzo_task.adapters import tables as t


def assert_counts_hold(service: Service, project_id: str) -> None:
    with service.uow.database.read() as connection:

        def rows(table: sa.Table) -> list[Any]:
            return list(connection.execute(sa.select(table).where(table.c.project_id == project_id)))

        samples, tasks, submissions = rows(t.samples), rows(t.tasks), rows(t.submissions)
        kept: dict[str, dict[str, int]] = {}
        for row in rows(t.counts):
            if row.value:
                kept.setdefault(row.scope, {})[row.name] = row.value
        expected: dict[str, Counter[str]] = {
            "samples": Counter([s.state for s in samples] + [s.split for s in samples] + ["total"] * len(samples)),
            "scored": Counter(s.scored_by for s in samples if s.scored_by),
            "tasks": Counter(x.state for x in tasks),
            "submissions": Counter(x.state for x in submissions),
            "time_ms": Counter({"total": sum(round(x.seconds_spent * 1000) for x in submissions)}),
        }
        assert kept == {scope: +counter for scope, counter in expected.items() if +counter}
        pixels: Counter[tuple[int, bool]] = Counter()
        for sample in samples:
            for class_id, share, _entropy in sample.classes:
                pixels[class_id, sample.state == "labelled"] += round(share * sample.height * sample.width)
        assert {(r.class_id, r.labelled): r.pixels for r in rows(t.class_pixels) if r.pixels} == dict(+pixels)
        worked = {r.person: (r.num_submissions, r.num_tasks) for r in rows(t.worked) if r.kind == "annotator"}
        assert worked == {
            person: (
                sum(x.annotator_id == person for x in submissions),
                len({x.task_id for x in submissions if x.annotator_id == person}),
            )
            for person in {x.annotator_id for x in submissions}
        }
        for batch in rows(t.batches):
            own = [x for x in tasks if x.batch_id == batch.batch_id]
            num_final = sum(x.state in ("accepted", "cancelled") for x in own)
            assert (batch.num_tasks, batch.num_tasks_final) == (len(own), num_final)
            assert batch.num_waiting == sum(x.state == "waiting" for x in own)
            if batch.state != "cancelled":
                assert (batch.state == "closed") == (num_final == len(own))
                assert (batch.state == "proposing") == (batch.num_waiting > 0)
