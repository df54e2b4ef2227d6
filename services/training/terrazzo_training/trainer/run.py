"""One run from configuration to exported model version."""

from __future__ import annotations

import json
import time
from pathlib import Path
from threading import Event
from typing import Any

import torch

from terrazzo_training.trainer.calibrate import calibrate
from terrazzo_training.trainer.checkpoint import load_weights, save_weights
from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.crops import CropSampler
from terrazzo_training.trainer.data import CachedSource, SampleSource, split_held_out
from terrazzo_training.trainer.errors import DataError
from terrazzo_training.trainer.evaluate import evaluate
from terrazzo_training.trainer.export import export
from terrazzo_training.trainer.files import write_atomically
from terrazzo_training.trainer.loop import Emit, train
from terrazzo_training.trainer.losses import HierarchicalCrossEntropy, class_weights
from terrazzo_training.trainer.networks import build
from terrazzo_training.trainer.processes import Processes, synchronise_batch_norm
from terrazzo_training.trainer.step import Trainer


def run(
    config: RunConfig,
    source: SampleSource,
    eval_source: SampleSource | None,
    *,
    out: Path,
    processes: Processes,
    emit: Emit,
    stop: Event,
) -> dict[str, Any]:
    """Train on the training part of ``source``, evaluate on the held-out part of ``eval_source``.

    Without ``eval_source`` the held-out part of ``source`` is used. Writes checkpoint.pt, history.jsonl,
    weights.pt and metrics.json to ``out``, and the model version to the repository.

    Returns:
        The ``finished`` event.

    Raises:
        TrainerError: see ``errors``.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.use_deterministic_algorithms(processes.device.type == "cpu")
    tree = ClassTree.of(config.classes)
    training, held_out = split_held_out(source, config.held_out_percent)
    if eval_source is not None:
        held_out = split_held_out(eval_source, config.held_out_percent)[1]
    if len(training) == 0:
        raise DataError(
            f"commit {config.commit_id}: none of its {len(source)} samples may be trained on "
            f"({config.held_out_percent} % are held out); commit more labelled samples"
        )
    cached = CachedSource(training, config.cache_mb * 2**20)
    trainer, sampler, steps_per_epoch = prepare(config, cached, tree, processes)
    started = {"event": "started", "run_id": config.run_id, "num_training": len(training)}
    started |= {"num_held_out": len(held_out), "steps": trainer.num_steps}
    emit(started | {"device": str(processes.device), "processes": processes.world})
    stop_reason = train(config, trainer, sampler, steps_per_epoch=steps_per_epoch, out=out, emit=emit, stop=stop)

    tau = 0.0
    if config.calibrate:
        tau = calibrate(trainer.best_model, cached, tree, trainer.loss.leaf_weights_K, config, processes)

    began = time.monotonic()
    metrics = evaluate(trainer.best_model, held_out, tree, config, processes)
    metrics["run_id"] = config.run_id
    metrics["calibration_tau"] = tau
    metrics["eval_commit_id"] = config.eval_commit_id or config.commit_id
    metrics["seconds"] = round(time.monotonic() - began, 3)
    finished: dict[str, Any] = {
        "event": "finished", "run_id": config.run_id, "stop_reason": stop_reason, "step": trainer.progress.step,
        "seconds": round(trainer.progress.seconds, 3), "miou": metrics["miou"],
        "pixel_accuracy": metrics["pixel_accuracy"], "iou_per_class": metrics["iou_per_class"],
        "num_training": len(training), "num_held_out": len(held_out),
    }  # fmt: skip
    if processes.rank == 0:
        save_weights(out / "weights.pt", config, tree, trainer.best_model)
        write_atomically(out / "metrics.json", json.dumps(metrics, indent=2).encode())
        repository = Path(config.repository) if config.repository else out / "repository"
        version = export(trainer.best_model, tree, config, repository)
        finished |= {"version_path": str(version), "metrics_path": str(out / "metrics.json"),
                     "weights_path": str(out / "weights.pt")}  # fmt: skip
        emit(finished)
    processes.wait()
    return finished


def prepare(
    config: RunConfig, training: SampleSource, tree: ClassTree, processes: Processes
) -> tuple[Trainer, CropSampler, int]:
    """Return trainer, sampler and steps per epoch of a run that has not begun.

    Raises:
        CheckpointError: ``init_from`` cannot be used.
        DataError: a label map holds a class that the run does not know.
    """
    torch.manual_seed(config.seed)
    model = build(config.arch, tree.num_leaves)
    if config.init_from:
        load_weights(Path(config.init_from), config, tree, model)
    synchronise_batch_norm(model, processes)
    weights_K = class_weights(training, tree, config.class_weighting)
    steps_per_epoch = config.steps_per_epoch or -(-len(training) // config.batch_size)
    trainer = Trainer(
        config, model, HierarchicalCrossEntropy(tree, weights_K), processes, config.epochs * steps_per_epoch
    )
    sampler = CropSampler(training, tree, config, rank=processes.rank, world=processes.world)
    return trainer, sampler, steps_per_epoch
