"""A mask storage of its own for measurements: the embedded adapters (or PostgreSQL), asked over its REST API."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from terrazzo_client import TerrazzoClient
from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.handlers.caches import PackCache
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.diffs import DiffCache
from terrazzo_mask_storage.ports import Project, Scope
from terrazzo_mask_storage.service import create
from terrazzo_runtime.adapters.file_blobs import FileBlobs
from terrazzo_runtime.adapters.log_bus import LogBus
from terrazzo_runtime.auth import Principal, TokenAuthority
from terrazzo_runtime.clock import SystemClock
from terrazzo_runtime.database import Database, sqlite_url
from terrazzo_runtime.service import Ports
from terrazzo_runtime.settings import Settings
from terrazzo_schema.samples import sample_id_of

SCOPE = Scope("org_01jdzzzzzzzzzzzzzzzzzzzzzz", "prj_01jdzzzzzzzzzzzzzzzzzzzzzz")
_CLASSES = [{"id": n, "name": f"class {n}", "color": f"#{n * 5_000:06x}"} for n in range(1, 60)]
ONTOLOGY = json.dumps({"name": "bench", "unlabelled": [255], "classes": _CLASSES})


class NoPeers:
    def client(self, service: str, organisation_id: str) -> Any:
        raise AssertionError(f"{service} was not expected to be asked")


class LabelWorld:
    """The service over `folder` (database: `url`, else SQLite there), and a client of it, in one process."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from starlette.testclient import TestClient

        folder.mkdir(parents=True, exist_ok=True)
        clock = SystemClock()
        authority = TokenAuthority("a-secret-for-measurements-of-32-bytes", clock)
        self.folder = folder
        self.database = Database(url or sqlite_url(folder / "mask_storage.sqlite"))
        self.blobs = FileBlobs(folder / "blobs")
        settings = Settings.model_validate({"data_dir": folder})
        bus = LogBus(folder / "bus.sqlite")
        ports = Ports(settings, clock, self.database, bus, self.blobs, authority, NoPeers())
        self.service = create(ports)
        key = authority.issue(Principal("key_bench000000", SCOPE.organisation_id, "admin", "bench", None))
        transport = TestClient(self.service.app)._transport
        # One event loop for all requests, as a server has.
        self._loop = start_blocking_portal()
        portal = self._loop.__enter__()
        transport.portal_factory = lambda: nullcontext(portal)
        self.client = TerrazzoClient("http://testserver", key, transport=transport, timeout_s=600)
        self.now = clock.now()
        # A server has been asked before: the first request makes the routes, which `terrazzo up` waits for too.
        self.client.ops.health("mask_storage")

    @property
    def deps(self) -> Deps:
        deps: Deps = self.service.app.state.deps
        return deps

    def forget(self) -> None:
        """Drop what is cached: the next question is answered from files and tables."""
        from dataclasses import replace

        self.service.app.state.deps = replace(self.deps, packs=PackCache(self.blobs))
        self.service.app.state.diffs = DiffCache()

    def add_project(self) -> None:
        with self.service.uow.begin() as tx:
            tx.store.put_project(SCOPE, Project("bench", 30, 1, ONTOLOGY))

    def add_images(self, hashes: Iterable[tuple[str, str]], height: int, width: int) -> None:
        """Samples of (image hash, name): rows alone, no image is stored."""
        rows = [
            {
                "organisation_id": SCOPE.organisation_id,
                "project_id": SCOPE.project_id,
                "image_hash": image_hash,
                "sample_id": sample_id_of(image_hash),
                "names": [name],
                "attributes": {},
                "height": height,
                "width": width,
                "channels": 3,
                "media_type": "image/jpeg",
                "size_bytes": 1,
                "created_at": self.now,
            }
            for image_hash, name in hashes
        ]
        with self.service.uow.begin() as tx:
            tx.connection.execute(tables.images.insert(), rows)

    def num_bytes(self) -> int:
        """Pages in use of the database and bytes of blobs, without events: they go when they are relayed."""
        with self.service.uow.begin() as tx:
            tx.connection.execute(self.service.uow.tables.outbox.delete())
        with self.database.engine.connect() as connection:
            said = {
                name: int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
                for name in ("page_count", "freelist_count", "page_size")
            }
        in_use = (said["page_count"] - said["freelist_count"]) * said["page_size"]
        return in_use + sum(path.stat().st_size for path in (self.folder / "blobs").rglob("*") if path.is_file())

    def close(self) -> None:
        self.client.close()
        self._loop.__exit__(None, None, None)
        self.database.close()
