"""Leases: a task in one person's hands until a time."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, Forbidden, NotFound
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.task import LeaseCreate, LeaseView
from terrazzo_task.domain.work import KINDS_OF_ROLE, MAX_LEASES_HELD, Lease, Person
from terrazzo_task.handlers.organisations import Done
from terrazzo_task.handlers.projects import project_of
from terrazzo_task.handlers.views import lease_view
from terrazzo_task.ports import Store


class LeaseAnswer(BaseModel):
    """What a request for work got, kept for its retry: a lease, or nothing."""

    lease: LeaseView | None


def person_of(caller: Principal) -> Person:
    return Person(caller.key_id, caller.name, caller.vendor)


def lease_next(tx: Tx[Store], caller: Principal, project_id: str, command: LeaseCreate) -> LeaseAnswer:
    """The next task for this person, if there is one.

    Raises Forbidden for kinds that the role may not do, NotFound, and Conflict when too many leases are held.
    """
    project = project_of(tx.store, caller.organisation_id, project_id)
    allowed = KINDS_OF_ROLE.get(caller.role, ())
    kinds = allowed if command.kinds is None else command.kinds
    for kind in kinds:
        if kind not in allowed:
            raise Forbidden(
                f"the role {caller.role!r} does no {kind} tasks",
                field="kinds",
                value=kind,
                remedy=f"ask for: {', '.join(allowed) or 'nothing'}",
            )
    if command.batch_id is not None:
        batch = tx.store.batch(caller.organisation_id, command.batch_id)
        if batch is None or batch.project_id != project_id:
            raise NotFound(f"no batch {command.batch_id}", field="batch_id", value=command.batch_id)
    now = tx.clock.now()
    held = tx.store.num_live_leases_held(caller.organisation_id, caller.key_id, now)
    if held >= MAX_LEASES_HELD:
        raise Conflict(
            f"this key holds {held} leases", field="leases", value=held, remedy="submit or release one first"
        )
    person = person_of(caller)
    task = tx.store.next_task(
        caller.organisation_id, project_id, person=person, kinds=kinds, batch_id=command.batch_id, now=now
    )
    if task is None:
        return LeaseAnswer(lease=None)
    lease = Lease(
        lease_id=new_id("lse"),
        organisation_id=caller.organisation_id,
        project_id=project_id,
        task_id=task.task_id,
        annotator_id=person.annotator_id,
        vendor=person.vendor,
        state="active",
        created_at=now,
        expires_at=now + timedelta(seconds=command.lease_s or project.lease_s),
    )
    tx.store.add_lease(lease)
    return LeaseAnswer(lease=lease_view(lease, task))


def _lease_of(tx: Tx[Store], caller: Principal, lease_id: str, *, others_too: bool) -> Lease:
    lease = tx.store.lease(caller.organisation_id, lease_id, for_change=True)
    if lease is None:
        raise NotFound(f"no lease {lease_id}", field="lease_id", value=lease_id)
    may_do_others = others_too and caller.role in ("admin", "manager")
    if lease.annotator_id != caller.key_id and not may_do_others:
        raise Forbidden(f"lease {lease_id} is someone else's", field="lease_id", value=lease_id)
    return lease


def extend(tx: Tx[Store], caller: Principal, lease_id: str, lease_s: int | None) -> LeaseView:
    """From now on for `lease_s` (default: the project's); never sooner than it was to end.

    Raises Conflict for a lease that has ended: its task may be in other hands.
    """
    lease = _lease_of(tx, caller, lease_id, others_too=False)
    now = tx.clock.now()
    if not lease.is_live(now):
        state = "expired" if lease.state == "active" else lease.state
        raise Conflict(f"lease {lease_id} is {state}", field="state", value=state, remedy="lease the next task")
    project = project_of(tx.store, caller.organisation_id, lease.project_id)
    until = max(lease.expires_at, now + timedelta(seconds=lease_s or project.lease_s))
    lease = tx.store.change_lease(lease, expires_at=until)
    task = tx.store.task(caller.organisation_id, lease.task_id)
    assert task is not None, "a lease has a task"
    return lease_view(lease, task)


def release(tx: Tx[Store], caller: Principal, lease_id: str) -> Done:
    """Give the task back. One that has ended already is left as it is. Raises Conflict for a used lease."""
    lease = _lease_of(tx, caller, lease_id, others_too=True)
    if lease.state == "used":
        raise Conflict(f"lease {lease_id} was used by a submission", field="state", value=lease.state)
    if lease.state == "active":
        is_live = lease.is_live(tx.clock.now())
        tx.store.change_lease(lease, state="released" if is_live else "expired")
    return Done()
