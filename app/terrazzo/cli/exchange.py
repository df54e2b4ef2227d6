"""`terrazzo dataset export` and `import`: versions as archives in the formats that people have."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, byte_progress, show
from terrazzo_schema.rest.mask_storage import ExportFormat

LINES_MAX = 20
ProjectId = Annotated[str, typer.Argument(help="The project.")]
FormatOption = Annotated[ExportFormat, typer.Option("--format", help="Format of the archive.")]


def export(
    project_id: ProjectId,
    to: Annotated[Path, typer.Argument(help="File to write (.zip).")],
    ref: Annotated[str, typer.Option(help="Commit, branch or tag.")] = "main",
    format_: FormatOption = "index",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Write a version as an archive of images and masks; exit status 1 when samples do not fit the format."""
    with connect(url, key, data_dir) as client, byte_progress("exporting", None, as_json) as at:
        client.datasets.export(project_id, ref=ref, format=format_, to=to, progress=at)
    with zipfile.ZipFile(to) as archive:
        report: dict[str, Any] = json.loads(archive.read("export-report.json"))
    size = to.stat().st_size
    lines = [f"{to}  {size / 2**20:.1f} MiB, {report['num_samples']} samples"]
    lines += _lines("left out", report["num_refused"], [(n["sample"], n["reason"]) for n in report["refused"]])
    lines += _lines("not whole", report["num_losses"], [(n["sample"], n["reason"]) for n in report["losses"]])
    show({"file": str(to), "size_bytes": size, **report}, as_json, "\n".join(lines))
    if report["num_refused"]:
        raise typer.Exit(1)


def import_(
    project_id: ProjectId,
    archive: Annotated[Path, typer.Argument(help="Archive (.zip) or folder in one of the formats of export.")],
    branch: Annotated[str, typer.Option(help="Branch.")] = "main",
    format_: FormatOption = "index",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Read images and masks from an archive or a folder and stage them; commit when they look right."""
    if not archive.exists():
        raise typer.BadParameter(f"there is no file or folder {archive}", param_hint="ARCHIVE")
    total = archive.stat().st_size if archive.is_file() else None
    with connect(url, key, data_dir) as client, byte_progress("importing", total, as_json) as at:
        report = client.datasets.import_(project_id, archive, branch=branch, format=format_, progress=at)
    lines = [f"{report.num_imported} staged, {report.num_skipped} skipped"]
    lines += _lines("skipped", report.num_skipped, [(n["file"], n["reason"]) for n in report.skipped])
    lines += _lines("not whole", report.num_losses, [(n["file"], n["reason"]) for n in report.losses])
    show(report, as_json, "\n".join(lines))
    if report.num_skipped:
        raise typer.Exit(1)


def _lines(title: str, num: int, notes: list[tuple[str, str]]) -> list[str]:
    """The first notes of a report, and how many more there are."""
    lines = [f"  {title} {file}: {reason}" for file, reason in notes[:LINES_MAX]]
    return [*lines, f"  ... and {num - LINES_MAX} more (--json)"] if num > LINES_MAX else lines
