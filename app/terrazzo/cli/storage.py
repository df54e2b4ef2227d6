"""`terrazzo storage`: what is stored, whether it is sound, and what can go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, print_json, progress, show

if TYPE_CHECKING:
    from terrazzo_schema.rest.mask_storage import Damage

app = typer.Typer(help="What is stored: stats, verify, gc.", no_args_is_help=True)
MIB = 2**20


@app.command()
def stats(
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Images, masks, versions and packs, and the bytes of parts by kind and encoding."""
    with connect(url, key, data_dir) as client:
        found = client.storage.stats()
    lines = [
        f"{found.num_images:,} images, {found.image_bytes / MIB:,.1f} MiB",
        f"{found.num_masks:,} masks and {found.num_commits:,} versions in {found.num_packs:,} packs, "
        f"{found.pack_bytes / MIB:,.2f} MiB ({found.live_bytes / MIB:,.2f} MiB in use; "
        f"{found.num_unsettled:,} packs wait to be packed small)",
    ]
    for part in found.parts:
        size = f"{part.size_bytes / MIB:>10,.2f} MiB"
        lines.append(f"  {part.kind:5} {part.encoding:10} {part.num_parts:>10,}  {size}")
    show(found, as_json, "\n".join(lines))


@app.command()
def verify(
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Read and hash everything again; names every damage by sample. The exit code is 1 when there is any."""
    damages: list[Damage] = []
    report = None
    with connect(url, key, data_dir) as client:
        lines = client.storage.verify()
        first = next(lines)
        with progress("verifying", first.total, as_json) as advance:
            done = first.done
            for line in lines:
                advance(line.done - done)
                done = line.done
                if line.damage is not None:
                    damages.append(line.damage)
                report = line.report or report
    if report is None:
        typer.echo("the answer broke off before its end: nothing can be said of the rest", err=True)
        raise typer.Exit(1)
    if as_json:
        print_json({"report": report, "damages": damages})
    else:
        for damage in damages:
            typer.echo(_text(damage))
        typer.echo(
            f"{report.num_packs:,} packs with {report.num_parts:,} parts, {report.num_masks:,} masks, "
            f"{report.num_commits:,} versions, {report.num_images:,} images: "
            + (f"{report.num_damages:,} damaged" if report.num_damages else "all sound")
        )
    if report.num_damages:
        raise typer.Exit(1)


def _text(damage: Damage) -> str:
    """One damage as a line: what it touches, where, and what is wrong."""
    if damage.sample_ids:
        what = f"sample {', '.join(damage.sample_ids)}"
    elif damage.commit_ids:
        what = f"version {', '.join(commit_id[:12] for commit_id in damage.commit_ids)}"
    else:
        what = "no sample"
    where = ""
    if damage.mask_id is not None:
        where += f", mask {damage.mask_id}"
    if damage.box is not None:
        y, x, height, width = damage.box
        where += f", rows {y} to {y + height - 1}, columns {x} to {x + width - 1}"
    pack = f" in pack {damage.pack}" if damage.pack is not None else ""
    return f"{what}{where}: {damage.kind} {damage.digest}{pack}: {damage.reason}"


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Remove packs that nothing refers to, once they are older than the grace period."""
    with connect(url, key, data_dir) as client:
        report = client.storage.gc(dry_run=dry_run)
    would = "would be " if dry_run else ""
    line = (
        f"{report.num_removed:,} packs ({report.bytes_removed / MIB:,.2f} MiB) {would}removed, "
        f"{report.num_rewritten:,} {would}written anew ({report.bytes_saved / MIB:,.2f} MiB less); "
        f"younger than {report.grace_hours} h were left alone"
    )
    show(report, as_json, line)
