"""The training service, wired: the only place that knows every room."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.service import Ports, Service, Worker, assemble, handle
from terrazzo_training import api
from terrazzo_training.adapters import tables
from terrazzo_training.adapters.dataset_versions import RestDatasetVersions
from terrazzo_training.adapters.local_launcher import LocalLauncher
from terrazzo_training.adapters.model_files import FolderRepository
from terrazzo_training.adapters.store import TableStore
from terrazzo_training.consumers import handlers_of
from terrazzo_training.domain.runs import Run
from terrazzo_training.handlers import Deps
from terrazzo_training.ports import JobLauncher
from terrazzo_training.supervisor import Supervisor

VERSION = "0.1.0"
RUN_KEY_VALID = timedelta(days=7)


def create(ports: Ports, launcher: JobLauncher | None = None) -> Service:
    """`launcher` None: trainers are processes of this machine, as the settings say."""
    service = assemble(
        "training",
        ("/v1/runs", "/v1/models"),
        ports,
        tables=tables.runtime,
        make_store=TableStore,
        migrations=Path(__file__).parent / "adapters" / "migrations" / "versions",
        version=VERSION,
    )
    if launcher is None:
        local = LocalLauncher(
            ports.settings.data_dir / "training" / "runs",
            num_processes=ports.settings.training_processes,
            num_threads=ports.settings.training_threads,
        )
        service.on_stop.append(local.close)
        launcher = local

    def key_for(run: Run) -> str:
        principal = Principal(f"key_{run.run_id}", run.organisation_id, "trainer", run.run_id)
        return ports.authority.issue(principal, ports.clock.now() + RUN_KEY_VALID)

    supervisor = Supervisor(
        service.uow,
        ports.blobs,
        launcher,
        FolderRepository(ports.settings.models_dir),
        RestDatasetVersions(ports.peers),
        ports.settings.url_of("mask_storage"),
        key_for,
    )
    deps = Deps(service.uow, launcher)
    service.app.state.deps = deps
    service.app.include_router(api.router)
    handle(service, ports, handlers_of(deps))
    service.workers.append(Worker("supervisor", supervisor.run_once, interval_s=0.2))
    return service
