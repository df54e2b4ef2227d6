"""A U-Net for thin structures on a small budget.

After Ronneberger, Fischer & Brox, 'U-Net: Convolutional Networks for Biomedical Image Segmentation'
(MICCAI 2015): a contracting path, an expanding path and skips between them. Scaled down so that a CPU
trains it: the first stage has few channels at full resolution and one convolution, the width grows
from half resolution on, and batch normalisation and 'same' padding replace the paper's bare, shrinking
convolutions. Five stages reach 1/32, as in the other networks here.

Legend: N images, C channels, H x W pixels; '/8' is an eighth of the input's height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from terrazzo_training.trainer.networks.blocks import conv_bn_relu, resize_like

_WIDTHS = (8, 24, 48, 96, 128, 128)  # channels at /1, /2, /4, /8, /16, /32


class UNetSmall(nn.Module):
    """U-Net over six resolutions.

    ``forward`` takes normalised float (N, 3, H, W), H and W multiples of 32, and returns logits
    (N, K, H, W) and an embedding (N, 128), the mean of the deepest features (/32).
    """

    stride_px = 32
    embedding_dim = _WIDTHS[-1]
    class_layer = "classify"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, _WIDTHS[0])
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn_relu(narrow, wide, stride=2), conv_bn_relu(wide, wide))
            for narrow, wide in zip(_WIDTHS[:-1], _WIDTHS[1:], strict=True)
        )
        self.up = nn.ModuleList(
            conv_bn_relu(narrow + wide, narrow)
            for narrow, wide in reversed(list(zip(_WIDTHS[:-1], _WIDTHS[1:], strict=True)))
        )
        self.refine = conv_bn_relu(_WIDTHS[0], 2 * _WIDTHS[0])
        self.classify = nn.Conv2d(2 * _WIDTHS[0], num_classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = [self.stem(image)]
        for down in self.down:
            features.append(down(features[-1]))
        embedding = features[-1].mean(dim=(2, 3))
        x = features.pop()
        for up in self.up:
            skip = features.pop()
            x = up(torch.cat([skip, resize_like(x, skip)], dim=1))
        logits: Tensor = self.classify(self.refine(x))
        return logits, embedding
