"""`terrazzo dataset add` and `checkout`: a folder of label files beside a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, print_json
from terrazzo_schema.errors import BadRequest

ProjectId = Annotated[str, typer.Argument(help="The project.")]
Folder = Annotated[Path, typer.Argument(help="Folder of index PNGs, named like their images or by sample id.")]


def add(
    project_id: ProjectId,
    folder: Folder,
    message: Annotated[str | None, typer.Option("-m", "--message", help="Also commit, and why.")] = None,
    branch: Annotated[str, typer.Option(help="Branch.")] = "main",
    remove: Annotated[bool, typer.Option("--remove", help="Also remove samples whose files are gone.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Stage the label files of a folder that changed since the last time (by size and time)."""
    from terrazzo_client.label_folder import LabelFolder

    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder", field="folder", value=str(folder))
    with connect(url, key, data_dir) as client:
        added = LabelFolder(client, project_id, folder).add(branch=branch, message=message, remove=remove)
    if as_json:
        print_json(
            {
                "num_files": added.num_files,
                "num_removed": added.num_removed,
                "skipped": [row.model_dump() for row in added.skipped],
                "commit_id": added.commit.commit_id if added.commit else None,
            }
        )
    else:
        made = f"commit {added.commit.commit_id[:12]}" if added.commit else "no commit"
        typer.echo(f"{added.num_files} files, {added.num_removed} removed, {made}")
        for row in added.skipped:
            typer.echo(f"  skipped {row.file}: {row.reason}")
    if added.skipped:
        raise typer.Exit(1)


def checkout(
    project_id: ProjectId,
    ref: Annotated[str, typer.Argument(help="Commit, branch or tag.")],
    folder: Folder,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that were changed by hand.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Make a folder's label files those of a version; only files that differ are touched."""
    from terrazzo_client.label_folder import LabelFolder, LocalChanges

    with connect(url, key, data_dir) as client:
        try:
            done = LabelFolder(client, project_id, folder).checkout(ref, force=force)
        except LocalChanges as error:
            raise BadRequest(str(error), field="folder", remedy="add them first, or give --force") from error
    if as_json:
        print_json({"commit_id": done.commit_id, "num_written": done.num_written, "num_removed": done.num_removed})
    else:
        typer.echo(f"{done.commit_id[:12]}: {done.num_written} files written, {done.num_removed} removed")
