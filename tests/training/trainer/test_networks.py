"""Every network keeps its promises about shapes."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from terrazzo_training.trainer.errors import ConfigError
from terrazzo_training.trainer.networks import BUILT_IN, build

_WITHOUT_SMP = pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is None,
    reason="segmentation_models_pytorch is not installed (see networks/smp.py)",
)


@pytest.mark.parametrize("arch", [*BUILT_IN, pytest.param("smp:Unet:resnet18", marks=_WITHOUT_SMP)])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32)])
def test_logits_have_the_inputs_size_and_the_embedding_its_length(arch: str, height: int, width: int) -> None:
    model = build(arch, 5).eval()
    with torch.inference_mode():
        logits, embedding = model(torch.rand(2, 3, height, width) * 255)
    assert logits.shape == (2, 5, height, width)
    assert embedding.shape == (2, model.embedding_dim)
    assert height % model.stride_px == width % model.stride_px == 0
    assert model.state_dict()[f"{model.class_layer}.weight"].shape[0] == 5


@pytest.mark.parametrize("arch", BUILT_IN)
def test_every_parameter_is_learnt(arch: str) -> None:
    model = build(arch, 3)
    model(torch.rand(2, 3, 64, 64) * 255)[0].square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("arch", ["resnet", "smp:Unet", "smp::"])
def test_an_unknown_network_is_refused(arch: str) -> None:
    with pytest.raises(ConfigError, match="arch"):
        build(arch, 3)


@pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is not None, reason="the package is installed"
)
def test_a_missing_package_is_named_with_its_install_line() -> None:
    with pytest.raises(ConfigError, match="pip install --no-deps segmentation-models-pytorch"):
        build("smp:Unet:resnet18", 3)


@_WITHOUT_SMP
def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="no-such-encoder"):
        build("smp:Unet:no-such-encoder", 3)
