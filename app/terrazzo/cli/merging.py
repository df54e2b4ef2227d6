"""`terrazzo dataset`: branches, merges, reverts, picks, and the check that a CI job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, print_json, show, show_table, take
from terrazzo_schema.errors import BadRequest
from terrazzo_schema.rest.merges import GateReportView, MergeStrategy, MergeView, PickStrategy

ProjectId = Annotated[str, typer.Argument(help="The project.")]
MergeId = Annotated[str, typer.Argument(help="The merge (mrg_…).")]
Source = Annotated[str, typer.Argument(help="Commit, branch or tag to merge.")]
Into = Annotated[str, typer.Option("--into", help="Branch to merge into.")]
OnConflict = Annotated[MergeStrategy, typer.Option("--on-conflict", help="Make tasks, take one side, or fail.")]
Pick = Annotated[PickStrategy, typer.Option("--on-conflict", help="Fail, or take one side.")]
Message = Annotated[str | None, typer.Option("-m", "--message", help="What and why.")]
NO_PROBLEM = ("merged", "fast_forward", "up_to_date", "open")


def branch(
    project_id: ProjectId,
    name: Annotated[str, typer.Argument(help="Its name.")],
    at: Annotated[str, typer.Option(help="Commit, branch or tag where it starts.")] = "main",
    delete: Annotated[bool, typer.Option("--delete", help="Take the name away instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete it with what is staged on it.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Make a branch, or take one away (its commits stay)."""
    with connect(url, key, data_dir) as client:
        if delete:
            view = client.datasets.delete_branch(project_id, name, force=force)
        else:
            view = client.datasets.create_branch(project_id, name, at)
    show(
        view, as_json, f"{'deleted ' if delete else ''}{view.name} {'was at' if delete else '->'} {view.commit_id}"
    )


