"""Uncertainty, embeddings, image decoding, and what a bad model repository is told."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_doubles import CLASS_IDS, BrightnessModel, put_version
from PIL import Image

from terrazzo_inference.adapters.image_decoding import decode_rgb
from terrazzo_inference.adapters.in_process_runtime import InProcessRuntime
from terrazzo_inference.domain.errors import BadModel
from terrazzo_inference.domain.summary import Summarizer, image_embedding
from terrazzo_inference.domain.windows import Band


def test_the_summary_of_known_probabilities() -> None:
    probabilities_KHW = np.array([[[1.0, 0.5, 0.25]], [[0.0, 0.5, 0.5]], [[0.0, 0.0, 0.25]]], dtype=np.float32)
    summarizer = Summarizer(1, 3, (300, 7, 9))
    summarizer.add(Band(0, probabilities_KHW))
    summary = summarizer.finish()
    np.testing.assert_array_equal(summary.labels_HW, [[300, 300, 7]])  # a tie goes to the first channel
    assert summary.labels_HW.dtype == np.uint16
    entropies = [0.0, math.log(2), 1.5 * math.log(2)]
    assert summary.entropy_mean == pytest.approx(sum(entropies) / 3 / math.log(3))
    assert summary.margin_mean == pytest.approx((1.0 + 0.0 + 0.25) / 3)
    first, second = summary.classes
    assert (first.class_id, second.class_id) == (7, 300)
    assert (first.share, first.margin) == (pytest.approx(1 / 3), pytest.approx(0.25))
    assert first.entropy == pytest.approx(entropies[2] / math.log(3))
    assert second.entropy == pytest.approx(math.log(2) / 2 / math.log(3))


def test_a_model_of_one_class_is_never_uncertain() -> None:
    summarizer = Summarizer(2, 2, (5,))
    summarizer.add(Band(0, np.ones((1, 2, 2), dtype=np.float32)))
    summary = summarizer.finish()
    assert (summary.entropy_mean, summary.margin_mean) == (0.0, 1.0)
    assert (summary.labels_HW == 5).all()


@given(num_classes=st.integers(2, 12), seed=st.integers(0, 1_000), split=st.integers(1, 8))
@settings(deadline=None, max_examples=40)
def test_the_summary_does_not_depend_on_how_the_rows_come(num_classes: int, seed: int, split: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities_KHW = rng.dirichlet(np.ones(num_classes), (9, 7)).transpose(2, 0, 1).astype(np.float32)
    ids = tuple(range(1, num_classes + 1))
    whole, in_parts = Summarizer(9, 7, ids), Summarizer(9, 7, ids)
    whole.add(Band(0, probabilities_KHW))
    in_parts.add(Band(0, probabilities_KHW[:, :split]))
    in_parts.add(Band(split, probabilities_KHW[:, split:]))
    a, b = whole.finish(), in_parts.finish()
    np.testing.assert_array_equal(a.labels_HW, b.labels_HW)
    np.testing.assert_array_equal(a.labels_HW, probabilities_KHW.argmax(axis=0) + 1)
    assert a.entropy_mean == pytest.approx(b.entropy_mean, rel=1e-6)
    top_two = np.sort(probabilities_KHW, axis=0)[-2:]
    assert a.margin_mean == pytest.approx(float((top_two[1] - top_two[0]).mean()), rel=1e-5)
    assert sum(c.share for c in a.classes) == pytest.approx(1.0)


def test_an_embedding_has_length_one_and_zeros_stay_zeros() -> None:
    first_ND, second_ND = np.array([[3.0, 0.0]], np.float32), np.array([[3.0, 4.0], [0.0, 4.0]], np.float32)
    np.testing.assert_allclose(image_embedding([first_ND, second_ND]), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(image_embedding([np.zeros((2, 4), np.float32)]), np.zeros(4))


def encoded(image: Image.Image, format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "WEBP"])
def test_pixels_come_out_as_they_were_stored(format: str) -> None:
    image_HWC = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, format, **({"lossless": True} if format == "WEBP" else {}))
    np.testing.assert_array_equal(decode_rgb(file.getvalue(), "it", max_pixels=100), image_HWC)


def test_grey_palette_alpha_and_16_bit_images_become_rgb() -> None:
    grey_HW = np.array([[0, 128, 255]], dtype=np.uint8)
    for image in (
        Image.fromarray(grey_HW),
        Image.fromarray(grey_HW).convert("P"),
        Image.fromarray(np.dstack([grey_HW] * 3 + [np.zeros_like(grey_HW)])),
        Image.fromarray(grey_HW.astype(np.uint16) * 257),
    ):
        image_HWC = decode_rgb(encoded(image, "PNG"), "it", max_pixels=100)
        assert (image_HWC.shape, image_HWC.dtype) == ((1, 3, 3), np.uint8)
        np.testing.assert_array_equal(image_HWC, np.dstack([grey_HW] * 3))


def test_pixels_are_decoded_as_the_trainer_decodes_them() -> None:
    from terrazzo_training.trainer.data import decode_image

    rng = np.random.default_rng(0)
    image_HWC = rng.integers(0, 256, (33, 21, 3), dtype=np.uint8)
    for data in (
        encoded(Image.fromarray(image_HWC), "JPEG"),
        encoded(Image.fromarray(image_HWC).convert("CMYK"), "TIFF"),
        encoded(Image.fromarray(rng.integers(0, 65_536, (9, 9), dtype=np.uint16)), "PNG"),
        encoded(Image.fromarray(image_HWC).convert("1"), "PNG"),
    ):
        np.testing.assert_array_equal(decode_rgb(data, "it", max_pixels=10_000), decode_image(data, "it"))


def test_what_is_served_is_what_was_evaluated(tmp_path: Path) -> None:
    """An exported network answers pixel for pixel as the trainer's evaluation has it."""
    from types import SimpleNamespace

    from terrazzo_inference.handlers.predicting import predict_image
    from terrazzo_training.trainer.evaluate import predict
    from terrazzo_training.trainer.networks import build

    torch.manual_seed(0)
    network = build("fast_scnn", 4).eval()
    put_version(
        tmp_path,
        "seg-a",
        1,
        model=network,
        class_ids=(1, 2, 3, 4),
        tile_px=128,
        overlap_px=32,
        stride_px=network.stride_px,
        embedding_dim=network.embedding_dim,
    )
    runtime = InProcessRuntime(tmp_path, threads=1)
    description = runtime.load("seg-a", 1)
    model: Any = SimpleNamespace(model_name="seg-a", version=1)
    config: Any = SimpleNamespace(eval_tile_px=128, eval_overlap_px=32)
    for shape in ((150, 200, 3), (64, 90, 3), (128, 128, 3), (37, 300, 3)):
        image_HWC = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        summary, embedding_D = predict_image(runtime, model, description, image_HWC)
        evaluated_HW = predict(network, image_HWC, config) + 1
        assert (summary.labels_HW == evaluated_HW).mean() > 0.9999, shape  # all but ties within rounding
        assert embedding_D.shape == (network.embedding_dim,)


