"""A whole system in one thread: requests, events and crashes happen when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from terrazzo.composition import RestPeers, System, make_ports
from terrazzo_client import TerrazzoClient
from terrazzo_runtime.clock import Clock
from terrazzo_runtime.service import Ports
from terrazzo_runtime.settings import Settings


class AsgiTransport(httpx.BaseTransport):
    """Sends requests straight into an ASGI app, from plain code."""

    def __init__(self, app: Callable[[], Any]) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app())
            answer = await transport.handle_async_request(
                httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
            )
            body = await answer.aread()
            headers = [(k, v) for k, v in answer.headers.raw if k.lower() != b"content-encoding"]
            return httpx.Response(answer.status_code, headers=headers, content=body)

        return asyncio.run(send())


class Harness:
    """One system on `folder`. `wrap(name, ports)` may put something between a service and its ports."""

    def __init__(
        self,
        folder: Path,
        names: tuple[str, ...],
        clock: Clock,
        wrap: Callable[[str, Ports], Ports] = lambda name, ports: ports,
        **settings: Any,
    ) -> None:
        self.settings = Settings(data_dir=folder, consumer_backoff_s=0.001, **settings)
        self.clock = clock
        self.transport = AsgiTransport(lambda: self.system.app)
        made = make_ports(self.settings, clock)

        def ports_of(name: str) -> Ports:
            ports = made(name)
            peers = RestPeers(self.settings, ports.authority, clock, self.transport)
            return wrap(name, replace(ports, peers=peers))

        self.system = System(self.settings, names, ports_of)

    def client(self, key: str, retries: int = 0) -> TerrazzoClient:
        return TerrazzoClient("http://test", key, transport=self.transport, retries=retries)

    def drain(self, idle_turns: int = 5) -> None:
        """Let every loop run until nothing is left to do (failed events wait a little before they come again)."""
        import time

        idle = 0
        while idle < idle_turns:
            idle = idle + 1 if self.system.step() == 0 else 0
            if idle:
                time.sleep(0.002)

    def close(self) -> None:
        self.system.stop()
