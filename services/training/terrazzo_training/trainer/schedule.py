"""Learning rate as a function of the step, and the optimizers by name."""

from __future__ import annotations

import math

import torch
from torch import nn

from terrazzo_training.trainer.config import RunConfig


def learning_rate_at(step: int, num_steps: int, config: RunConfig) -> float:
    """Return the learning rate of ``step`` (from 0): linear warm-up, then poly or cosine decay to 0.

    The warm-up never takes more than a fifth of the run.
    """
    warmup_steps = min(config.warmup_steps, num_steps // 5)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if config.schedule == "poly":
        return config.learning_rate * float((1.0 - progress) ** 0.9)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def build_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay acts on kernels only, not on biases and normalisation."""
    kernels = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate)
