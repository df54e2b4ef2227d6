"""`terrazzo events`: what could not be handled, and doing it again."""

from __future__ import annotations

from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, show, show_table
from terrazzo_runtime.settings import SERVICES

app = typer.Typer(help="Events that failed: list, replay.", no_args_is_help=True)
COLUMNS = {"service": "service", "event": "event_id", "type": "event_type", "tries": "attempts", "error": "error"}


@app.command()
def dead(
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters of all services."""
    with connect(url, key, data_dir) as client:
        rows = [
            {"service": service, **letter.model_dump(mode="json")}
            for service in SERVICES
            for letter in client.ops.dead_letters(service)
        ]
    show_table(rows, as_json, COLUMNS)


@app.command()
def replay(
    event_id: Annotated[str | None, typer.Argument(help="One event; without it, all of them.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Handle dead letters again; what fails again stays, and the exit code is 1."""
    from terrazzo_client.errors import ApiError

    done: list[str] = []
    failed: list[dict[str, str]] = []
    with connect(url, key, data_dir) as client:
        for service in SERVICES:
            for letter in list(client.ops.dead_letters(service)):
                if event_id is not None and letter.event_id != event_id:
                    continue
                try:
                    client.ops.replay(service, letter.event_id)
                    done.append(letter.event_id)
                except ApiError as error:
                    failed.append({"event_id": letter.event_id, "error": str(error)})
    lines = [f"{len(done)} replayed, {len(failed)} failed", *(f"  {f['event_id']}: {f['error']}" for f in failed)]
    show({"replayed": done, "failed": failed}, as_json, "\n".join(lines))
    if failed or (event_id is not None and not done):
        raise typer.Exit(1)
