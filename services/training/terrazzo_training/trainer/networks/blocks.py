"""Layers that several networks share."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def conv_bn_relu(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution (no bias, size kept at stride 1), batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def depthwise_separable(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """Return a depthwise 3x3 and a pointwise convolution, each with batch normalisation and ReLU."""
    return nn.Sequential(
        conv_bn_relu(in_channels, in_channels, stride=stride, groups=in_channels),
        conv_bn_relu(in_channels, out_channels, kernel=1),
    )


def resize_like(x: Tensor, reference: Tensor) -> Tensor:
    """Resize (N, C, h, w) bilinearly to the height and width of ``reference``."""
    return F.interpolate(x, size=reference.shape[2:], mode="bilinear", align_corners=False)
