"""Batches, tasks, leases and submissions in the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from terrazzo_task.adapters import tables as t
from terrazzo_task.adapters.rows import as_columns, columns, record
from terrazzo_task.adapters.store_counts import CountStore
from terrazzo_task.domain.work import RETURNS_BEFORE_OTHERS_GO_FIRST, Lease, Person, Submission, Task


class WorkStore(CountStore):
    """Implements the tasks, leases and submissions of ports.Work."""

    def add_tasks(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        rows = [{**columns(task), "queue_rank": -task.priority} for task in tasks]
        self._connection.execute(t.tasks.insert(), rows)
        per_project: dict[str, Counter[str]] = {}
        for task in tasks:
            per_project.setdefault(task.project_id, Counter())[task.state] += 1
        for project_id, changes in per_project.items():
            self.bump(project_id, "tasks", changes)

    def task(self, organisation_id: str, task_id: str, *, for_change: bool = False) -> Task | None:
        query = sa.select(t.tasks).where(
            t.tasks.c.organisation_id == organisation_id, t.tasks.c.task_id == task_id
        )
        return self._one_task(query.with_for_update() if for_change else query)

    def task_by_subject(self, organisation_id: str, kind: str, subject_id: str) -> Task | None:
        return self._one_task(
            sa.select(t.tasks).where(
                t.tasks.c.organisation_id == organisation_id,
                t.tasks.c.kind == kind,
                t.tasks.c.subject_id == subject_id,
            )
        )

    def waiting_task(self, organisation_id: str, batch_id: str, sample_id: str) -> Task | None:
        return self._one_task(
            sa.select(t.tasks)
            .where(
                t.tasks.c.organisation_id == organisation_id,
                t.tasks.c.batch_id == batch_id,
                t.tasks.c.sample_id == sample_id,
                t.tasks.c.state == "waiting",
            )
            .with_for_update()
        )

    def adjudications_of(self, organisation_id: str, task_id: str) -> list[Task]:
        return self._all_tasks(
            sa.select(t.tasks)
            .where(t.tasks.c.organisation_id == organisation_id, t.tasks.c.parent_task_id == task_id)
            .order_by(t.tasks.c.sequence)
        )

    def open_tasks_of_batch(self, organisation_id: str, batch_id: str) -> list[Task]:
        return self._all_tasks(
            sa.select(t.tasks)
            .where(
                t.tasks.c.organisation_id == organisation_id,
                t.tasks.c.batch_id == batch_id,
                t.tasks.c.state.in_(["waiting", "open", "submitted"]),
            )
            .order_by(t.tasks.c.sequence)
            .with_for_update()
        )

    def tasks(
        self,
        organisation_id: str,
        project_id: str,
        *,
        state: str | None = None,
        kind: str | None = None,
        batch_id: str | None = None,
        visible_to: Person | None = None,
        after: int | None = None,
        limit: int,
    ) -> list[Task]:
        query = sa.select(t.tasks).where(
            t.tasks.c.organisation_id == organisation_id, t.tasks.c.project_id == project_id
        )
        for column, wanted in ((t.tasks.c.state, state), (t.tasks.c.kind, kind), (t.tasks.c.batch_id, batch_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        if visible_to is not None:
            query = query.where(self._leased_to(visible_to))
        if after is not None:
            query = query.where(t.tasks.c.sequence > after)
        return self._all_tasks(query.order_by(t.tasks.c.sequence).limit(limit))

    def is_task_visible(self, task: Task, person: Person) -> bool:
        query = sa.select(t.tasks.c.task_id).where(t.tasks.c.task_id == task.task_id, self._leased_to(person))
        return self._connection.execute(query).first() is not None

    def _leased_to(self, person: Person) -> sa.ColumnElement[bool]:
        leases = t.leases.c
        whose = leases.annotator_id == person.annotator_id
        if person.vendor is not None:
            whose = sa.or_(whose, leases.vendor == person.vendor)
        return sa.exists().where(leases.task_id == t.tasks.c.task_id, whose)

    def _one_task(self, query: sa.Select[Any]) -> Task | None:
        row = self._connection.execute(query).first()
        return record(Task, row) if row else None

    def _all_tasks(self, query: sa.Select[Any]) -> list[Task]:
        return [record(Task, row) for row in self._connection.execute(query)]

    def exclude(self, task_id: str, annotator_ids: Sequence[str]) -> None:
        if annotator_ids:
            rows = [{"task_id": task_id, "annotator_id": a} for a in sorted(set(annotator_ids))]
            self._connection.execute(t.exclusions.insert(), rows)

    def next_task(
        self,
        organisation_id: str,
        project_id: str,
        *,
        person: Person,
        kinds: Sequence[str],
        batch_id: str | None,
        now: datetime,
    ) -> Task | None:
        tasks, leases, submissions = t.tasks.c, t.leases.c, t.submissions.c
        mine = leases.annotator_id == person.annotator_id
        is_live = sa.and_(leases.state == "active", leases.expires_at > now)
        num_live = (
            sa.select(sa.func.count())
            .select_from(t.leases)
            .where(leases.task_id == tasks.task_id, is_live)
            .scalar_subquery()
        )
        my_submission = sa.exists().where(
            submissions.task_id == tasks.task_id, submissions.annotator_id == person.annotator_id
        )
        query = sa.select(t.tasks).where(
            tasks.organisation_id == organisation_id,
            tasks.project_id == project_id,
            tasks.state == "open",
            tasks.kind.in_(kinds),
            tasks.num_submissions + num_live < tasks.redundancy,
            ~sa.exists().where(leases.task_id == tasks.task_id, mine, is_live),
            ~my_submission.where(submissions.state.in_(["received", "accepted"])),
            ~sa.exists().where(
                t.exclusions.c.task_id == tasks.task_id, t.exclusions.c.annotator_id == person.annotator_id
            ),
        )
        if batch_id is not None:
            query = query.where(tasks.batch_id == batch_id)
        given_back = sa.exists().where(leases.task_id == tasks.task_id, mine, leases.state != "used")
        failed_often = sa.and_(tasks.num_returned >= RETURNS_BEFORE_OTHERS_GO_FIRST, my_submission)
        in_order = query.order_by(tasks.queue_rank, tasks.sequence).limit(1)
        in_order = in_order.with_for_update(skip_locked=True, of=t.tasks)
        return self._one_task(in_order.where(~given_back, ~failed_often)) or self._one_task(in_order)

    def change_task(self, task: Task, **changes: Any) -> Task:
        after = replace(task, **changes)
        values = {**as_columns(changes), "queue_rank": -after.priority}
        self._connection.execute(t.tasks.update().where(t.tasks.c.task_id == task.task_id).values(values))
        if after.state != task.state:
            self.bump_moves(task.project_id, "tasks", [(task.state, after.state)])
        return after

    def add_lease(self, lease: Lease) -> None:
        self._connection.execute(t.leases.insert().values(columns(lease)))

    def lease(self, organisation_id: str, lease_id: str, *, for_change: bool = False) -> Lease | None:
        query = sa.select(t.leases).where(
            t.leases.c.organisation_id == organisation_id, t.leases.c.lease_id == lease_id
        )
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return record(Lease, row) if row else None

    def change_lease(self, lease: Lease, **changes: Any) -> Lease:
        self._connection.execute(t.leases.update().where(t.leases.c.lease_id == lease.lease_id).values(changes))
        return replace(lease, **changes)

    def num_live_leases(self, now: datetime, *, task_id: str) -> int:
        return self._count_live(t.leases.c.task_id == task_id, now)

    def num_live_leases_held(self, organisation_id: str, annotator_id: str, now: datetime) -> int:
        whose = sa.and_(t.leases.c.organisation_id == organisation_id, t.leases.c.annotator_id == annotator_id)
        return self._count_live(whose, now)

    def holds_live_lease(self, task_id: str, annotator_id: str, now: datetime) -> bool:
        whose = sa.and_(t.leases.c.task_id == task_id, t.leases.c.annotator_id == annotator_id)
        return self._count_live(whose, now) > 0

    def _count_live(self, which: sa.ColumnElement[bool], now: datetime) -> int:
        query = sa.select(sa.func.count()).where(which, t.leases.c.state == "active", t.leases.c.expires_at > now)
        return self._connection.execute(query).scalar_one()

    def end_leases(self, task_id: str, state: str) -> int:
        active = sa.and_(t.leases.c.task_id == task_id, t.leases.c.state == "active")
        return self._connection.execute(t.leases.update().where(active).values(state=state)).rowcount

    def has_leases_to_expire(self, now: datetime) -> bool:
        query = sa.select(t.leases.c.lease_id).where(t.leases.c.state == "active", t.leases.c.expires_at <= now)
        return self._connection.execute(query.limit(1)).first() is not None

    def expire_leases(self, now: datetime, limit: int) -> int:
        due = (
            sa.select(t.leases.c.lease_id)
            .where(t.leases.c.state == "active", t.leases.c.expires_at <= now)
            .order_by(t.leases.c.expires_at)
            .limit(limit)
        )
        return self._connection.execute(
            t.leases.update().where(t.leases.c.lease_id.in_(due)).values(state="expired")
        ).rowcount

    def add_submission(self, submission: Submission) -> Submission:
        result = self._connection.execute(t.submissions.insert().values(columns(submission)))
        assert result.inserted_primary_key is not None
        self.bump(submission.project_id, "submissions", {submission.state: 1})
        return replace(submission, sequence=result.inserted_primary_key[0])

    def submission(
        self, organisation_id: str, submission_id: str, *, for_change: bool = False
    ) -> Submission | None:
        query = sa.select(t.submissions).where(
            t.submissions.c.organisation_id == organisation_id, t.submissions.c.submission_id == submission_id
        )
        row = self._connection.execute(query.with_for_update() if for_change else query).first()
        return record(Submission, row) if row else None

    def submissions_of_task(self, organisation_id: str, task_id: str) -> list[Submission]:
        query = (
            sa.select(t.submissions)
            .where(t.submissions.c.organisation_id == organisation_id, t.submissions.c.task_id == task_id)
            .order_by(t.submissions.c.sequence)
        )
        return [record(Submission, row) for row in self._connection.execute(query)]

    def submissions(
        self,
        organisation_id: str,
        project_id: str,
        *,
        task_id: str | None = None,
        annotator_id: str | None = None,
        state: str | None = None,
        visible_to: Person | None = None,
        after: int | None = None,
        limit: int,
    ) -> list[Submission]:
        s = t.submissions.c
        query = sa.select(t.submissions).where(s.organisation_id == organisation_id, s.project_id == project_id)
        for column, wanted in ((s.task_id, task_id), (s.annotator_id, annotator_id), (s.state, state)):
            if wanted is not None:
                query = query.where(column == wanted)
        if visible_to is not None:
            own = s.annotator_id == visible_to.annotator_id
            query = query.where(own if visible_to.vendor is None else sa.or_(own, s.vendor == visible_to.vendor))
        if after is not None:
            query = query.where(s.sequence > after)
        rows = self._connection.execute(query.order_by(s.sequence).limit(limit))
        return [record(Submission, row) for row in rows]

    def change_submission(self, submission: Submission, **changes: Any) -> Submission:
        after = replace(submission, **changes)
        self._connection.execute(
            t.submissions.update()
            .where(t.submissions.c.submission_id == submission.submission_id)
            .values(as_columns(changes))
        )
        if after.state != submission.state:
            self.bump_moves(submission.project_id, "submissions", [(submission.state, after.state)])
        return after
