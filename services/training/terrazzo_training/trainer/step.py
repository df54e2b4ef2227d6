"""One optimizer step, and the state that it changes.

A step is a pure function of (weights, optimizer state, seed, step number): crops, dropout and learning
rate depend on nothing else, so that a run that was stopped and resumed is the run that was not.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.crops import Batch
from terrazzo_training.trainer.errors import NonFiniteError
from terrazzo_training.trainer.losses import HierarchicalCrossEntropy
from terrazzo_training.trainer.networks import Segmenter
from terrazzo_training.trainer.processes import Processes
from terrazzo_training.trainer.schedule import build_optimizer, learning_rate_at

_SMALLEST_LOSS_SCALE = 1e-4


@dataclass
class Progress:
    """How far a run is. ``epoch_loss`` sums the losses of the epoch's ``epoch_steps`` steps so far."""

    step: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    epoch_steps: int = 0
    epoch_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class StepResult:
    """``loss`` is the mean over the labelled pixels of all processes; ``votes`` are summed over them."""

    loss: float
    votes: tuple[float, ...]


class Trainer:
    """Model, optimizer and progress of one run in one process."""

    def __init__(
        self,
        config: RunConfig,
        model: Segmenter,
        loss: HierarchicalCrossEntropy,
        processes: Processes,
        num_steps: int,
    ) -> None:
        self.config, self.processes, self.num_steps = config, processes, num_steps
        self.dtype: torch.dtype = getattr(torch, config.dtype)
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = model.to(device=processes.device, dtype=self.dtype)
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model) if config.ema_decay else None
        self.parallel = processes.wrap(self.model)
        self.loss = loss.to(device=processes.device, dtype=self.dtype)
        self.optimizer = build_optimizer(self.model, config)
        self.autocast_dtype = autocast_dtype(config, processes.device)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=self.autocast_dtype is torch.float16)
        self.progress = Progress()

    @property
    def best_model(self) -> Segmenter:
        """The moving average of the weights where there is one, else the weights."""
        return self.model if self.average is None else self.average

    def step(self, batch: Batch, votes: tuple[float, ...] = ()) -> StepResult:
        """Take one optimizer step.

        Raises:
            NonFiniteError: loss or gradient norm is not finite on some process; all raise together,
                and no weight has changed.
        """
        number = self.progress.step
        torch.manual_seed(_mix(self.config.seed, number, self.processes.rank))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(number, self.num_steps, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum, weight_sum = self._forward(batch)

        # One exchange carries all that the processes must agree on before the step is taken.
        local = torch.stack([loss_sum.detach(), weight_sum, *(weight_sum.new_tensor(v) for v in votes)])
        loss_total, weight_total, *agreed = self.processes.sum(local).tolist()
        mean_loss = loss_total / max(weight_total, 1e-12)
        if not math.isfinite(mean_loss):
            raise NonFiniteError(f"step {number}: loss is {mean_loss}; lower learning_rate, or set amp to off")

        # The wrapper averages gradients over processes; the loss is a sum over the pixels of all of them.
        self.scaler.scale(loss_sum * (self.processes.world / max(weight_total, 1e-12))).backward()
        self._apply_gradients(number)
        if self.average is not None:
            _update_average(self.average, self.model, self.config.ema_decay, number)
        self.progress.step += 1
        return StepResult(mean_loss, tuple(agreed))

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.processes.device
        images_NCHW = (
            torch.from_numpy(batch.images_NCHW).to(device, self.dtype).contiguous(memory_format=self.layout)
        )
        targets_NHW = torch.from_numpy(batch.targets_NHW).to(device)
        with torch.autocast(device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
            logits_NKHW, _ = self.parallel(images_NCHW)
        loss_sum, weight_sum = self.loss(logits_NKHW, targets_NHW)
        return loss_sum, weight_sum

    def _apply_gradients(self, number: int) -> None:
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip_norm))
        if not self.scaler.is_enabled() and not math.isfinite(norm):
            raise NonFiniteError(
                f"step {number}: gradient norm is {norm}; lower learning_rate (now {self.config.learning_rate:g})"
            )
        self.scaler.step(self.optimizer)  # with fp16 this leaves out a step whose gradients overflowed
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < _SMALLEST_LOSS_SCALE:
            raise NonFiniteError(f"step {number}: fp16 gradients overflow at every scale; set amp to bf16 or off")

    def state(self) -> dict[str, Any]:
        """Return everything that ``restore`` needs, as ``torch.save`` takes it."""
        return {
            "weights": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": dict(vars(self.progress)),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self.model.load_state_dict(state["weights"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])


def autocast_dtype(config: RunConfig, device: torch.device) -> torch.dtype | None:
    """Return the type of mixed precision, or None for none: on a CPU it costs time and saves none."""
    if config.amp == "auto":
        if device.type != "cuda" or config.dtype != "float32":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[config.amp]


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the weights; early on faster, so that it forgets the initial ones."""
    rate = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, rate)
        else:
            mean.copy_(value)


def _mix(seed: int, step: int, rank: int) -> int:
    """Return one 63-bit seed of three numbers (multipliers of splitmix64)."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**63
