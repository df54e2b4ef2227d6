"""The exported version gives what the network gives, and is never seen half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from terrazzo_training.trainer.class_tree import ClassTree
from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.errors import ExportError
from terrazzo_training.trainer.export import export
from terrazzo_training.trainer.networks import BUILT_IN, Segmenter, build

Make = Callable[..., RunConfig]


@pytest.mark.parametrize("arch", BUILT_IN)
def test_the_exported_model_reproduces_the_networks_outputs(arch: str, make_config: Make, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = make_config(arch=arch, model_version=3)
    model = build(arch, 3)
    for _ in range(3):
        model(torch.rand(4, 3, 64, 64) * 255)  # gives the batch normalisation statistics of its own
    version = export(model, ClassTree.of(config.classes), config, tmp_path)
    assert version == tmp_path / "segmenter" / "3"
    served = torch.jit.load(str(version / "model.pt"))  # type: ignore[no-untyped-call]
    model.eval()
    for shape in ((1, 3, 32, 32), (3, 3, 160, 96), (1, 3, 256, 256)):
        image = torch.rand(*shape) * 255
        with torch.inference_mode():
            for expected, exported in zip(model(image), served(image), strict=True):
                assert torch.allclose(expected, exported, atol=1e-4)


def test_the_description_names_the_classes_in_channel_order(make_config: Make, tmp_path: Path) -> None:
    config = make_config(arch="fast_scnn", run_id="run_7")
    version = export(build("fast_scnn", 3), ClassTree.of(config.classes), config, tmp_path)
    description = json.loads((version / "terrazzo.json").read_text())
    assert description["schema"] == 1
    assert description["classes"] == [1, 2, 3]
    assert description["names"] == ["ground", "disc", "bar"]
    assert description["embedding_dim"] == 128
    assert description["stride_px"] == 32
    assert description["run_id"] == "run_7"
    triton = (version.parent / "config.pbtxt").read_text()
    assert 'platform: "pytorch_libtorch"' in triton
    assert "dims: [ 3, -1, -1 ]" in triton
    assert triton.index('"logits"') < triton.index('"embedding"')  # Triton takes outputs in this order


def test_a_second_export_replaces_the_version_and_leaves_nothing_behind(make_config: Make, tmp_path: Path) -> None:
    config = make_config(arch="fast_scnn")
    for _ in range(2):
        export(build("fast_scnn", 3), ClassTree.of(config.classes), config, tmp_path)
    assert sorted(p.name for p in (tmp_path / "segmenter").iterdir()) == ["1", "config.pbtxt"]


class _DependsOnTheInput(nn.Module):
    stride_px, embedding_dim, class_layer = 32, 1, "scale"

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        gain = float(image.shape[2]) if image.shape[2] == 128 else 0.0
        return image * self.scale * gain, image.mean(dim=(1, 2, 3))[:, None]


def test_a_network_that_cannot_be_traced_is_refused_and_no_version_appears(
    make_config: Make, tmp_path: Path
) -> None:
    config = make_config()
    with pytest.raises(ExportError, match="logits"):
        export(Segmenter(_DependsOnTheInput()), ClassTree.of(config.classes), config, tmp_path)
    assert not (tmp_path / "segmenter" / "1").exists()
