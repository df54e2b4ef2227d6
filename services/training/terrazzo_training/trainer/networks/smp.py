"""Any architecture of segmentation_models_pytorch, by name: ``smp:Unet:resnet18``.

The package needs torchvision and timm, and plain ``pip install`` of it would replace a CPU torch by the
one with accelerator libraries. So those three are installed without their dependencies; torchvision
0.28 is the release that belongs to torch 2.13:

    pip install --no-deps segmentation-models-pytorch==0.6.0 timm==1.0.31 torchvision==0.28.0
    pip install "huggingface_hub<1" safetensors
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import torch
from torch import Tensor, nn

from terrazzo_training.trainer.errors import ConfigError

INSTALL = (
    "pip install --no-deps segmentation-models-pytorch==0.6.0 timm==1.0.31 torchvision==0.28.0 "
    '&& pip install "huggingface_hub<1" safetensors'
)

# At import torchvision registers fake kernels for these operators. Where its compiled part is of another
# torch (CUDA's wheel beside a CPU torch), nothing has defined them and the import fails. No
# segmentation network calls them, so that declaring their signatures is enough.
_FAKED_BY_TORCHVISION = ("nms", "qnms")
_declarations: list[torch.library.Library] = []  # an operator lives as long as the library that declared it


class SmpNetwork(nn.Module):
    """A segmentation_models_pytorch model behind the interface of the networks here.

    Randomly initialised: a run fetches no weights from elsewhere; a pretrained start comes through
    ``init_from``. ``forward`` takes normalised float (N, 3, H, W), H and W multiples of 32, and returns
    logits (N, K, H, W) and an embedding (N, D), the mean of the encoder's deepest features.

    Raises:
        ConfigError: the name is malformed or unknown to the package, or the package is missing.
    """

    stride_px = 32
    class_layer = "model.segmentation_head.0"

    def __init__(self, arch: str, num_classes: int) -> None:
        super().__init__()
        parts = arch.split(":")
        if len(parts) != 3 or not all(parts):
            raise ConfigError("arch", arch, "must be smp:Architecture:encoder, such as smp:Unet:resnet18")
        package = _import_smp(arch)
        try:
            self.model = package.create_model(
                parts[1], encoder_name=parts[2], encoder_weights=None, in_channels=3, classes=num_classes
            )
        except (KeyError, ValueError) as error:
            raise ConfigError("arch", arch, f"segmentation_models_pytorch cannot build it ({error})") from error
        self.embedding_dim = int(self.model.encoder.out_channels[-1])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.encoder(image)
        logits: Tensor = self.model.segmentation_head(self.model.decoder(features))
        return logits, features[-1].mean(dim=(2, 3))


def _import_smp(arch: str) -> ModuleType:
    try:
        _declare_operators_that_torchvision_lacks()
        return importlib.import_module("segmentation_models_pytorch")
    except (ImportError, RuntimeError) as error:
        raise ConfigError("arch", arch, f"its package cannot be imported ({error}); {INSTALL}") from error


def _declare_operators_that_torchvision_lacks() -> None:
    if _declarations or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in _FAKED_BY_TORCHVISION:
            signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
        _declarations.append(library)
