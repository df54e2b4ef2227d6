"""Runs a System under uvicorn, and leaves a note of its address and key for the command line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from terrazzo_runtime.settings import SERVICES, Settings
from terrazzo_schema.errors import Conflict

CONNECTION_FILE = "connection.json"


def bind(settings: Settings) -> tuple[socket.socket, Settings]:
    """Take the port now, so that its number is known before the services are built.

    Raises Conflict when something else has it.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Conflict(
            f"{settings.host}:{settings.port} can't be used: {error.strerror}",
            field="port",
            value=settings.port,
            remedy="stop the other program, or take another port with --port (0: any free one)",
        ) from error
    return listener, settings.model_copy(update={"port": listener.getsockname()[1]})


def serve(
    settings: Settings,
    names: Sequence[str] = SERVICES,
    announce: Callable[[str, str | None], None] = lambda url, key: None,
) -> None:
    """Serve until interrupted. `announce(url, admin_key)` is called when requests are answered
    (the key is None where the task service runs elsewhere)."""
    listener, settings = bind(settings)
    import uvicorn

    from terrazzo.composition import System

    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s [%(threadName)s] %(message)s"
    )
    system = System(settings, names)
    url = f"http://{settings.host}:{settings.port}"
    key = system.admin_key() if "task" in names else None
    note = settings.data_dir / CONNECTION_FILE
    config = uvicorn.Config(
        system.app, log_level=settings.log_level, access_log=False, timeout_graceful_shutdown=10
    )

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if key is not None:
                _write_private(note, {"url": url, "key": key, "pid": os.getpid()})
            announce(url, key)

    system.start()
    try:
        Announcing(config).run(sockets=[listener])
    finally:
        system.stop()
        if key is not None:
            with contextlib.suppress(FileNotFoundError):
                note.unlink()


def _write_private(path: Path, document: dict[str, object]) -> None:
    """Written beside and renamed: a reader sees all of it or none, and only the owner can read it."""
    temporary = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(document, file)
    os.replace(temporary, path)
