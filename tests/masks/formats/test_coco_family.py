"""COCO polygons, COCO panoptic and Datumaro's format, read by pycocotools and by Datumaro."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from terrazzo_masks.errors import MaskError
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import FormatError

from .exchanging import CLASSES, collect, dataset_of, read_back, three


def unpack(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def label_map_by_datumaro(folder: Path, format: str) -> dict[str, np.ndarray]:
    """Label maps by stem, in our class ids: the names of Datumaro's labels say which."""
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(folder), format)
    ids = {one.name: one.id for one in CLASSES}
    names = [label.name for label in dataset.categories()[AnnotationType.label].items]
    maps = {}
    for item in dataset:
        height, width = item.media.size
        labels_HW = np.zeros((height, width), np.uint8)
        for annotation in item.annotations:
            assert annotation.type == AnnotationType.mask
            labels_HW[annotation.image.astype(bool)] = ids[names[annotation.label]]
        maps[item.id.rsplit("/", 1)[-1]] = labels_HW
    return maps


@pytest.mark.parametrize("name", ["coco", "coco-polygons"])
def test_pycocotools_reads_the_same_pixels_areas_and_boxes(name: str, tmp_path: Path) -> None:
    labels = three()
    files, _ = collect(FORMATS[name], dataset_of(labels))
    unpack(files, tmp_path)
    coco = COCO(str(tmp_path / "annotations.json"))
    assert {c["name"] for c in coco.loadCats(coco.getCatIds())} == {"road", "car", "tree", "truck"}
    for image in coco.loadImgs(coco.getImgIds()):
        found_HW = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask_HW = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == mask_HW.sum()
            rows, columns = np.nonzero(mask_HW)
            left, top = columns.min(), rows.min()
            size = [columns.max() - left + 1, rows.max() - top + 1]
            assert annotation["bbox"] == [left, top, *size]
            assert not found_HW[mask_HW].any(), "annotations overlap"
            found_HW[mask_HW] = annotation["category_id"]
        np.testing.assert_array_equal(found_HW, labels[image["file_name"].split(".")[0]])


@pytest.mark.parametrize(("name", "theirs"), [("coco-panoptic", "coco_panoptic"), ("datumaro", "datumaro")])
def test_datumaro_reads_the_same_pixels(name: str, theirs: str, tmp_path: Path) -> None:
    labels = three()
    files, _ = collect(FORMATS[name], dataset_of(labels))
    found = label_map_by_datumaro(unpack(files, tmp_path), theirs)
    assert found.keys() == labels.keys()
    for stem, labels_HW in labels.items():
        np.testing.assert_array_equal(found[stem], labels_HW)


def test_datumaro_keeps_the_ontology_s_parents() -> None:
    files, _ = collect(FORMATS["datumaro"], dataset_of(three()))
    labels = json.loads(files["annotations/train.json"])["categories"]["label"]["labels"]
    assert {label["name"]: label["parent"] for label in labels}["truck"] == "car"


def broken(name: str, file: str, old: str, new: str) -> str:
    """What is said of an archive in which `old` was replaced by `new` in one file."""
    files, _ = collect(FORMATS[name], dataset_of({"a": np.array([[1, 1], [2, 2]], np.uint8)}))
    text = files[file].decode()
    assert old in text
    with pytest.raises(MaskError) as caught:
        read_back(FORMATS[name], {**files, file: text.replace(old, new, 1).encode()})
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("datumaro", "annotations/train.json", '"label_id": 0, "z', '"label_id": 9, "z', "label_id 9 is no class"),
        ("datumaro", "annotations/train.json", '"size": [2, 2]}', '"size": [3, 2]}', "its size is [3, 2]"),
        ("datumaro", "annotations/train.json", '"counts": "', '"counts": "~', "no place in a run-length code"),
        ("datumaro", "annotations/train.json", '"items"', '"things"', "it has no list 'items'"),
        (
            "coco-panoptic",
            "annotations/panoptic_train.json",
            '"category_id": 1',
            '"category_id": 99',
            "category 99",
        ),
        (
            "coco-panoptic",
            "annotations/panoptic_train.json",
            '"id": 2, "category_id": 2',
            '"id": 5, "category_id": 2',
            "segment 2 (first at row 1, column 0) is not in segments_info",
        ),
        (
            "coco-panoptic",
            "annotations/panoptic_train.json",
            '"a.png", "segm',
            '"b.png", "segm',
            "does not have it",
        ),
        ("coco-polygons", "annotations.json", "[[0.0", '[["x"', "annotation 1"),
    ],
)
def test_what_is_wrong_is_named(name: str, file: str, old: str, new: str, message: str) -> None:
    assert message in broken(name, file, old, new)


def test_coco_polygons_of_several_parts_are_one_region() -> None:
    files, _ = collect(FORMATS["coco"], dataset_of({"a": np.zeros((4, 6), np.uint8)}))
    document = json.loads(files["annotations.json"])
    document["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [4, 1, 6, 1, 6, 4]]}
    ]
    maps, _ = read_back(FORMATS["coco"], {**files, "annotations.json": json.dumps(document).encode()})
    expected_HW = np.zeros((4, 6), np.uint8)
    expected_HW[:2, :2] = 2
    expected_HW[1:4, 5] = 2
    expected_HW[1, 4] = 2
    np.testing.assert_array_equal(maps["a"][:, :4], expected_HW[:, :4])
    assert maps["a"][1, 5] == 2
    assert maps["a"][3, 4] == 0


def test_a_json_that_is_none_is_a_format_error() -> None:
    with pytest.raises(FormatError, match=r"annotations/train.json: "):
        read_back(FORMATS["datumaro"], {"annotations/train.json": b"{"})
