"""A U-Net for thin structures that a CPU can train.

After Ronneberger, Fischer & Brox, 'U-Net: Convolutional Networks for Biomedical Image Segmentation'
(MICCAI 2015): a contracting path, an expanding path and skips between them. Scaled down in four ways:

- all stages work at half resolution and below, where a convolution costs a quarter; the output
  returns to full resolution by sub-pixel convolution (Shi et al. 2016) beside one thin layer that
  sees the pixels themselves, so that edges one pixel wide survive;
- skips are added, not concatenated (as in LinkNet, Chaurasia & Culurciello 2017);
- batch normalisation and 'same' padding replace the paper's bare, shrinking convolutions;
- five stages, 16 to 128 channels, down to 1/32 as in the other networks here.

Beside the colours the network sees them standardised by the mean and deviation of the crop or window
at hand, since microscopes and night scenes use a small and varying part of the range of values.

Legend: N images, C channels, H x W pixels; '/8' is an eighth of the input's height and width.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from terrazzo_training.trainer.networks.blocks import conv_bn_relu, resize_like

_WIDTHS = (16, 32, 64, 96, 128)  # channels at /2, /4, /8, /16, /32
_PIXEL_CHANNELS = 8
_SMALLEST_DEVIATION = 0.05  # of a crop without contrast; about three grey levels of 255


class UNetSmall(nn.Module):
    """U-Net over five resolutions.

    ``forward`` takes normalised float (N, 3, H, W), H and W multiples of 32, and returns logits
    (N, K, H, W) and an embedding (N, 128), the mean of the deepest features (/32).
    """

    stride_px = 32
    embedding_dim = _WIDTHS[-1]
    class_layer = "classify"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        finest = _WIDTHS[0]
        steps = list(pairwise(_WIDTHS))
        self.stem = nn.Sequential(conv_bn_relu(6, finest, stride=2), conv_bn_relu(finest, finest))
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn_relu(fine, coarse, stride=2), conv_bn_relu(coarse, coarse))
            for fine, coarse in steps
        )
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in reversed(steps))
        self.up = nn.ModuleList(conv_bn_relu(fine, fine) for fine, _ in reversed(steps))
        self.expand = nn.Conv2d(finest, 4 * finest, 1)
        self.pixels = conv_bn_relu(6, _PIXEL_CHANNELS)
        self.refine = conv_bn_relu(finest + _PIXEL_CHANNELS, finest)
        self.classify = nn.Conv2d(finest, num_classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        image = torch.cat([image, _standardised(image)], dim=1)
        features = [self.stem(image)]
        for down in self.down:
            features.append(down(features[-1]))
        x = features.pop()
        embedding = x.mean(dim=(2, 3))
        for narrow, up in zip(self.narrow, self.up, strict=True):
            skip = features.pop()
            x = up(skip + resize_like(narrow(x), skip))
        x = F.relu(F.pixel_shuffle(self.expand(x), 2))
        logits: Tensor = self.classify(self.refine(torch.cat([x, self.pixels(image)], dim=1)))
        return logits, embedding


def _standardised(image: Tensor) -> Tensor:
    """Return each channel of each image with mean 0 and deviation 1 (less where it has no contrast)."""
    mean = image.mean(dim=(2, 3), keepdim=True)
    deviation = (image - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
    return (image - mean) / (deviation + _SMALLEST_DEVIATION)
