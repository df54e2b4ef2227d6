"""`terrazzo project`: create, list and look at projects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, show, show_table, take
from terrazzo_schema.ontology import parse_ontology

app = typer.Typer(help="Projects and their ontologies.", no_args_is_help=True)
COLUMNS = {"project": "project_id", "name": "name", "samples": "num_samples", "model": "model_id"}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for people.")],
    ontology: Annotated[Path, typer.Option(help="Ontology file (YAML or JSON).")],
    held_out_percent: Annotated[int, typer.Option(min=0, max=90, help="Share kept for evaluation.")] = 20,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Create a project from an ontology file."""
    classes = parse_ontology(ontology.read_text())
    with connect(url, key, data_dir) as client:
        view = client.projects.create(name=name, ontology=classes.to_dict(), held_out_percent=held_out_percent)
    show(view, as_json, f"{view.project_id}  {view.name}, {len(classes.classes)} classes")


@app.command("list")
def list_(
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """List the projects."""
    with connect(url, key, data_dir) as client:
        show_table(take(client.projects.list(), 0), as_json, COLUMNS)


@app.command()
def progress(
    project_id: Annotated[str, typer.Argument()],
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """How far the labelling is: samples, tasks, submissions, seconds."""
    with connect(url, key, data_dir) as client:
        view = client.projects.progress(project_id)
    lines = [
        f"{what}: " + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none")
        for what, counts in (("samples", view.samples), ("tasks", view.tasks), ("submissions", view.submissions))
    ]
    show(view, as_json, "\n".join([*lines, f"time spent: {view.seconds_spent / 3600:.2f} h"]))