class TwoChannels(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image[:, :2], image.mean(dim=(2, 3))


class HalfSize(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image[:, :, ::2, ::2], image.mean(dim=(2, 3))


class LogitsOnly(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * 1.0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"schema": 2}, "schema"),
        ({"classes": []}, "classes"),
        ({"classes": [1, 1, 2]}, "classes"),
        ({"classes": [0, 1, 2]}, "classes"),
        ({"classes": [1, 2, 65_535]}, "classes"),
        ({"classes": [1, 2]}, "classes"),
        ({"classes": "1,2,3"}, "classes"),
        ({"classes": [True, 2, 3]}, "classes"),
        ({"tile_px": 100}, "tile_px"),
        ({"tile_px": "64"}, "tile_px"),
        ({"overlap_px": 64}, "overlap_px"),
        ({"stride_px": None}, "stride_px"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"embedding_dim": 8}, "seg-a/1/model.pt"),
        ({"model": TwoChannels()}, "classes"),
        ({"model": HalfSize()}, "seg-a/1/model.pt"),
        ({"model": LogitsOnly()}, "seg-a/1/model.pt"),
    ],
)
def test_a_bad_model_is_refused_with_the_field_that_is_wrong(
    tmp_path: Path, changed: dict[str, Any], field: str
) -> None:
    folder = put_version(tmp_path, "seg-a", 1, **{k: v for k, v in changed.items() if k == "model"})
    document = json.loads((folder / "terrazzo.json").read_text())
    document |= {k: v for k, v in changed.items() if k != "model"}
    (folder / "terrazzo.json").write_text(json.dumps(document))
    with pytest.raises(BadModel) as refused:
        InProcessRuntime(tmp_path, threads=1).load("seg-a", 1)
    assert refused.value.field == field
    assert "seg-a/1/" in refused.value.detail


@pytest.mark.parametrize("name", ["model.pt", "terrazzo.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "noise", "folder"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    path = (
        put_version(tmp_path, "seg-a", 1, model=BrightnessModel((0.0, 100.0, 200.0)), class_ids=CLASS_IDS) / name
    )
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "truncated": data[: len(data) // 2], "noise": b"\xff" * 100}[damage])
    with pytest.raises(BadModel, match=f"seg-a/1/{name}"):
        InProcessRuntime(tmp_path, threads=1).load("seg-a", 1)
