"""YOLO segmentation: lines of polygons, read by a plain reader with GDAL's filler."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from rasterio.features import rasterize as gdal_rasterize

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import FormatError

from .exchanging import CLASSES, collect, dataset_of, read_back, three

YOLO = FORMATS["yolo"]


def test_a_plain_reader_finds_every_pixel() -> None:
    labels = three()
    files, _ = collect(YOLO, dataset_of(labels))
    names = yaml.safe_load(files["data.yaml"])["names"]
    ids = {place: next(one.id for one in CLASSES if one.name == name) for place, name in names.items()}
    for stem, labels_HW in labels.items():
        [file] = [name for name in files if name.endswith(f"/{stem}.txt")]
        assert file.replace("labels", "images", 1)[:-4] in {name.rsplit(".", 1)[0] for name in files}
        height, width = labels_HW.shape
        found_HW = np.zeros_like(labels_HW)
        for line in files[file].decode().splitlines():
            place, *shares = line.split()
            assert all(0 <= float(share) <= 1 for share in shares)
            ring = (np.array(shares, float).reshape(-1, 2) * (width, height)).round(6).tolist()
            polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
            inside_HW = gdal_rasterize([polygon], labels_HW.shape) == 1
            assert not found_HW[inside_HW].any()
            found_HW[inside_HW] = ids[int(place)]
        np.testing.assert_array_equal(found_HW, labels_HW)


def test_large_pictures_keep_every_pixel() -> None:
    labels_HW = np.zeros((9, 30_001), np.uint8)
    labels_HW[1:8, 3:29_998:2] = 1
    labels_HW[4, :] = 2
    files, _ = collect(YOLO, dataset_of({"wide": labels_HW}))
    maps, _ = read_back(YOLO, files)
    np.testing.assert_array_equal(maps["wide"], labels_HW)


def with_line(line: str) -> dict[str, bytes]:
    files, _ = collect(YOLO, dataset_of({"a": np.ones((4, 4), np.uint8)}))
    return {**files, "labels/train/a.txt": line.encode()}


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", UnsupportedMask, "line 1 is a box"),
        ("9 0 0 1 0 1 1", UnsupportedMask, "line 1: class 9 is no class"),
        ("0 0 0 1 0 1 1\n0 0 0 1", CorruptMask, "line 2: 3 coordinates are no x y pairs"),
        ("0 0 0 1 0 x 1", CorruptMask, "line 1: could not convert"),
        ("0 0 0 nan 0 1 1", CorruptMask, "line 1: a coordinate is not a number"),
        ("car 0 0 1 0 1 1", CorruptMask, "line 1: invalid literal"),
        ("0", CorruptMask, "line 1: a polygon has three or more points"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(line: str, error: type[MaskError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_back(YOLO, with_line(line))


def test_regions_over_each_other_are_reported() -> None:
    maps, report = read_back(YOLO, with_line("0 0 0 1 0 1 1 0 1\n1 0 0 0.5 0 0.5 1 0 1\n"))
    np.testing.assert_array_equal(maps["a"], [[2, 2, 1, 1]] * 4)
    assert report.losses[0].reason == "line 2 lies over 8 pixels of earlier ones: the later class counts"


def test_names_may_be_a_list_and_a_picture_may_have_no_lines() -> None:
    files, _ = collect(YOLO, dataset_of({"a": np.full((4, 4), 3, np.uint8), "b": np.ones((4, 4), np.uint8)}))
    files["data.yaml"] = b"names: [road, car, tree, truck]\n"
    del files["labels/train/b.txt"]
    maps, _ = read_back(YOLO, files)
    assert maps.keys() == {"a"}
    assert (maps["a"] == 3).all()


def test_a_text_file_without_a_picture_is_reported() -> None:
    files = with_line("")
    _, report = read_back(YOLO, {**files, "labels/train/lost.txt": b""})
    assert [(note.file, note.reason) for note in report.refusals] == [
        ("labels/train/lost.txt", "there is no picture of this name")
    ]


@pytest.mark.parametrize(
    "text", [b"names: 7", b"names: {a: b}", b"{", b"\xff\xfe", b"!!python/object/apply:os.system [ls]"]
)
def test_a_data_yaml_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError, match=r"data\.yaml"):
        read_back(YOLO, {"data.yaml": text, "images/a.png": b""})
