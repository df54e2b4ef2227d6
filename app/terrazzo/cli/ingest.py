"""`terrazzo ingest`: put a folder of images into a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, progress, show
from terrazzo_schema.errors import NotFound

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}


def ingest(
    project_id: Annotated[str, typer.Argument(help="The project that takes them.")],
    folder: Annotated[Path, typer.Argument(help="A folder of images (searched deeply), or one image.")],
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Upload images. Doubles are linked; a broken file is reported and skipped (exit code 1 at the end)."""
    paths = image_paths(folder)
    with connect(url, key, data_dir) as client:
        report = upload(client, project_id, folder, paths, quiet=as_json)
    skipped = "".join(f"\n  skipped {item['file']}: {item['reason']}" for item in report["skipped"])
    show(report, as_json, f"{report['num_new']} new, {report['num_linked']} linked{skipped}")
    if report["skipped"]:
        raise typer.Exit(1)


def image_paths(folder: Path) -> list[Path]:
    """Image files below `folder`, sorted. Raises NotFound when there is none."""
    candidates = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    paths = [p for p in candidates if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise NotFound(f"no images in {folder}", remedy=f"looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
    return paths


def upload(client: Any, project_id: str, root: Path, paths: list[Path], quiet: bool) -> dict[str, Any]:
    from terrazzo_client.errors import ApiError

    report: dict[str, Any] = {"num_new": 0, "num_linked": 0, "skipped": [], "samples": []}
    with progress("ingest", len(paths), quiet) as advance:
        for path in paths:
            name = path.name if root.is_file() else str(path.relative_to(root))
            try:
                view = client.images.upload(project_id, path.read_bytes(), name=name)
            except ApiError as error:
                if error.status not in (400, 413, 422):  # anything else is not this file's fault
                    raise
                report["skipped"].append({"file": name, "reason": str(error)})
            else:
                report["num_linked" if view.duplicate else "num_new"] += 1
                report["samples"].append({"name": name, "sample_id": view.sample_id})
            advance()
    return report
