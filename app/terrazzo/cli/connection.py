"""Where the commands find a running system: options, then the environment, then the note of `terrazzo up`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from terrazzo_schema.errors import Unavailable

if TYPE_CHECKING:
    from terrazzo_client import TerrazzoClient

UrlOption = Annotated[str | None, typer.Option("--url", envvar="TERRAZZO_URL", help="Address of the system.")]
KeyOption = Annotated[str | None, typer.Option("--key", envvar="TERRAZZO_KEY", help="API key (tz_…).")]
DataOption = Annotated[
    Path, typer.Option("--data-dir", envvar="TERRAZZO_DATA_DIR", help="Data folder of the embedded system.")
]
DEFAULT_DATA_DIR = Path("terrazzo-data")


@dataclass(frozen=True)
class Connection:
    url: str
    key: str


def find(url: str | None, key: str | None, data_dir: Path = DEFAULT_DATA_DIR) -> Connection:
    """Raises Unavailable when nothing says where the system is."""
    if url and key:
        return Connection(url, key)
    note = data_dir / "connection.json"
    try:
        document = json.loads(note.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        raise Unavailable(
            "no running system was found",
            remedy=f"start one with `terrazzo up` (data folder {data_dir}), or give --url and --key",
        ) from None
    return Connection(url or document["url"], key or document["key"])


def connect(url: str | None, key: str | None, data_dir: Path = DEFAULT_DATA_DIR) -> TerrazzoClient:
    from terrazzo_client import TerrazzoClient

    found = find(url, key, data_dir)
    return TerrazzoClient(found.url, found.key)
