from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from terrazzo.simulation import scene_objects, scenes
from terrazzo.simulation.scene_canvas import Canvas
from terrazzo_schema.ontology import Ontology

LEAVES = {2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 15, 16}


def test_a_seed_gives_the_same_scene_every_time_and_another_seed_another() -> None:
    first, again, other = scenes.generate_scene(7), scenes.generate_scene(7), scenes.generate_scene(8)
    assert np.array_equal(first.image_HWC, again.image_HWC)
    assert np.array_equal(first.labels_HW, again.labels_HW)
    assert not np.array_equal(first.labels_HW, other.labels_HW)
    assert first.image_HWC.dtype == np.uint8
    assert first.labels_HW.dtype == np.uint8


def test_masks_are_exact_what_is_painted_in_colour_is_painted_in_class() -> None:
    canvas = Canvas(120, 160, np.random.default_rng(0))
    for paint in (
        scene_objects.paint_car,
        scene_objects.paint_truck,
        scene_objects.paint_person,
        scene_objects.paint_animal,
        scene_objects.paint_tree,
    ):
        canvas.labels_HW[:], canvas.albedo_HWC[:] = 0, -1.0
        paint(canvas, np.random.default_rng(3), 80.0, 100.0, 40.0)
        painted_HW = (canvas.albedo_HWC != -1.0).any(axis=2)
        assert painted_HW.sum() > 50
        assert np.array_equal(painted_HW, canvas.labels_HW != 0)
        assert len(np.unique(canvas.labels_HW)) == 2


def test_shadows_and_camera_change_the_image_and_never_the_mask() -> None:
    plain = scenes.generate_scene(11, spec=scenes.SceneSpec(noise_sigma=0, blur_sigma_px=0, haze=0))
    hard = scenes.generate_scene(11, spec=scenes.SceneSpec(noise_sigma=0.05, blur_sigma_px=1.5, haze=0.6))
    assert np.array_equal(plain.labels_HW, hard.labels_HW)
    assert not np.array_equal(plain.image_HWC, hard.image_HWC)


def test_every_pixel_has_a_leaf_class_of_the_ontology(street_ontology: Ontology) -> None:
    values = street_ontology.value_to_id()
    seen: set[int] = set()
    for seed in range(40):
        seen |= set(np.unique(scenes.generate_scene(seed, 128, 192).labels_HW).tolist())
    assert seen == LEAVES
    assert seen <= set(values)
    assert all(values[value] == value for value in seen)


def test_the_rare_class_is_in_about_eight_scenes_of_a_hundred() -> None:
    rare = [bool((scenes.generate_scene(seed, 64, 96).labels_HW == 16).any()) for seed in range(250)]
    # Binomial(250, 0.08): 20 +- 4.3.
    assert 0.035 <= np.mean(rare) <= 0.13


def test_no_colour_gives_a_class_away() -> None:
    pixels_NC, labels_N = [], []
    for seed in range(24):
        scene = scenes.generate_scene(seed, 128, 192)
        pixels_NC.append(scene.image_HWC.reshape(-1, 3))
        labels_N.append(scene.labels_HW.ravel())
    colours_N = (np.concatenate(pixels_NC) >> 4).astype(np.int64) @ np.array([256, 16, 1])
    truth_N = np.concatenate(labels_N)
    table_CK = np.zeros((4096, 17), np.int64)
    np.add.at(table_CK, (colours_N, truth_N), 1)
    # The best that a classifier by colour can do, even when fitted to these very pixels.
    best = table_CK.argmax(axis=1)[colours_N]
    right = [float((best[truth_N == value] == value).mean()) for value in sorted(LEAVES - {16})]
    assert np.mean(right) < 0.5
    assert (best == truth_N).mean() < 0.75


def test_thin_structures_and_occlusion_are_there() -> None:
    widths = []
    for seed in range(12):
        labels_HW = scenes.generate_scene(seed).labels_HW
        pole_HW = labels_HW == 7
        runs = np.diff(np.pad(pole_HW, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        widths += (np.argwhere(runs == -1)[:, 1] - np.argwhere(runs == 1)[:, 1]).tolist()
    assert np.median(widths) <= 4
    assert min(widths) == 1


@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 211), (300, 200)])
def test_scenes_come_in_any_size(height: int, width: int) -> None:
    scene = scenes.generate_scene(2, height, width)
    assert scene.image_HWC.shape == (height, width, 3)
    assert scene.labels_HW.shape == (height, width)


def test_a_scene_too_small_to_show_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="32x400"):
        scenes.generate_scene(0, 32, 400)


def test_a_scene_takes_a_few_hundredths_of_a_second() -> None:
    scenes.generate_scene(0)
    times_ms = []
    for seed in range(8):
        start = time.process_time()
        scenes.generate_scene(seed)
        times_ms.append(1000 * (time.process_time() - start))
    # 40 ms where this was written; generous, so that a slower machine passes and a tenfold loss does not.
    assert np.median(times_ms) < 300


def test_a_written_dataset_reads_back_pixel_by_pixel(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    manifest = scenes.write_dataset(
        tmp_path, 3, seed=5, height=96, width=128, progress=lambda a, b: calls.append((a, b))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert manifest["count"] == 3
    assert [s["stem"] for s in manifest["samples"]] == ["scene-00000", "scene-00001", "scene-00002"]
    scene = scenes.generate_scene(5 * 1_000_003 + 1, 96, 128)
    with Image.open(tmp_path / "masks" / "scene-00001.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), scene.labels_HW)
        assert mask.getpalette()[3 * 12 : 3 * 12 + 3] == [0x1E, 0x3C, 0xFF]  # type: ignore[index]
    with Image.open(tmp_path / "images" / "scene-00001.png") as image:
        assert np.array_equal(np.asarray(image), scene.image_HWC)
    assert yaml.safe_load((tmp_path / "ontology.yaml").read_text()) == scenes.scene_ontology()


def test_a_longer_dataset_begins_with_the_shorter_one(tmp_path: Path) -> None:
    short = scenes.write_dataset(tmp_path / "a", 1, seed=1, height=64, width=64)
    long = scenes.write_dataset(tmp_path / "b", 2, seed=1, height=64, width=64)
    assert long["samples"][0] == short["samples"][0]
