"""The task service, wired."""

from __future__ import annotations

from pathlib import Path

from terrazzo_runtime.service import Ports, Service, Worker, assemble, handle
from terrazzo_task.adapters.store import SqlStore
from terrazzo_task.adapters.tables import runtime
from terrazzo_task.api import ROUTERS
from terrazzo_task.consumers import handlers_of
from terrazzo_task.handlers import batches, organisations
from terrazzo_task.handlers.views import key_view
from terrazzo_task.ports import Deps

NAME = "task"
VERSION = "0.1.0"
PREFIXES = (
    "/v1/organisations",
    "/v1/keys",
    "/v1/projects",
    "/v1/tasks",
    "/v1/leases",
    "/v1/submissions",
)
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations" / "versions"
LEASES_A_TURN = 500


def create(ports: Ports) -> Service:
    """The service on these ports, its database migrated; nothing runs yet."""
    service = assemble(
        NAME,
        PREFIXES,
        ports,
        tables=runtime,
        make_store=SqlStore,
        migrations=MIGRATIONS,
        version=VERSION,
    )
    deps = Deps(uow=service.uow, clock=ports.clock, authority=ports.authority)
    service.app.state.deps = deps
    for router in ROUTERS:
        service.app.include_router(router)
    handle(service, ports, handlers_of(deps))
    service.workers += [
        Worker("lease-expiry", lambda: _expire_leases(deps), interval_s=1.0),
        Worker("stalled-batches", lambda: _open_stalled(deps), interval_s=30.0),
    ]
    return service


def bootstrap_key(service: Service, ports: Ports) -> str:
    """A fresh admin key of the organisation "default", which is made when it is not there yet."""
    with service.uow.begin() as tx:
        key = organisations.bootstrap(tx)
    return organisations.token_of(ports.authority, key.organisation_id, key_view(key))


def _expire_leases(deps: Deps) -> int:
    """Mark leases that have run out. They count for nothing from their last moment on, marked or not."""
    now = deps.clock.now()
    with deps.uow.read() as store:
        if not store.has_leases_to_expire(now):
            return 0
    with deps.uow.begin() as tx:
        return tx.store.expire_leases(now, LEASES_A_TURN)


def _open_stalled(deps: Deps) -> int:
    with deps.uow.begin() as tx:
        return batches.open_stalled(tx)
