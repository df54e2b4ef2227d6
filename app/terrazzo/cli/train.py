"""`terrazzo train`: start a run and watch it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, show
from terrazzo_schema.errors import BadRequest

if TYPE_CHECKING:
    from terrazzo_client import TerrazzoClient
    from terrazzo_schema.rest.training import RunView

ENDED = ("succeeded", "failed", "cancelled")


def train(
    project_id: Annotated[str, typer.Argument()],
    ref: Annotated[str, typer.Option(help="Dataset version: commit, branch or tag.")] = "main",
    eval_ref: Annotated[str | None, typer.Option(help="Held-out version to evaluate on.")] = None,
    init_from: Annotated[str | None, typer.Option(help="Model whose weights to start from.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Trainer setting as NAME=VALUE (JSON value); repeatable.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Train a model on a dataset version. Exit code 1 when the run fails."""
    config = dict(parse_setting(text) for text in set_ or [])
    with connect(url, key, data_dir) as client:
        run = client.runs.create(
            project_id=project_id, ref=ref, eval_ref=eval_ref, init_from=init_from, seed=seed, config=config
        )
        if wait:
            run = _follow(client, run, quiet=as_json)
    show(run, as_json, f"{run.run_id}  {run.state}" + (f", model {run.model_id}" if run.model_id else ""))
    if run.state in ("failed", "cancelled"):
        typer.echo(run.reason or run.state, err=True)
        raise typer.Exit(1)


def parse_setting(text: str) -> tuple[str, object]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise BadRequest(f"--set {text!r} has no '='", remedy="write NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _follow(client: TerrazzoClient, run: RunView, quiet: bool) -> RunView:
    """Ask until the run has ended; a line for each epoch."""
    shown = 0
    while True:
        run = client.runs.get(run.run_id)
        for epoch in run.epochs[shown:]:
            if not quiet:
                typer.echo(f"epoch {epoch.epoch}/{run.num_epochs}  loss {epoch.loss:.4f}  {epoch.seconds:.1f} s")
        shown = len(run.epochs)
        if run.state in ENDED:
            return run
        time.sleep(0.5)
