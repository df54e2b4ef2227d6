"""Networks by name. Every one takes RGB in 0..255 and returns logits at the input's resolution."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from terrazzo_training.trainer.errors import ConfigError

# Mean and standard deviation of ImageNet's RGB channels, which pretrained encoders expect.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

BUILT_IN = ("unet_small", "fast_scnn")


class Network(Protocol):
    """What a network tells about itself.

    Attributes:
        stride_px: height and width of its input must be multiples of this.
        embedding_dim: length of its embedding.
        class_layer: name of the layer whose output channels are the classes.
    """

    stride_px: int
    embedding_dim: int
    class_layer: str


class Segmenter(nn.Module):
    """A network with its normalisation: what is trained, exported and served.

    ``forward`` takes ``image``, float (N, 3, H, W) RGB in 0..255 with H and W multiples of
    ``stride_px``, and returns ``logits`` float (N, K, H, W) and ``embedding`` float (N, D).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        described = cast(Network, network)
        self.network = network
        self.stride_px = described.stride_px
        self.embedding_dim = described.embedding_dim
        self.class_layer = f"network.{described.class_layer}"
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = self.network((image - self.mean) / self.std)
        return logits, embedding


def build(arch: str, num_classes: int) -> Segmenter:
    """Return a freshly initialised network for ``num_classes`` leaf classes.

    Args:
        arch: one of ``BUILT_IN``, or ``smp:Architecture:encoder`` for segmentation_models_pytorch,
            such as ``smp:Unet:resnet18``.

    Raises:
        ConfigError: the name is unknown, or its package is not installed (the message says how to).
    """
    if arch == "unet_small":
        from terrazzo_training.trainer.networks.unet_small import UNetSmall

        return Segmenter(UNetSmall(num_classes))
    if arch == "fast_scnn":
        from terrazzo_training.trainer.networks.fast_scnn import FastSCNN

        return Segmenter(FastSCNN(num_classes))
    if arch.startswith("smp:"):
        from terrazzo_training.trainer.networks.smp import SmpNetwork

        return Segmenter(SmpNetwork(arch, num_classes))
    raise ConfigError("arch", arch, f"must be one of {', '.join(BUILT_IN)} or smp:Architecture:encoder")
