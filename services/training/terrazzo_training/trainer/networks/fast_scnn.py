"""Fast-SCNN, written out from Poudel, Liwicki & Cipolla, 'Fast-SCNN: Fast Semantic Segmentation
Network' (BMVC 2019), table 1.

Legend: N images, C channels, H x W pixels; '/8' is an eighth of the input's height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from terrazzo_training.trainer.networks.blocks import conv_bn_relu, depthwise_separable, resize_like


class InvertedResidual(nn.Module):
    """Bottleneck residual block: expand (1x1), depthwise (3x3, stride), project (1x1, linear).

    MobileNetV2's block (Sandler et al. 2018), which Fast-SCNN's table 2 repeats. The input is added
    where shape allows.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.is_residual = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            conv_bn_relu(in_channels, hidden, kernel=1),
            conv_bn_relu(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.is_residual else out


class PyramidPooling(nn.Module):
    """Pyramid pooling module (Zhao et al. 2017): the input beside its averages over 1, 2, 3 and 6 bins."""

    def __init__(self, in_channels: int, out_channels: int, bins: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        inner = in_channels // len(bins)
        self.bins = bins
        self.reduce = nn.ModuleList(conv_bn_relu(in_channels, inner, kernel=1) for _ in bins)
        self.merge = conv_bn_relu(in_channels + inner * len(bins), out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [x]
        for bins, reduce in zip(self.bins, self.reduce, strict=True):
            levels.append(resize_like(reduce(F.adaptive_avg_pool2d(x, bins)), x))
        merged: Tensor = self.merge(torch.cat(levels, dim=1))
        return merged


class FeatureFusion(nn.Module):
    """Adds the coarse branch (/32), upsampled and smoothed by a depthwise conv, to the fine one (/8)."""

    def __init__(self, fine_channels: int, coarse_channels: int, out_channels: int) -> None:
        super().__init__()
        self.smooth = conv_bn_relu(coarse_channels, coarse_channels, groups=coarse_channels)
        self.coarse = nn.Sequential(nn.Conv2d(coarse_channels, out_channels, 1), nn.BatchNorm2d(out_channels))
        self.fine = nn.Sequential(nn.Conv2d(fine_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return F.relu(self.fine(fine) + self.coarse(self.smooth(resize_like(coarse, fine))))


class FastSCNN(nn.Module):
    """Learning to downsample, global feature extractor, feature fusion, classifier.

    ``forward`` takes normalised float (N, 3, H, W), H and W multiples of 32, and returns logits
    (N, K, H, W) and an embedding (N, 128), the mean of the deepest features.
    """

    stride_px = 32
    embedding_dim = 128
    class_layer = "classify"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.downsample = nn.Sequential(
            conv_bn_relu(3, 32, stride=2),
            depthwise_separable(32, 48, stride=2),
            depthwise_separable(48, 64, stride=2),
        )
        self.extract = nn.Sequential(
            *_bottleneck(64, 64, stride=2, repeats=3),
            *_bottleneck(64, 96, stride=2, repeats=3),
            *_bottleneck(96, 128, stride=1, repeats=3),
        )
        self.pool = PyramidPooling(128, 128)
        self.fuse = FeatureFusion(64, 128, 128)
        self.refine = nn.Sequential(depthwise_separable(128, 128), depthwise_separable(128, 128), nn.Dropout(0.1))
        self.classify = nn.Conv2d(128, num_classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.downsample(image)
        coarse = self.pool(self.extract(fine))
        logits = self.classify(self.refine(self.fuse(fine, coarse)))
        return resize_like(logits, image), coarse.mean(dim=(2, 3))


def _bottleneck(in_channels: int, out_channels: int, *, stride: int, repeats: int) -> list[nn.Module]:
    first = InvertedResidual(in_channels, out_channels, stride=stride, expansion=6)
    rest = (InvertedResidual(out_channels, out_channels, stride=1, expansion=6) for _ in range(repeats - 1))
    return [first, *rest]
