"""What survives the process: the checkpoint of a run, and the weights for the next one."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.errors import CheckpointError
from terrazzo_training.trainer.files import write_atomically
from terrazzo_training.trainer.networks import Segmenter

_SCHEMA = 1


def save_checkpoint(path: Path, config: RunConfig, state: dict[str, Any]) -> None:
    """Write a run's whole state atomically.

    Learning rate, crops and dropout are functions of (seed, step), so that the step stands for the
    scheduler's, the sampler's and the random generators' states.
    """
    _save(path, {"schema": _SCHEMA, "config_digest": config.digest(), "run_id": config.run_id, **state})


def load_checkpoint(path: Path, config: RunConfig) -> dict[str, Any] | None:
    """Return the state that ``save_checkpoint`` wrote, or None where there is no file.

    Raises:
        CheckpointError: the file is damaged, or was written by a run with another configuration.
    """
    if not path.exists():
        return None
    state = _load(path)
    if state.get("config_digest") != config.digest():
        raise CheckpointError(
            f"{path} belongs to run {state.get('run_id')!r} with another configuration; "
            f"give run {config.run_id!r} an empty --out folder"
        )
    return state


def save_weights(path: Path, config: RunConfig, tree: ClassTree, model: Segmenter) -> None:
    """Write the weights that a later run's ``init_from`` starts from."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    _save(path, {"schema": _SCHEMA, "arch": config.arch, "leaf_ids": list(tree.leaf_ids), "weights": weights})


def load_weights(path: Path, config: RunConfig, tree: ClassTree, model: Segmenter) -> int:
    """Copy an earlier run's weights into ``model``; returns how many tensors were taken over.

    ``path`` is a weights.pt. Where the classes differ, the output layer's channels
    are matched by class id, and a new class keeps its fresh channel.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture.
    """
    if not path.exists():
        raise CheckpointError(f"init_from = {str(path)!r}: there is no such file")
    saved = _load(path)
    if saved.get("arch") != config.arch:
        raise CheckpointError(
            f"init_from = {str(path)!r}: weights of {saved.get('arch')!r} do not fit {config.arch!r}; "
            "train with the same arch, or without init_from"
        )
    weights: dict[str, Tensor] = saved["weights"]
    own = model.state_dict()
    channels = [(own_index, saved["leaf_ids"].index(leaf)) for own_index, leaf in enumerate(tree.leaf_ids)
                if leaf in saved["leaf_ids"]]  # fmt: skip
    for name, value in own.items():
        if name not in weights:
            raise CheckpointError(f"init_from = {str(path)!r}: has no tensor {name!r}")
        if name.startswith(f"{model.class_layer}."):
            for own_index, saved_index in channels:
                value[own_index] = weights[name][saved_index]
        elif value.shape == weights[name].shape:
            value.copy_(weights[name])
        else:
            raise CheckpointError(f"init_from = {str(path)!r}: {name} is {tuple(weights[name].shape)}")
    model.load_state_dict(own)
    return len(own)


def _save(path: Path, content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def _load(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({error}); delete it to start afresh") from error
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise CheckpointError(f"{path}: not a checkpoint of this trainer (schema {_SCHEMA})")
    return content
