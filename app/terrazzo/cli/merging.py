"""`terrazzo dataset`: branches, merges, reverts, picks, and the check that a CI job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from terrazzo.cli.asking import Listed, Remote, Said, asking
from terrazzo.cli.output import take
from terrazzo_schema.errors import BadRequest
from terrazzo_schema.rest.mask_storage import CommitView
from terrazzo_schema.rest.merges import GateReportView, MergeStrategy, MergeView, PickStrategy

ProjectId = Annotated[str, typer.Argument(help="The project.")]
MergeId = Annotated[str, typer.Argument(help="The merge (mrg_…).")]
SampleId = Annotated[str, typer.Argument(help="The sample in conflict.")]
Source = Annotated[str, typer.Argument(help="Commit, branch or tag to merge.")]
Into = Annotated[str, typer.Option("--into", help="Branch to merge into.")]
OnConflict = Annotated[MergeStrategy, typer.Option("--on-conflict", help="Make tasks, take one side, or fail.")]
Pick = Annotated[PickStrategy, typer.Option("--on-conflict", help="Fail, or take one side.")]
Message = Annotated[str | None, typer.Option("-m", "--message", help="What and why.")]
Limit = Annotated[int, typer.Option(min=0, help="How many; 0: all.")]
NO_PROBLEM = ("merged", "fast_forward", "up_to_date", "open")


def branch(
    remote: Remote,
    project_id: ProjectId,
    name: Annotated[str, typer.Argument(help="Its name.")],
    at: Annotated[str, typer.Option(help="Commit, branch or tag where it starts.")] = "main",
    delete: Annotated[bool, typer.Option("--delete", help="Take the name away instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete it with what is staged on it.")] = False,
) -> Said:
    """Make a branch, or take one away (its commits stay)."""
    if delete:
        view = remote.client.datasets.delete_branch(project_id, name, force=force)
        return Said(view, f"deleted {view.name} was at {view.commit_id}")
    view = remote.client.datasets.create_branch(project_id, name, at)
    return Said(view, f"{view.name} -> {view.commit_id}")


def branches(remote: Remote, project_id: ProjectId) -> Listed:
    """Branches, and the commit that each is at."""
    found = list(remote.client.datasets.branches(project_id))
    return Listed(found, {"branch": "name", "commit": "commit_id"})


def merge(
    remote: Remote,
    project_id: ProjectId,
    source: Source,
    into: Into = "main",
    message: Message = None,
    on_conflict: OnConflict = "adjudicate",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be; store nothing.")] = False,
) -> Said:
    """Merge a version into a branch, by sample, tile and pixel. Conflicts become tasks."""
    view = remote.client.datasets.merge(
        project_id, source, target=into, message=message, on_conflict=on_conflict, dry_run=dry_run
    )
    return Said(view, "\n".join(lines_of(view)), failed=view.state not in NO_PROBLEM)


def merges(remote: Remote, project_id: ProjectId, limit: Limit = 50) -> Listed:
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
    return Listed(take(remote.client.datasets.merges(project_id), limit), columns)


def conflicts(remote: Remote, project_id: ProjectId, merge_id: MergeId) -> Listed:
    """A merge's conflicts: samples, pixels, the masks of the base and of both sides."""
    columns = {
        "sample": "sample_id",
        "name": "name",
        "kind": "kind",
        "pixels": "num_pixels",
        "state": "state",
        "base": "base_mask_id",
        "ours": "ours_mask_id",
        "theirs": "theirs_mask_id",
    }
    return Listed(list(remote.client.datasets.conflicts(project_id, merge_id)), columns)