def branches(
    project_id: ProjectId,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Branches, and the commit that each is at."""
    with connect(url, key, data_dir) as client:
        show_table(list(client.datasets.branches(project_id)), as_json, {"branch": "name", "commit": "commit_id"})


def merge(
    project_id: ProjectId,
    source: Source,
    into: Into = "main",
    message: Message = None,
    on_conflict: OnConflict = "adjudicate",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be; store nothing.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Merge a version into a branch, by sample, tile and pixel. Conflicts become tasks."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.merge(
            project_id, source, target=into, message=message, on_conflict=on_conflict, dry_run=dry_run
        )
    show(view, as_json, "\n".join(lines_of(view)))
    if view.state not in NO_PROBLEM:
        raise typer.Exit(1)


def merges(
    project_id: ProjectId,
    limit: Annotated[int, typer.Option(min=0, help="How many; 0: all.")] = 50,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Merges, the newest first."""
    columns = {
        "merge": "merge_id",
        "state": "state",
        "source": "source",
        "into": "target",
        "conflicts": "num_conflicts",
        "decided": "num_resolved",
        "commit": "commit_id",
    }
    with connect(url, key, data_dir) as client:
        show_table(take(client.datasets.merges(project_id), limit), as_json, columns)


def conflicts(
    project_id: ProjectId,
    merge_id: MergeId,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """A merge's conflicts: samples, pixels, both sides' masks."""
    columns = {
        "sample": "sample_id",
        "name": "name",
        "kind": "kind",
        "pixels": "num_pixels",
        "state": "state",
        "ours": "ours_mask_id",
        "theirs": "theirs_mask_id",
    }
    with connect(url, key, data_dir) as client:
        show_table(list(client.datasets.conflicts(project_id, merge_id)), as_json, columns)


def resolve(
    project_id: ProjectId,
    merge_id: MergeId,
    sample_id: Annotated[str, typer.Argument(help="The sample in conflict.")],
    ours: Annotated[bool, typer.Option("--ours", help="The target branch's mask.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="The source's mask.")] = False,
    mask: Annotated[Path | None, typer.Option(help="Index PNG, TIFF or .npy: the ruling as a label map.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Decide one conflict by hand. The merge is made when the last one is decided."""
    if ours + theirs + (mask is not None) != 1:
        raise BadRequest("one ruling is needed", remedy="give --ours, --theirs or --mask FILE")
    with connect(url, key, data_dir) as client:
        mask_id = client.masks.put(project_id, mask.read_bytes()).mask_id if mask is not None else None
        choose = None if mask is not None else ("ours" if ours else "theirs")
        view = client.datasets.resolve_conflict(
            project_id,
            merge_id,
            sample_id,
            choose=choose,  # type: ignore[arg-type]  # one of the two words
            mask_id=mask_id,
        )
    show(view, as_json, f"{view.num_resolved} of {view.num_conflicts} decided")


def complete(
    project_id: ProjectId,
    merge_id: MergeId,
    ours: Annotated[bool, typer.Option("--ours", help="Decide what is open for the target branch.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="Decide what is open for the source.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Try an open or refused merge again."""
    if ours and theirs:
        raise BadRequest("both sides can't win", remedy="give --ours or --theirs")
    with connect(url, key, data_dir) as client:
        choose = "ours" if ours else "theirs" if theirs else None
        view = client.datasets.complete_merge(project_id, merge_id, choose=choose)  # type: ignore[arg-type]
    show(view, as_json, "\n".join(lines_of(view)))


def abandon(
    project_id: ProjectId,
    merge_id: MergeId,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Give a merge up; its tasks are called off."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.abandon_merge(project_id, merge_id)
    show(view, as_json, f"{view.merge_id}  {view.state}")


def revert(
    project_id: ProjectId,
    ref: Annotated[str, typer.Argument(help="The commit to undo.")],
    branch: Annotated[str, typer.Option("--on", help="Branch on which it is undone.")] = "main",
    message: Message = None,
    parent: Annotated[int, typer.Option(min=1, help="Of a merge: the side to go back to.")] = 1,
    on_conflict: Pick = "fail",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Undo what a commit changed, and keep what came after it."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.revert(
            project_id, ref, branch=branch, message=message, parent=parent, on_conflict=on_conflict
        )
    show(view, as_json, f"{view.commit_id[:12]}  {view.num_changed} changed, {view.num_samples} samples")


def cherry_pick(
    project_id: ProjectId,
    source: Annotated[str, typer.Argument(help="Commit, branch or tag.")],
    sample_ids: Annotated[list[str], typer.Argument(help="The samples.")],
    branch: Annotated[str, typer.Option("--onto", help="Branch that gets them.")] = "main",
    message: Message = None,
    on_conflict: Pick = "fail",
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Bring what a version changed in some samples onto a branch."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.cherry_pick(
            project_id, source, sample_ids, branch=branch, message=message, on_conflict=on_conflict
        )
    show(view, as_json, f"{view.commit_id[:12]}  {view.num_changed} changed, {view.num_samples} samples")


def check(
    project_id: ProjectId,
    source: Annotated[str, typer.Option("--source", help="Commit, branch or tag that is proposed.")],
    into: Into = "main",
    gates: Annotated[Path | None, typer.Option(help="Rules (YAML) to use instead of the project's.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Would this merge go through? Exits with 1 for conflicts, or when a gate refuses. Stores nothing."""
    rules = gates.read_text(encoding="utf-8") if gates is not None else None
    with connect(url, key, data_dir) as client:
        view = client.datasets.merge(project_id, source, target=into, dry_run=True, gates=rules)
    if as_json:
        print_json(view)
    else:
        typer.echo("\n".join(lines_of(view)))
    if view.state == "refused" or view.num_conflicts or (view.gates is not None and not view.gates.passed):
        raise typer.Exit(1)


def lines_of(view: MergeView) -> list[str]:
    """A merge for people: what becomes of it, its conflicts, and what the gates say."""
    head = f"{view.source} ({view.source_commit_id[:12]}) into {view.target}: {view.state.replace('_', ' ')}"
    lines = [
        head + (f" as {view.commit_id[:12]}" if view.commit_id else ""),
        f"  {view.num_changed} samples change, {view.num_blended} of them merged pixel by pixel; "
        f"{view.num_conflicts} in conflict, {view.num_resolved} decided",
    ]
    if view.merge_id is not None:
        lines.append(f"  merge {view.merge_id}")
    for conflict in view.conflicts:
        said = f"{conflict.num_pixels:,} px" if conflict.kind == "pixels" else "removed on one side"
        lines.append(f"  conflict {conflict.sample_id}  {conflict.name}  {said}  {conflict.state}")
    return lines + (report_lines(view.gates) if view.gates is not None else [])


def report_lines(report: GateReportView) -> list[str]:
    """A line per rule, and one per reason."""
    lines = []
    for outcome in report.outcomes:
        figures = ", ".join(f"{name} {value:.6g}" for name, value in outcome.measured.items())
        passed = "passed " if outcome.passed else "REFUSED"
        lines.append(f"  {passed}  {outcome.rule} (line {outcome.line})" + (f": {figures}" if figures else ""))
        lines += [f"             {reason}" for reason in outcome.reasons]
    return lines


gates_app = typer.Typer(help="Rules that proposed versions must keep.", no_args_is_help=True)


@gates_app.command("set")
def set_gates(
    project_id: ProjectId,
    file: Annotated[Path, typer.Argument(help="Rules (YAML); an empty file: no gates.")],
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Set the project's gates from a file. A mistake is named by its line."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.put_gates(project_id, file.read_text(encoding="utf-8"))
    show(view, as_json, f"version {view.version}, {view.num_rules} rules")


@gates_app.command("show")
def show_gates(
    project_id: ProjectId,
    version: Annotated[int | None, typer.Option(min=0, help="An earlier version.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """The project's gates, as they were set."""
    with connect(url, key, data_dir) as client:
        view = client.datasets.get_gates(project_id, version=version)
    show(view, as_json, view.text if view.version else "no gates are set")


@gates_app.command("reports")
def reports(
    project_id: ProjectId,
    limit: Annotated[int, typer.Option(min=0, help="How many; 0: all.")] = 20,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """What the gates said, the newest first."""
    columns = {"report": "report_id", "when": "created_at", "of": "kind", "branch": "branch", "passed": "passed"}
    with connect(url, key, data_dir) as client:
        show_table(take(client.datasets.gate_reports(project_id), limit), as_json, columns)


def add_to(app: typer.Typer) -> None:
    """Make these commands of `terrazzo dataset`."""
    for command in (branch, branches, merge, merges, conflicts, resolve, complete, abandon, revert, check):
        app.command()(command)
    app.command("cherry-pick")(cherry_pick)
    app.add_typer(gates_app, name="gates")
