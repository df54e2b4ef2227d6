"""Short ways to make branches and merges in the tests."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from .conftest import PROJECT, World

H, W = 60, 80


def painted(*boxes: tuple[int, int, int, int, int], under: NDArray[Any] | int = 1) -> NDArray[np.uint8]:
    """A label map with boxes of a class: (y, x, height, width, class id)."""
    labels_HW = under.copy() if isinstance(under, np.ndarray) else np.full((H, W), under, np.uint8)
    for y, x, height, width, class_id in boxes:
        labels_HW[y : y + height, x : x + width] = class_id
    return labels_HW


def post(world: World, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return world.client.post(
        f"/v1/datasets/{PROJECT}/{path}",
        json=body or {},
        headers={k.replace("_", "-"): v for k, v in headers.items()},
    )


def merge(world: World, source: str = "side", **more: Any) -> dict[str, Any]:
    answer = post(world, "merges", {"source": source, **more})
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


def commit_masks(world: World, masks: dict[str, NDArray[Any] | None], branch: str = "main") -> dict[str, Any]:
    """Store, stage and commit label maps by sample id; None removes the sample."""
    items = {s: None if labels is None else world.put(labels, sample_id=s, source="import", actor=f"by-{branch}")
             for s, labels in masks.items()}  # fmt: skip
    world.stage(items, branch)
    return world.commit(branch=branch)


def labels_at(world: World, ref: str) -> dict[str, NDArray[Any]]:
    """Every sample's label map in a version."""
    return {e["sample_id"]: world.labels(e["mask_id"]) for e in world.dataset("entries", ref=ref)["items"]}


def forked(world: World, num: int = 1) -> list[str]:
    """Samples of road, committed on main, with a branch `side` from there."""
    samples = [world.sample(seed) for seed in range(num)]
    commit_masks(world, {s: painted() for s in samples})
    assert post(world, "branches", {"name": "side"}).status_code == 201
    return samples