def resolve(
    remote: Remote,
    project_id: ProjectId,
    merge_id: MergeId,
    sample_id: SampleId,
    ours: Annotated[bool, typer.Option("--ours", help="The target branch's mask.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="The source's mask.")] = False,
    mask: Annotated[Path | None, typer.Option(help="Index PNG, TIFF or .npy: the ruling as a label map.")] = None,
) -> Said:
    """Decide one conflict by hand. The merge is made when the last one is decided."""
    if ours + theirs + (mask is not None) != 1:
        raise BadRequest("one ruling is needed", remedy="give --ours, --theirs or --mask FILE")
    mask_id = remote.client.masks.put(project_id, mask.read_bytes()).mask_id if mask is not None else None
    view = remote.client.datasets.resolve_conflict(
        project_id, merge_id, sample_id, choose=_side(ours, theirs), mask_id=mask_id
    )
    return Said(view, f"{view.num_resolved} of {view.num_conflicts} decided")


def complete(
    remote: Remote,
    project_id: ProjectId,
    merge_id: MergeId,
    ours: Annotated[bool, typer.Option("--ours", help="Decide what is open for the target branch.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="Decide what is open for the source.")] = False,
) -> Said:
    """Try an open or refused merge again."""
    if ours and theirs:
        raise BadRequest("both sides can't win", remedy="give --ours or --theirs")
    view = remote.client.datasets.complete_merge(project_id, merge_id, choose=_side(ours, theirs))
    return Said(view, "\n".join(lines_of(view)))


def _side(ours: bool, theirs: bool) -> Literal["ours", "theirs"] | None:
    return "ours" if ours else "theirs" if theirs else None


def abandon(remote: Remote, project_id: ProjectId, merge_id: MergeId) -> Said:
    """Give a merge up; its tasks are called off."""
    view = remote.client.datasets.abandon_merge(project_id, merge_id)
    return Said(view, f"{view.merge_id}  {view.state}")


def revert(
    remote: Remote,
    project_id: ProjectId,
    ref: Annotated[str, typer.Argument(help="The commit to undo.")],
    branch: Annotated[str, typer.Option("--on", help="Branch on which it is undone.")] = "main",
    message: Message = None,
    parent: Annotated[int, typer.Option(min=1, help="Of a merge: the side to go back to.")] = 1,
    on_conflict: Pick = "fail",
) -> Said:
    """Undo what a commit changed, and keep what came after it."""
    return _committed(
        remote.client.datasets.revert(
            project_id, ref, branch=branch, message=message, parent=parent, on_conflict=on_conflict
        )
    )


def cherry_pick(
    remote: Remote,
    project_id: ProjectId,
    source: Annotated[str, typer.Argument(help="Commit, branch or tag.")],
    sample_ids: Annotated[list[str], typer.Argument(help="The samples.")],
    branch: Annotated[str, typer.Option("--onto", help="Branch that gets them.")] = "main",
    message: Message = None,
    on_conflict: Pick = "fail",
) -> Said:
    """Bring what a version changed in some samples onto a branch."""
    return _committed(
        remote.client.datasets.cherry_pick(
            project_id, source, sample_ids, branch=branch, message=message, on_conflict=on_conflict
        )
    )


def _committed(view: CommitView) -> Said:
    return Said(view, f"{view.commit_id[:12]}  {view.num_changed} changed, {view.num_samples} samples")


def check(
    remote: Remote,
    project_id: ProjectId,
    source: Annotated[str, typer.Option("--source", help="Commit, branch or tag that is proposed.")],
    into: Into = "main",
    gates: Annotated[Path | None, typer.Option(help="Rules (YAML) to use instead of the project's.")] = None,
) -> Said:
    """Would this merge go through? Exits with 1 for conflicts, or when a gate refuses. Stores nothing."""
    rules = gates.read_text(encoding="utf-8") if gates is not None else None
    view = remote.client.datasets.merge(project_id, source, target=into, dry_run=True, gates=rules)
    refused = view.state == "refused" or (view.gates is not None and not view.gates.passed)
    return Said(view, "\n".join(lines_of(view)), failed=refused or view.num_conflicts > 0)


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


def set_gates(
    remote: Remote,
    project_id: ProjectId,
    file: Annotated[Path, typer.Argument(help="Rules (YAML); an empty file: no gates.")],
) -> Said:
    """Set the project's gates from a file. A mistake is named by its line."""
    view = remote.client.datasets.put_gates(project_id, file.read_text(encoding="utf-8"))
    return Said(view, f"version {view.version}, {view.num_rules} rules")


def show_gates(
    remote: Remote,
    project_id: ProjectId,
    version: Annotated[int | None, typer.Option(min=0, help="An earlier version.")] = None,
) -> Said:
    """The project's gates, as they were set."""
    view = remote.client.datasets.get_gates(project_id, version=version)
    return Said(view, view.text if view.version else "no gates are set")


def reports(remote: Remote, project_id: ProjectId, limit: Limit = 20) -> Listed:
    """What the gates said, the newest first."""
    columns = {"report": "report_id", "when": "created_at", "of": "kind", "branch": "branch", "passed": "passed"}
    return Listed(take(remote.client.datasets.gate_reports(project_id), limit), columns)


def add_to(app: typer.Typer) -> None:
    """Make these commands of `terrazzo dataset`."""
    for command in (branch, branches, merge, merges, conflicts, resolve, complete, abandon, revert, check):
        app.command()(asking(command))
    app.command("cherry-pick")(asking(cherry_pick))
    gates = typer.Typer(help="Rules that proposed versions must keep.", no_args_is_help=True)
    for name, of_gates in (("set", set_gates), ("show", show_gates), ("reports", reports)):
        gates.command(name)(asking(of_gates))
    app.add_typer(gates, name="gates")
