"""`terrazzo simulate`: the whole loop with simulated people, on real reference masks or generated scenes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from terrazzo.cli.connection import KeyOption, UrlOption
from terrazzo.cli.output import JsonFlag, print_json, progress
from terrazzo_schema.errors import BadRequest


def simulate(
    out: Annotated[Path, typer.Option(help="Folder for summary.json, report.html and the system's data.")],
    images: Annotated[Path | None, typer.Option(help="Folder of images.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder of reference masks, same stems.")] = None,
    ontology: Annotated[Path | None, typer.Option(help="Ontology file (YAML or JSON).")] = None,
    annotators: Annotated[int, typer.Option(min=3, max=100, help="Simulated annotators.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of the loop.")] = 3,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples to label in each round.")] = None,
    choose: Annotated[str, typer.Option(help="active, or random for comparison.")] = "active",
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="The same seed makes the same run.")] = 0,
    scenes: Annotated[int, typer.Option(min=10, help="Generated scenes, where no images are given.")] = 120,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Trainer setting as NAME=VALUE (JSON value); repeatable.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Drive the loop through the public REST API: choose, predict, label, check, agree, audit, commit,
    train, promote, again. Writes summary.json and report.html."""
    from terrazzo.cli.train import parse_setting
    from terrazzo.simulation.driver import Simulation, SimulationSettings

    if choose not in ("active", "random"):
        raise BadRequest(f"--choose {choose!r} is unknown", remedy="active or random")
    if (url is None) != (key is None):
        raise BadRequest("--url and --key belong together", remedy="give both, or neither")
    if (out / "data").exists():
        raise BadRequest(
            f"{out / 'data'} holds an earlier run", remedy="give another --out, or remove that folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    world = _world(images, truth, ontology, out, scenes, seed, as_json)
    settings = SimulationSettings(
        annotators=annotators,
        rounds=rounds,
        batch_size=batch,
        seed=seed,
        strategy=choose,
        training=dict(parse_setting(text) for text in set_ or []),
    )
    connection = (url, key) if url is not None and key is not None else None
    with _status(as_json) as say:
        summary = Simulation(world, settings, out, connection, say).run()
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, out, embedded=connection is None)


def _world(
    images: Path | None, truth: Path | None, ontology: Path | None, out: Path, scenes: int, seed: int, quiet: bool
) -> Any:
    from terrazzo.simulation import reference_world
    from terrazzo.simulation.reference import ReferenceFolderError

    if (images is None) != (truth is None):
        raise BadRequest(
            "--images and --truth belong together", remedy="give both, or neither for generated scenes"
        )
    try:
        if images is None or truth is None:
            with progress("draw scenes", scenes, quiet) as advance:
                return reference_world.generated(out / "scenes", scenes, seed, advance)
        world = reference_world.from_folders(images, truth, ontology)
        with progress("read reference masks", len(world.pairs), quiet) as advance:
            world.verify(advance)
        return world
    except ReferenceFolderError as error:
        raise BadRequest(str(error)) from error


def _status(quiet: bool) -> Any:
    """What goes on, on stderr: one live line for people, a line a stage for logs, nothing with --json."""
    from contextlib import contextmanager

    @contextmanager
    def show() -> Any:
        if quiet:
            yield lambda text: None
        elif sys.stderr.isatty():
            from rich.console import Console

            with Console(stderr=True).status("starting") as status:
                yield status.update
        else:
            yield _line_per_stage()

    return show()


def _line_per_stage() -> Any:
    last = ""

    def say(text: str) -> None:
        nonlocal last
        stage = text.split(",")[0] if text.startswith("round") else text.split(" ")[0]
        if stage != last:
            print(stage, file=sys.stderr, flush=True)
            last = stage

    return say


def _print_summary(summary: dict[str, Any], out: Path, embedded: bool) -> None:
    typer.echo(f"\n{summary['source']['note']}\n")
    typer.echo("round  labelled  s/sample  (from nothing)  consensus IoU  single IoU  model mIoU")
    for row in summary["rounds"]:
        typer.echo(
            f"{row['index']:5}  {row['num_labelled_total']:8}  {row['human_seconds_per_sample']:8.0f}"
            f"  {row['from_nothing_seconds_per_sample']:14.0f}  {_figure(row['consensus_iou']):>13}"
            f"  {_figure(row['single_annotator_iou']):>10}  {_figure(row['model_miou']):>10}"
            + ("" if row["promoted"] else "  not promoted")
        )
    totals = summary["totals"]
    typer.echo(
        f"\n{totals['tasks_created']} tasks, {totals['tasks_leaked']} leaked; "
        f"{totals['events_published']} events, {totals['dead_letters']} dead letters; "
        f"{totals['wall_s']:.0f} s, {totals['peak_memory_mb']:.0f} MiB at most"
    )
    typer.echo(f"\nThe report:          {out / 'report.html'}\nThe figures:         {out / 'summary.json'}")
    if embedded:
        typer.echo(f"The running system:  terrazzo up --data-dir {out / 'data'}")


def _figure(value: float | None) -> str:
    return "-" if value is None else json.dumps(round(value, 4))
