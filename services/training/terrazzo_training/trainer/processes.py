"""The processes of one run: alone, or several under torchrun (gloo on CPU, NCCL on CUDA)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce as differentiable_all_reduce

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """This process's place among ``world`` processes, and what they do together."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def start(cls, config: RunConfig) -> Processes:
        """Join the group that torchrun's environment describes (or be alone) and choose the device.

        Raises:
            ConfigError: there are more processes than crops in a batch.
        """
        world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if config.batch_size < world:
            raise ConfigError(
                "batch_size", config.batch_size, f"must be at least the {world} processes of the run"
            )
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        device = torch.device("cpu")
        if torch.cuda.is_available():
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
            torch.cuda.set_device(device)
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        elif "TORCHELASTIC_RUN_ID" in os.environ and device.type == "cpu":
            # torchrun sets one thread per process; on CPU the cores of the machine are shared out instead.
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_world))
        if world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(rank=rank, world=world, device=device)

    def stop(self) -> None:
        """Leave the group."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def sum(self, values: Tensor) -> Tensor:
        """Return the element-wise sum over all processes (no gradient)."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the module whose backward pass averages gradients over the processes."""
        if self.world == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the crops of all processes, on any device.

    torch's SyncBatchNorm needs an accelerator; this one makes several CPU processes compute what one
    process with the whole batch computes. In evaluation it is plain batch normalisation.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        # Two exchanges, mean and then deviations from it: a difference of mean squares loses digits.
        count = x.new_tensor([float(x.numel() // x.shape[1])])
        sums = _sum_with_gradient(torch.cat([x.sum(dim=(0, 2, 3)), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = x - mean[None, :, None, None]
        variance = _sum_with_gradient(centred.square().sum(dim=(0, 2, 3))) / total
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * total / (total - 1).clamp(min=1.0), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        gain = self.weight * torch.rsqrt(variance + self.eps)
        return centred * gain[None, :, None, None] + self.bias[None, :, None, None]


def _sum_with_gradient(values: Tensor) -> Tensor:
    """Return the sum over all processes, through which gradients flow back to each of them."""
    summed: Tensor = differentiable_all_reduce(values)  # type: ignore[no-untyped-call]
    return summed


def synchronise_batch_norm(model: nn.Module, processes: Processes) -> nn.Module:
    """Replace every BatchNorm2d by its synchronised form when there are several processes."""
    if processes.world == 1:
        return model
    if processes.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            # Same parameters, buffers and state names; only the forward pass differs.
            module.__class__ = SynchronisedBatchNorm
    return model


def plain_batch_norm(model: nn.Module) -> nn.Module:
    """Undo ``synchronise_batch_norm`` so that the model can be traced and served by one process."""
    for module in model.modules():
        if isinstance(module, SynchronisedBatchNorm):
            setattr(module, "__class__", nn.BatchNorm2d)  # noqa: B010
        for name, child in module.named_children():
            if isinstance(child, nn.SyncBatchNorm):
                norm = nn.BatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm.to(child.weight.device))
    return model
