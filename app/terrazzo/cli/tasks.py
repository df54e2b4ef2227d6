"""`terrazzo tasks` and `terrazzo submit`: batches, leases and work from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, show, show_table, take
from terrazzo_schema.errors import BadRequest
from terrazzo_schema.rest.task import TaskView

app = typer.Typer(help="Batches, tasks and leases.", no_args_is_help=True)
COLUMNS = {
    "task": "task_id",
    "kind": "kind",
    "state": "state",
    "sample": "sample_name",
    "submissions": "num_submissions",
    "of": "redundancy",
}


@app.command("list")
def list_(
    project_id: Annotated[str, typer.Argument()],
    state: Annotated[str | None, typer.Option(help="waiting, open, submitted, accepted or cancelled.")] = None,
    kind: Annotated[str | None, typer.Option(help="annotate, adjudicate or audit.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many; 0: all.")] = 100,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """List tasks."""
    with connect(url, key, data_dir) as client:
        show_table(take(client.tasks.list(project_id, state=state, kind=kind), limit), as_json, COLUMNS)


@app.command()
def batch(
    project_id: Annotated[str, typer.Argument()],
    size: Annotated[int, typer.Option(min=1, help="How many samples to choose.")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "batch",
    choose: Annotated[str, typer.Option(help="active or random.")] = "active",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Choose what is worth labelling next, and make its tasks."""
    with connect(url, key, data_dir) as client:
        view = client.batches.create(project_id, name=name, size=size, strategy=choose, seed=seed)
    show(view, as_json, f"{view.batch_id}  {view.num_tasks} tasks, {view.state}")


@app.command()
def lease(
    project_id: Annotated[str, typer.Argument()],
    out: Annotated[Path, typer.Option(help="Folder for the image and the proposal.")] = Path("work"),
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Take the next task: writes its image, its proposal and, of a dispute, all sides (index PNG) to files."""
    with connect(url, key, data_dir) as client:
        held = client.tasks.lease(project_id)
        if held is None:
            show(None, as_json, "there is nothing to do for this key")
            return
        task = held.task
        out.mkdir(parents=True, exist_ok=True)
        image = out / f"{task.task_id}.image"
        image.write_bytes(client.images.content(project_id, task.image_hash))
        files = {"image": str(image)}
        for what, mask_id in _masks_of(task).items():
            file = out / f"{task.task_id}.{what.replace(' ', '-')}.png"
            file.write_bytes(client.masks.content(project_id, mask_id, format="png"))
            files[what] = str(file)
    lines = [f"{held.lease_id}  {task.kind} {task.task_id} until {held.expires_at:%H:%M:%S}", *files.values()]
    if task.removed_by is not None:
        side = {"ours": "the target branch", "theirs": "the source"}[task.removed_by]
        lines.append(f"{side} removed this sample: submit a mask to keep it, or --verdict remove")
    show({"lease": held.model_dump(mode="json"), "files": files}, as_json, "\n".join(lines))


def _masks_of(task: TaskView) -> dict[str, str]:
    """The masks that a person is shown: what each is -> its id."""
    shown = task.mask_id or (task.proposal.mask_id if task.proposal is not None else None)
    masks = {"proposal": shown, "base": task.base_mask_id}
    masks |= {f"candidate {number}": mask_id for number, mask_id in enumerate(task.candidate_mask_ids, start=1)}
    return {what: mask_id for what, mask_id in masks.items() if mask_id is not None}


def submit(
    project_id: Annotated[str, typer.Argument()],
    task_id: Annotated[str, typer.Argument()],
    lease_id: Annotated[str, typer.Argument()],
    mask: Annotated[Path | None, typer.Option(help="Index PNG, TIFF or .npy with class ids.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Time that it took, seconds.")] = 0.0,
    verdict: Annotated[str | None, typer.Option(help="Audit: pass or fail. Removed on one side: remove.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Hand in a label map for a leased task."""
    if mask is None and verdict is None:
        raise BadRequest("nothing to submit", remedy="give --mask FILE, or a --verdict where the task takes one")
    with connect(url, key, data_dir) as client:
        mask_id = client.masks.put(project_id, mask.read_bytes()).mask_id if mask is not None else None
        view = client.tasks.submit(
            task_id,
            lease_id=lease_id,
            mask_id=mask_id,
            seconds_spent=seconds,
            verdict=verdict,
            idempotency_key=f"cli-{lease_id}",
        )
    late = ", late: the lease had run out" if view.late else ""
    show(view, as_json, f"{view.submission_id}  {view.state}{late}")
