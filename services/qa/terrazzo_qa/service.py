"""The QA service, wired."""

from __future__ import annotations

from pathlib import Path

from terrazzo_qa import consumers
from terrazzo_qa.adapters.peer_mask_storage import PeerMaskStorage
from terrazzo_qa.adapters.store import SqlStore
from terrazzo_qa.adapters.tables import runtime
from terrazzo_qa.api import adjudications, audits, checks, consensus, scorecards
from terrazzo_qa.ports import Deps, Store
from terrazzo_runtime.service import Ports, Service, assemble, handle
from terrazzo_runtime.unit_of_work import UnitOfWork

VERSION = "0.1.0"
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations" / "versions"
PREFIXES = ("/v1/checks", "/v1/consensus", "/v1/adjudications", "/v1/audits", "/v1/scorecards")


def create(ports: Ports) -> Service:
    """Build the service on `ports`; its database is migrated first."""
    service = assemble(
        "qa",
        PREFIXES,
        ports,
        tables=runtime,
        make_store=SqlStore,
        migrations=MIGRATIONS,
        version=VERSION,
    )
    uow: UnitOfWork[Store] = service.uow
    deps = Deps(uow=uow, blobs=ports.blobs, masks=PeerMaskStorage(ports.peers))
    service.app.state.deps = deps
    for room in (checks, consensus, adjudications, audits, scorecards):
        service.app.include_router(room.router)
    handle(service, ports, consumers.handlers_of(deps))
    return service
