"""`terrazzo generate`: street scenes with exact masks, from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrazzo.cli.output import JsonFlag, progress, show


def generate(
    out: Annotated[Path, typer.Argument(help="Folder to write: images/, masks/, ontology.yaml.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many scenes.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same scenes.")] = 0,
    height: Annotated[int, typer.Option(min=64, max=8_192, help="Pixels.")] = 256,
    width: Annotated[int, typer.Option(min=64, max=8_192, help="Pixels.")] = 384,
    as_json: JsonFlag = False,
) -> None:
    """Draw textured street-like scenes with a rare class, thin structures, occlusion and noise."""
    from terrazzo.simulation.scenes import write_dataset

    with progress("generate", count, as_json) as advance:
        write_dataset(out, count, seed, height, width, progress=lambda *_: advance())
    show({"folder": str(out), "count": count, "seed": seed}, as_json, f"{count} scenes in {out}")
