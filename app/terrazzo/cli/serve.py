"""`terrazzo up` and `terrazzo serve`: run all services, or one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR
from terrazzo.cli.output import JsonFlag
from terrazzo_runtime.settings import SERVICES, load_settings
from terrazzo_schema.errors import BadRequest

DataDir = Annotated[Path | None, typer.Option("--data-dir", help=f"Data folder. [default: {DEFAULT_DATA_DIR}]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8470]")]


def up(data_dir: DataDir = None, host: Host = None, port: Port = None, as_json: JsonFlag = False) -> None:
    """Run all five services in one process on one port, and print the address and an admin key."""
    from terrazzo import server

    settings = load_settings(data_dir=data_dir, host=host, port=port)

    def announce(url: str, key: str | None) -> None:
        if as_json:
            print(json.dumps({"url": url, "key": key, "data_dir": str(settings.data_dir)}), flush=True)
            return
        print(
            f"Terrazzo is up at {url}  (data in {settings.data_dir}; stop with Ctrl-C)\n"
            f"  export TERRAZZO_URL={url}\n  export TERRAZZO_KEY={key}",
            flush=True,
        )

    server.serve(settings, SERVICES, announce)


def serve_one(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(SERVICES)}.")],
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    as_json: JsonFlag = False,
) -> None:
    """Run one service in a process of its own (give the others' addresses in TERRAZZO_SERVICE_URLS)."""
    if service not in SERVICES:
        raise BadRequest(f"there is no service {service!r}", remedy=f"one of: {', '.join(SERVICES)}")
    from terrazzo import server

    settings = load_settings(data_dir=data_dir, host=host, port=port)

    def announce(url: str, key: str | None) -> None:
        document = {"service": service, "url": url, "key": key}
        print(json.dumps(document) if as_json else f"{service} answers at {url}", flush=True)

    server.serve(settings, (service,), announce)
