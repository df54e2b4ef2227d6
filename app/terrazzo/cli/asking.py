"""Commands that ask a running system: functions of the system and of their own arguments, that return an answer.

`asking` adds the options that all of them have (--url, --key, --data-dir, --json), connects when the system is
first asked something, and prints the answer.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, show, show_table

if TYPE_CHECKING:
    from terrazzo_client import TerrazzoClient


@dataclass(frozen=True)
class Said:
    """An answer: its JSON document, and the same for people. `failed`: the exit code is 1."""

    value: Any
    text: str
    failed: bool = False


@dataclass(frozen=True)
class Listed:
    """An answer of many rows. `columns` maps a heading to the field that it shows."""

    rows: Sequence[Any]
    columns: Mapping[str, str]


class Remote:
    """The system that a command asks. A mistake in the arguments is said before anybody is looked for."""

    def __init__(self, open_client: Callable[[], TerrazzoClient]) -> None:
        self._open = open_client

    @functools.cached_property
    def client(self) -> TerrazzoClient:
        return self._open()


def _shared(
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """What every command takes, after its own arguments."""


def asking(body: Callable[..., Said | Listed]) -> Callable[..., None]:
    """The command of `body(remote, its own arguments)`, as Typer reads it."""

    @functools.wraps(body)
    def run(*, url: str | None, key: str | None, data_dir: Path, as_json: bool, **own: Any) -> None:
        with ExitStack() as stack:
            answer = body(Remote(lambda: stack.enter_context(connect(url, key, data_dir))), **own)
        if isinstance(answer, Listed):
            show_table(answer.rows, as_json, answer.columns)
            return
        show(answer.value, as_json, answer.text)
        if answer.failed:
            raise typer.Exit(1)

    _, *before = inspect.signature(body, eval_str=True).parameters.values()
    after = inspect.signature(_shared, eval_str=True).parameters.values()
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*before, *after)]
    # Typer looks at both.
    run.__dict__["__signature__"] = inspect.Signature(parameters, return_annotation=None)
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
