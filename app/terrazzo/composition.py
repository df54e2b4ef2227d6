"""The composition root: chooses the adapters, builds the services, puts them behind one address.

Only here does code ask which preset is running, and only here do all five services meet.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

from terrazzo import __version__
from terrazzo_client import TerrazzoClient
from terrazzo_masks.native import warm
from terrazzo_runtime.adapters.file_blobs import FileBlobs
from terrazzo_runtime.adapters.log_bus import LogBus
from terrazzo_runtime.auth import TokenAuthority, load_or_create_secret
from terrazzo_runtime.blobs import Blobs
from terrazzo_runtime.bus import Bus
from terrazzo_runtime.clock import Clock, SystemClock
from terrazzo_runtime.database import Database, sqlite_url
from terrazzo_runtime.service import Peers, Ports, Service
from terrazzo_runtime.settings import SERVICES, Settings
from terrazzo_schema.errors import Conflict

Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
_TOKEN_VALID_S = 600


class RestPeers:
    """The other services over REST, with short-lived tokens that are renewed at half their life."""

    def __init__(
        self,
        settings: Settings,
        authority: TokenAuthority,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = transport
        self._urls = {name: settings.url_of(name) for name in SERVICES}
        self._authority = authority
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], tuple[TerrazzoClient, float]] = {}

    def client(self, service: str, organisation_id: str) -> TerrazzoClient:
        now = self._clock.monotonic_s()
        with self._lock:
            kept = self._clients.get((service, organisation_id))
            if kept is not None and now < kept[1]:
                return kept[0]
            token = self._authority.issue_for_service(service, organisation_id, _TOKEN_VALID_S)
            client = TerrazzoClient(self._urls["task"], token, urls=self._urls, transport=self._transport)
            self._clients[service, organisation_id] = (client, now + _TOKEN_VALID_S / 2)
            return client


def make_ports(settings: Settings, clock: Clock | None = None) -> Callable[[str], Ports]:
    """Adapters of the settings' preset: what is shared is made once, databases and blobs per service."""
    clock = clock or SystemClock()
    match settings.preset:
        case "embedded":
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            authority = TokenAuthority(load_or_create_secret(settings.data_dir / "secret"), clock)
            bus: Bus = LogBus(
                settings.data_dir / "bus.sqlite",
                duplicate_share=settings.bus_duplicate_share,
                seed=settings.bus_seed,
            )

            def database_of(name: str) -> Database:
                return Database(sqlite_url(settings.data_dir / f"{name}.sqlite"))

            def blobs_of(name: str) -> Blobs:
                return FileBlobs(settings.data_dir / "blobs" / name)

    peers: Peers = RestPeers(settings, authority, clock)
    return lambda name: Ports(settings, clock, database_of(name), bus, blobs_of(name), authority, peers)


def hold(data_dir: Path, names: Sequence[str]) -> list[int]:
    """Lock each service's place in the data folder; two processes of one service would share its lane
    of the bus. The locks end with the process. Raises Conflict."""
    data_dir.mkdir(parents=True, exist_ok=True)
    handles: list[int] = []
    for name in names:
        handle = os.open(data_dir / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            for held in (*handles, handle):
                os.close(held)
            raise Conflict(
                f"another process runs the {name} service on {data_dir}",
                field="data_dir",
                value=data_dir,
                remedy="stop it, or give another --data-dir",
            ) from None
        handles.append(handle)
    return handles


def settle_memory() -> None:
    """Set the garbage collector up for a process that serves: what is in memory now stays for good.

    The compiler leaves some hundred thousand objects, and each full round would look at all of them: half a second
    in the middle of some request. A request that takes ten thousand label files makes as many objects again and
    again, none of them in rings: with Python's thresholds a sixth of its time went into looking for some.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class System:
    """Some or all of the services in one process, behind one ASGI app."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str] = SERVICES,
        ports_of: Callable[[str], Ports] | None = None,
    ) -> None:
        self.settings = settings
        self._locks = hold(settings.data_dir, names)
        ports_of = ports_of or make_ports(settings)
        self.ports = {name: ports_of(name) for name in names}
        self.services: dict[str, Service] = {
            name: import_module(f"terrazzo_{name}.service").create(self.ports[name]) for name in names
        }
        self.app: Asgi = Front(list(self.services.values()))
        self._warming: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        for service in self.services.values():
            service.start()
        self._warming = threading.Thread(target=self._warm, name="warm")
        self._warming.start()

    def _warm(self) -> None:
        """Off the request path: the first request that meets a kernel must not wait for a compiler."""
        warm(self._stopping.is_set)
        if not self._stopping.is_set():
            settle_memory()

    def stop(self) -> None:
        """Finish what is in hand, then close everything."""
        self._stopping.set()
        if self._warming is not None:
            self._warming.join()
        for service in self.services.values():
            service.stop()
        for ports in self.ports.values():
            ports.database.close()
        next(iter(self.ports.values())).bus.close()
        for lock in self._locks:
            os.close(lock)

    def step(self) -> int:
        """One turn of every loop, in this thread and in a fixed order; for tests."""
        return sum(service.step() for service in self.services.values())

    def admin_key(self) -> str:
        """A fresh admin key of the default organisation. Needs the task service in this process."""
        bootstrap: Callable[[Service, Ports], str] = import_module("terrazzo_task.service").bootstrap_key
        return bootstrap(self.services["task"], self.ports["task"])


class Front:
    """Sends each request to the service whose prefix it has. `/healthz` answers for the process."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._names = [service.name for service in services]
        self._routes = sorted(
            ((prefix, service.app) for service in services for prefix in service.prefixes),
            key=lambda route: -len(route[0]),
        )
        self._fallback = services[0].app  # answers 404 in the one error shape

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        path = scope.get("path", "")
        if path == "/healthz":
            body = {"status": "ok", "version": __version__, "services": self._names}
            await _send_json(send, body)
            return
        app: Any = self._fallback
        for prefix, candidate in self._routes:
            if path == prefix or path.startswith(prefix + "/"):
                app = candidate
                break
        await app(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send_json(send: Any, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
