"""A trained model as a version in a Triton-layout model repository.

``REPOSITORY/MODEL/config.pbtxt`` and ``REPOSITORY/MODEL/VERSION/{model.pt, terrazzo.json}``; see
https://github.com/triton-inference-server/server, docs/user_guide/model_repository.md. The tensor
names are outside Triton's INPUT__0 convention, for which its PyTorch backend takes the input by the
name of forward's argument and the outputs in the order of config.pbtxt.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.errors import ExportError
from terrazzo_training.trainer.files import sync_folder, write_atomically
from terrazzo_training.trainer.networks import Segmenter
from terrazzo_training.trainer.processes import plain_batch_norm

TOLERANCE = 1e-4


def export(model: Segmenter, tree: ClassTree, config: RunConfig, repository: Path) -> Path:
    """Write version ``config.model_version`` of ``config.model_name``; return the version's folder.

    The version is put together in a hidden folder and renamed, so that a reader sees all of it or
    nothing. A version that is there already is replaced: it can only come from the same run's retry.

    Raises:
        ExportError: the exported model's outputs differ from the network's by more than 1e-4.
    """
    plain = plain_batch_norm(copy.deepcopy(model)).to(device="cpu", dtype=torch.float32).eval()
    scripted = _trace(plain, model.stride_px)
    folder = repository / config.model_name
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / str(config.model_version)
    staging = folder / f".{version.name}.{os.getpid()}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        scripted.save(str(staging / "model.pt"))
        write_atomically(
            staging / "terrazzo.json", json.dumps(_description(model, tree, config), indent=2).encode()
        )
        write_atomically(folder / "config.pbtxt", _triton_config(model, tree, config).encode())
        if version.exists():
            version.rename(retired := folder / f".{version.name}.{os.getpid()}.old")
            staging.rename(version)
            shutil.rmtree(retired)
        else:
            staging.rename(version)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync_folder(folder)
    return version


def _trace(model: nn.Module, stride_px: int) -> torch.jit.ScriptModule:
    """Trace the model and compare it with the original at sizes other than the traced one."""
    generator = torch.Generator().manual_seed(0)

    def example(batch: int, height: int, width: int) -> Tensor:
        return torch.rand(batch, 3, height, width, generator=generator) * 255.0

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of each size that it reads; the check below decides
        first = example(2, 4 * stride_px, 6 * stride_px)
        scripted = torch.jit.trace(model, first, check_trace=False)  # type: ignore[no-untyped-call]
        for shape in ((2, 4 * stride_px, 6 * stride_px), (1, 8 * stride_px, 3 * stride_px)):
            image = example(*shape)
            for name, expected, exported in zip(
                ("logits", "embedding"), model(image), scripted(image), strict=True
            ):
                difference = float((expected - exported).abs().max()) if expected.shape == exported.shape else None
                if difference is None or not difference <= TOLERANCE:
                    raise ExportError(
                        f"{name} of the exported model differs by {difference} (None: another shape) for input "
                        f"{shape}; its forward pass must not depend on the input in Python"
                    )
    return scripted  # type: ignore[no-any-return]


def _description(model: Segmenter, tree: ClassTree, config: RunConfig) -> dict[str, object]:
    return {
        "schema": 1,
        "classes": list(tree.leaf_ids),
        "names": [tree.names[class_id] for class_id in tree.leaf_ids],
        "tile_px": config.eval_tile_px,
        "overlap_px": config.eval_overlap_px,
        "stride_px": model.stride_px,
        "embedding_dim": model.embedding_dim,
        "arch": config.arch,
        "run_id": config.run_id,
        "commit_id": config.commit_id,
    }


def _triton_config(model: Segmenter, tree: ClassTree, config: RunConfig) -> str:
    return f"""\
name: "{config.model_name}"
platform: "pytorch_libtorch"
max_batch_size: 8
input [
  {{ name: "image" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] }}
]
output [
  {{ name: "logits" data_type: TYPE_FP32 dims: [ {tree.num_leaves}, -1, -1 ] }},
  {{ name: "embedding" data_type: TYPE_FP32 dims: [ {model.embedding_dim} ] }}
]
version_policy: {{ all {{ }} }}
"""
