from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from terrazzo.simulation import reference, scenes
from terrazzo_schema.ontology import parse_ontology


def save(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


def folder(
    tmp_path: Path, mask_name: str = "a.png", mask: np.ndarray[Any, Any] | None = None
) -> tuple[Path, Path]:
    save(tmp_path / "images" / "a.png", np.zeros((6, 8, 3), np.uint8))
    save(tmp_path / "truth" / mask_name, np.ones((6, 8), np.uint8) if mask is None else mask)
    return tmp_path / "images", tmp_path / "truth"


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_of_every_kind_are_paired_and_read(tmp_path: Path, name: str, dtype: Any) -> None:
    mask_HW = (np.arange(48).reshape(6, 8) * (1 if dtype is np.uint8 else 300)).astype(dtype)
    pair = reference.find_pairs(*folder(tmp_path, name, mask_HW))[0]
    assert (pair.stem, pair.height, pair.width) == ("a", 6, 8)
    assert np.array_equal(reference.read_values(pair.truth_path), mask_HW)


def test_a_generated_dataset_loads_as_a_reference_folder(tmp_path: Path) -> None:
    scenes.write_dataset(tmp_path, 2, seed=0, height=64, width=96)
    pairs = reference.find_pairs(tmp_path / "images", tmp_path / "masks")
    ontology = parse_ontology((tmp_path / "ontology.yaml").read_text())
    values_HW = reference.read_values(pairs[1].truth_path)
    labels_HW = reference.to_label_map(values_HW, ontology.value_to_id(), ontology.unlabelled, "x")
    assert labels_HW.dtype == np.uint16
    assert np.array_equal(labels_HW, scenes.generate_scene(1, 64, 96).labels_HW)


def test_values_become_class_ids_and_unlabelled_becomes_zero() -> None:
    values_HW = np.array([[0, 1, 255], [2, 2, 7]], np.uint8)
    labels_HW = reference.to_label_map(values_HW, {1: 10, 2: 65534}, {255, 7}, "m.png")
    assert labels_HW.tolist() == [[0, 10, 0], [65534, 65534, 0]]
    assert reference.to_label_map(values_HW, {0: 5, 1: 1, 2: 2, 7: 3}, {255}, "m").tolist() == [
        [5, 1, 0],
        [2, 2, 3],
    ]


def test_a_value_that_no_class_claims_is_named_with_file_and_first_pixel() -> None:
    values_HW = np.array([[1, 1], [1, 9], [9, 8]], np.uint16)
    with pytest.raises(reference.UnclaimedValue, match=r"masks/m\.png: value 9 at pixel \(y=1, x=1\)") as caught:
        reference.to_label_map(values_HW, {1: 1, 2: 2}, {255}, "masks/m.png")
    assert (caught.value.value, caught.value.y, caught.value.x) == (9, 1, 1)
    assert "1, 2" in str(caught.value)


def test_missing_partners_are_listed_on_both_sides(tmp_path: Path) -> None:
    images, truth = folder(tmp_path)
    for index in range(10):
        save(images / f"lonely{index}.png", np.zeros((2, 2, 3), np.uint8))
    save(truth / "orphan.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(reference.MissingPartner) as caught:
        reference.find_pairs(images, truth)
    assert "lonely0" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert "orphan" in str(caught.value)


def test_a_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(reference.SizeMismatch, match=r"a\.png is 8x7, its image 8x6"):
        reference.find_pairs(*folder(tmp_path, mask=np.zeros((7, 8), np.uint8)))


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    images, truth = folder(tmp_path)
    save(images / "a.jpg", np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(reference.DuplicateStem, match=r"a\.jpg and a\.png"):
        reference.find_pairs(images, truth)


def test_missing_and_empty_folders_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(reference.ReferenceFolderError, match="no such folder"):
        reference.find_pairs(tmp_path / "none", tmp_path)
    with pytest.raises(reference.ReferenceFolderError, match="no image found"):
        reference.find_pairs(tmp_path, tmp_path)
    images, truth = folder(tmp_path)
    (images / "a.png").write_bytes(b"not a picture")
    with pytest.raises(reference.UnreadableFile, match=r"a\.png"):
        reference.find_pairs(images, truth)
    save(tmp_path / "rgb.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(reference.UnreadableFile, match=r"rgb\.png"):
        reference.read_values(tmp_path / "rgb.png")


def test_other_files_and_hidden_files_are_left_aside(tmp_path: Path) -> None:
    images, truth = folder(tmp_path)
    (images / "README.txt").write_text("x")
    (truth / ".DS_Store").write_bytes(b"x")
    assert len(reference.find_pairs(images, truth)) == 1


def test_without_an_ontology_each_value_becomes_a_class(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    save(paths[0], np.array([[0, 3]], np.uint8))
    save(paths[1], np.array([[255, 149]], np.uint8))
    done: list[int] = []
    values = reference.discover_values(paths, done.append)
    assert values == {0, 3, 149, 255}
    assert done == [1, 2]
    ontology = parse_ontology(reference.ontology_from_values(values))
    assert [(c.id, c.name, c.value) for c in ontology.classes] == [
        (1, "value-0", 0),
        (4, "value-3", 3),
        (150, "value-149", 149),
    ]
    assert ontology.value_to_id() == {0: 1, 3: 4, 149: 150}
    assert reference.to_label_map(
        np.array([[255, 149]]), ontology.value_to_id(), ontology.unlabelled, "x"
    ).tolist() == [[0, 150]]


def test_150_values_get_150_different_colours() -> None:
    colors = {entry["color"] for entry in reference.ontology_from_values(range(150))["classes"]}
    assert len(colors) == 150


def test_masks_that_hold_no_class_are_refused() -> None:
    with pytest.raises(reference.ReferenceFolderError, match="255"):
        reference.ontology_from_values({255})
    with pytest.raises(reference.ReferenceFolderError, match="65535"):
        reference.ontology_from_values({1, 65535})


def test_the_nuclei_folder_loads_as_it_is(shared_data: Path | None) -> None:
    if shared_data is None or not (shared_data / "nuclei").is_dir():
        pytest.skip("the nuclei images are not on this machine")
    pairs = reference.find_pairs(shared_data / "nuclei" / "images", shared_data / "nuclei" / "class_masks")
    assert len(pairs) == 124
    assert reference.discover_values(pair.truth_path for pair in pairs[:10]) == {0, 1, 2}
