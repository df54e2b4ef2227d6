"""`terrazzo dataset`: versions of the labels, as commits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli import exchange, label_folders, merging
from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, print_json, show, show_table, take
from terrazzo_schema.errors import BadRequest
from terrazzo_schema.ontology import parse_ontology

app = typer.Typer(
    help="Dataset versions: commit, branch, merge, revert, diff, blame, tag, check, export, import.",
    no_args_is_help=True,
)
ProjectId = Annotated[str, typer.Argument(help="The project.")]
Branch = Annotated[str, typer.Option(help="Branch.")]


@app.command()
def commit(
    project_id: ProjectId,
    message: Annotated[str, typer.Option("-m", "--message", help="What changed and why.")],
    branch: Branch = "main",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Make a version of what was accepted since the last one."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.commit(project_id, message=message, branch=branch)
    show(view, as_json, f"{view.commit_id[:12]}  {view.num_changed} changed, {view.num_samples} samples")


@app.command()
def log(
    project_id: ProjectId,
    ref: Annotated[str, typer.Option(help="Commit, branch or tag to start from.")] = "main",
    limit: Annotated[int, typer.Option(min=0, help="How many; 0: all.")] = 50,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """The commits behind a version, newest first."""
    columns = {
        "commit": "commit_id",
        "when": "created_at",
        "samples": "num_samples",
        "changed": "num_changed",
        "message": "message",
    }
    with connect(url, key, data_dir) as client:
        show_table(take(client.datasets.log(project_id, ref=ref), limit), as_json, columns)


@app.command("show")
def show_(
    project_id: ProjectId,
    ref: Annotated[str, typer.Argument(help="Commit, branch or tag.")] = "main",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """One version: its parents, size and pixels per class."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.show(project_id, ref)
    counts = "\n".join(f"  class {c}: {n:,} px" for c, n in sorted(view.counts.items()))
    parents = "".join(f"parent {parent_id}\n" for parent_id in view.parent_ids)
    text = (
        f"commit {view.commit_id}\n{parents}tree   {view.tree_id}\n{view.created_at:%Y-%m-%d %H:%M} {view.author}"
    )
    show(view, as_json, f"{text}\n\n  {view.message}\n\n{view.num_samples} samples\n{counts}")


@app.command()
def diff(
    project_id: ProjectId,
    base: Annotated[str, typer.Argument(help="From this version.")],
    head: Annotated[str, typer.Argument(help="To this one.")] = "main",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many samples to list.")] = 50,
    picture: Annotated[Path | None, typer.Option(help="Draw the class-to-class flow to this PNG file.")] = None,
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Which samples; no pixels are compared.")
    ] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Which samples changed, how many pixels, from which class to which."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.diff(project_id, base=base, head=head, page_size=limit, pixels=not names_only)
        if picture is not None and view.flow:
            from terrazzo.flow_picture import write_flow_png

            ontology = parse_ontology(client.projects.ontology(project_id).ontology)
            flow = [(row.from_class, row.to_class, row.pixels) for row in view.flow]
            write_flow_png(picture, flow, {c.id: c.name for c in ontology}, f"{base} to {head}")
    if as_json:
        print_json(view)
        return
    pixels = "" if view.changed_pixels is None else f"; {view.changed_pixels:,} pixels"
    typer.echo(f"{view.num_added} added, {view.num_removed} removed, {view.num_changed} changed{pixels}")
    for row in view.flow:
        typer.echo(f"  class {row.from_class} -> {row.to_class}: {row.pixels:,} px")
    if picture is not None:
        typer.echo(f"  {picture}" if view.flow else "  no pixel changed its class: there is nothing to draw")
    for sample in view.samples:
        pixels = "" if sample.changed_pixels is None else f"  {sample.changed_pixels:,} px"
        typer.echo(f"  {sample.change:8} {sample.name}{pixels}")


@app.command()
def blame(
    project_id: ProjectId,
    sample_id: Annotated[str, typer.Argument()],
    y: Annotated[int | None, typer.Option(min=0, help="Row.")] = None,
    x: Annotated[int | None, typer.Option(min=0, help="Column.")] = None,
    box: Annotated[
        tuple[int, int, int, int] | None, typer.Option(help="A region instead: row, column, height, width.")
    ] = None,
    ref: Annotated[str, typer.Option(help="Commit, branch or tag.")] = "main",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Who set this pixel (--y, --x) or the pixels of a region (--box), in which submission and commit."""
    if box is not None:
        _blame_box(project_id, sample_id, box, ref, url, key, data_dir, as_json)
        return
    if y is None or x is None:
        raise BadRequest("which pixel?", remedy="give --y and --x, or --box ROW COLUMN HEIGHT WIDTH")
    with connect(url, key, data_dir) as client:
        view = client.datasets.blame(project_id, sample_id, y=y, x=x, ref=ref)
    line = f"class {view.class_id}, set by {view.set_by_kind} {view.set_by}, commit {view.commit_id[:12]}"
    if view.submission_id:
        line += f", submission {view.submission_id}"
    if view.accepted_by:
        line += f", agreed by {', '.join(view.accepted_by)}"
    show(view, as_json, line)


def _blame_box(
    project_id: str,
    sample_id: str,
    box: tuple[int, int, int, int],
    ref: str,
    url: str | None,
    key: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    y, x, height, width = box
    with connect(url, key, data_dir) as client:
        view = client.datasets.blame_region(project_id, sample_id, y=y, x=x, height=height, width=width, ref=ref)
    lines = [
        f"{group.pixels:>10,} px  class {group.class_id}  {group.set_by_kind} {group.set_by}  "
        f"commit {group.commit_id[:12]}  at {group.box.y},{group.box.x} ({group.box.height} x {group.box.width})"
        for group in view.groups
    ]
    show(view, as_json, "\n".join(lines))


@app.command()
def tag(
    project_id: ProjectId,
    name: Annotated[str, typer.Argument()],
    ref: Annotated[str, typer.Argument(help="Commit, branch or tag.")] = "main",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Give a version a name that stays."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.tag(project_id, name=name, ref=ref)
    show(view, as_json, f"{view.name} -> {view.commit_id[:12]}")


merging.add_to(app)
app.command("add")(label_folders.add)
app.command("checkout")(label_folders.checkout)
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
