"""The training loop: crops in, weights out, one event per epoch, a checkpoint when told to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from terrazzo_training.trainer.checkpoint import load_checkpoint, save_checkpoint
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.crops import Batch, CropSampler
from terrazzo_training.trainer.errors import Interrupted
from terrazzo_training.trainer.files import write_atomically
from terrazzo_training.trainer.schedule import learning_rate_at
from terrazzo_training.trainer.step import Trainer

Emit = Callable[[dict[str, Any]], None]
"""Takes one progress event: a JSON-ready dict with the key ``event``."""


def train(
    config: RunConfig,
    trainer: Trainer,
    sampler: CropSampler,
    *,
    steps_per_epoch: int,
    out: Path,
    emit: Emit,
    stop: Event,
) -> str:
    """Run the steps that are left, from ``out``/checkpoint.pt where there is one.

    Returns:
        Why it ended: ``"steps"`` or ``"max_seconds"``.

    Raises:
        Interrupted: ``stop`` was set on some process; the checkpoint holds the state.
        NonFiniteError: loss or gradient norm was not finite.
        CheckpointError: the checkpoint in ``out`` belongs to another configuration.
    """
    checkpoint = out / "checkpoint.pt"
    if (state := load_checkpoint(checkpoint, config)) is not None:
        trainer.restore(state)
        emit({"event": "resumed", "step": trainer.progress.step})
    progress, is_writer = trainer.progress, trainer.processes.rank == 0
    trainer.model.train()
    clock = time.monotonic()

    for batch in prefetched(sampler, progress.step, trainer.num_steps, config.num_workers):
        late = config.max_seconds is not None and progress.seconds > config.max_seconds
        result = trainer.step(batch, votes=(float(stop.is_set()), float(late)))
        stop_votes, late_votes = result.votes

        now = time.monotonic()
        progress.seconds += now - clock
        progress.epoch_seconds += now - clock
        clock = now
        progress.epoch_loss += result.loss
        progress.epoch_steps += 1
        is_last = progress.step == trainer.num_steps or late_votes > 0
        if progress.step % steps_per_epoch == 0 or is_last:
            _end_epoch(config, trainer, steps_per_epoch, out, emit)
        if is_writer and (is_last or stop_votes or progress.step % config.checkpoint_every_steps == 0):
            save_checkpoint(checkpoint, config, trainer.state())
        if is_last:
            break
        if stop_votes:
            raise Interrupted(f"stopped after step {progress.step} of {trainer.num_steps}; run again to continue")
    return "steps" if progress.step == trainer.num_steps else "max_seconds"


def _end_epoch(config: RunConfig, trainer: Trainer, steps_per_epoch: int, out: Path, emit: Emit) -> None:
    """Report the epoch and start the next; history.jsonl is written whole, so a resume repeats no line."""
    progress = trainer.progress
    record = {
        "event": "epoch",
        "epoch": -(-progress.step // steps_per_epoch),
        "epochs": -(-trainer.num_steps // steps_per_epoch),
        "step": progress.step,
        "steps": trainer.num_steps,
        "loss": progress.epoch_loss / progress.epoch_steps,
        "lr": learning_rate_at(progress.step - 1, trainer.num_steps, config),
        "seconds": round(progress.epoch_seconds, 3),
    }
    progress.history.append(record)
    progress.epoch_loss, progress.epoch_steps, progress.epoch_seconds = 0.0, 0, 0.0
    if trainer.processes.rank == 0:
        lines = "".join(json.dumps(line) + "\n" for line in progress.history)
        write_atomically(out / "history.jsonl", lines.encode())
        emit(record)


def prefetched(sampler: CropSampler, first: int, last: int, num_workers: int) -> Iterator[Batch]:
    """Yield the batches of steps first..last-1 in order, cut ahead of time by ``num_workers`` threads."""
    if num_workers == 0:
        yield from map(sampler.batch, range(first, last))
        return
    with ThreadPoolExecutor(num_workers, thread_name_prefix="crops") as pool:
        ahead = [pool.submit(sampler.batch, step) for step in range(first, min(last, first + num_workers + 1))]
        try:
            for step in range(first, last):
                batch = ahead.pop(0).result()
                if (upcoming := step + num_workers + 1) < last:
                    ahead.append(pool.submit(sampler.batch, upcoming))
                yield batch
        finally:
            for future in ahead:
                future.cancel()
