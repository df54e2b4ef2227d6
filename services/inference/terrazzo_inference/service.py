"""Wiring, and nothing else."""

from __future__ import annotations

from pathlib import Path

from terrazzo_inference.adapters import tables
from terrazzo_inference.adapters.in_process_runtime import InProcessRuntime
from terrazzo_inference.adapters.mask_storage import MaskStorage
from terrazzo_inference.adapters.store import SqlStore
from terrazzo_inference.api import router
from terrazzo_inference.consumers import handlers_of
from terrazzo_inference.handlers.predicting import predict_next
from terrazzo_inference.ports import Deps, ModelRuntime
from terrazzo_runtime.service import Ports, Service, Worker, assemble, handle

NAME = "inference"
VERSION = "0.1.0"
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations" / "versions"


def create(ports: Ports, runtime: ModelRuntime | None = None) -> Service:
    """The inference service. `runtime` replaces the in-process runtime that the settings describe."""
    service = assemble(
        NAME,
        ("/v1/predictions", "/v1/predictors"),
        ports,
        tables=tables.runtime,
        make_store=SqlStore,
        migrations=MIGRATIONS,
        version=VERSION,
    )
    deps = Deps(
        uow=service.uow,
        runtime=runtime or InProcessRuntime(ports.settings.models_dir, threads=ports.settings.inference_threads),
        library=MaskStorage(ports.peers, max_image_pixels=ports.settings.max_image_pixels),
        clock=ports.clock,
    )
    service.app.state.deps = deps
    service.app.include_router(router)
    handle(service, ports, handlers_of(deps))
    service.workers.append(Worker("predicting", lambda: predict_next(deps), interval_s=0.2))
    return service
