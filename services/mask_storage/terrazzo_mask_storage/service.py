"""The mask storage service, put together."""

from __future__ import annotations

from pathlib import Path

from terrazzo_mask_storage import consumers
from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.installed_gates import InstalledGates
from terrazzo_mask_storage.adapters.store import SqlStore
from terrazzo_mask_storage.api import routers
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.diffs import DiffCache
from terrazzo_mask_storage.handlers.merging.rulings import complete_decided
from terrazzo_mask_storage.handlers.parts import PackCache
from terrazzo_mask_storage.handlers.upkeep.collect import Collector
from terrazzo_mask_storage.handlers.upkeep.repack import Repacker
from terrazzo_runtime.service import Ports, Service, Worker, assemble, handle

NAME = "mask_storage"
VERSION = "0.1.0"
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations" / "versions"


def create(ports: Ports) -> Service:
    service = assemble(
        NAME,
        ("/v1/images", "/v1/masks", "/v1/datasets", "/v1/storage"),
        ports,
        tables=tables.runtime,
        make_store=SqlStore,
        migrations=MIGRATIONS,
        version=VERSION,
    )
    gates = InstalledGates(ports.settings.gate_functions)
    deps = Deps(service.uow, ports.blobs, PackCache(ports.blobs), ports.clock, ports.settings, gates)
    service.app.state.deps = deps
    # An archive goes to a file, so it may be larger than what is held in memory.
    service.app.state.max_bytes_of = lambda path: (
        ports.settings.max_archive_bytes if path.endswith("/import") else ports.settings.max_body_bytes
    )
    service.app.state.diffs = DiffCache()
    for router in routers:
        service.app.include_router(router)
    handle(service, ports, consumers.handlers_of(deps))
    service.workers.append(Worker("merges", lambda: complete_decided(deps)))
    service.workers += [
        Worker("repacking", Repacker(deps).run_once, interval_s=5.0),
        Worker("collecting", Collector(deps).run_once, interval_s=60.0),
    ]
    return service
