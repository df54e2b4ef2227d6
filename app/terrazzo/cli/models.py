"""`terrazzo models`: the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from terrazzo.cli.connection import DEFAULT_DATA_DIR, DataOption, KeyOption, UrlOption, connect
from terrazzo.cli.output import JsonFlag, print_json, show, take

app = typer.Typer(help="Registered models: list, show, promote.", no_args_is_help=True)


@app.command("list")
def list_(
    project_id: Annotated[str, typer.Argument()],
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Models of a project with their held-out mIoU."""
    with connect(url, key, data_dir) as client:
        models = take(client.models.list(project_id=project_id), 0)
    if as_json:
        print_json(models)
        return
    for model in models:
        miou = "-" if model.metrics.miou is None else f"{model.metrics.miou:.4f}"
        typer.echo(f"{model.model_id}  v{model.version}  {model.arch}  mIoU {miou}  {model.state}")


@app.command("show")
def show_(
    model_id: Annotated[str, typer.Argument()],
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """One model: metrics and lineage."""
    with connect(url, key, data_dir) as client:
        model = client.models.get(model_id)
    iou = "\n".join(
        f"  class {c}: {'absent' if v is None else f'{v:.4f}'}" for c, v in model.metrics.iou_per_class.items()
    )
    text = (
        f"{model.model_id}  {model.model_name} v{model.version}, {model.state}\n"
        f"{model.arch}, seed {model.seed}, run {model.run_id}, commit {model.commit_id[:12]}\n"
        f"held-out mIoU {model.metrics.miou}\n{iou}"
    )
    show(model, as_json, text)


@app.command()
def promote(
    model_id: Annotated[str, typer.Argument()],
    only_if_better: Annotated[bool, typer.Option(help="Keep the present model unless this one is better.")] = True,
    url: UrlOption = None,
    key: KeyOption = None,
    data_dir: DataOption = DEFAULT_DATA_DIR,
    as_json: JsonFlag = False,
) -> None:
    """Serve this model from now on."""
    with connect(url, key, data_dir) as client:
        answer = client.models.promote(model_id, only_if_better=only_if_better)
    show(answer, as_json, ("promoted: " if answer.promoted else "not promoted: ") + answer.reason)
