"""How commands speak: a table or a line for people, one JSON document for scripts (`--json`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import BaseModel

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def plain(value: Any) -> Any:
    """JSON-ready form of models, lists and mappings of them."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def show(value: Any, as_json: bool, line: str) -> None:
    """One result: the JSON document, or `line`."""
    if as_json:
        print_json(value)
    else:
        typer.echo(line)


def show_table(rows: Sequence[Any], as_json: bool, columns: Mapping[str, str]) -> None:
    """Rows of a listing. `columns` maps a heading to the field that it shows."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        typer.echo("nothing here")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        document = plain(row)
        table.add_row(*(_cell(document.get(field)) for field in columns.values()))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return str(len(value))
    return str(value)


@contextmanager
def progress(title: str, total: int | None, quiet: bool) -> Iterator[Any]:
    """A progress bar on stderr; yields `advance(n=1)`. Silent with --json or when nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda n=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n=1: bar.advance(task, n)


@contextmanager
def byte_progress(title: str, total: int | None, quiet: bool) -> Iterator[Any]:
    """A progress bar in bytes on stderr; yields `at(num_bytes)`. No `total`: it shows what came and how fast.

    Silent with --json or when nobody watches.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda num_bytes: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda num_bytes: bar.update(task, completed=num_bytes)


def take(items: Iterable[Any], limit: int) -> list[Any]:
    """The first `limit` items of a listing (0: all)."""
    out = []
    for item in items:
        out.append(item)
        if limit and len(out) >= limit:
            break
    return out
