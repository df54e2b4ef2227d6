"""CVAT for images 1.1: its masks and polygons, read by Datumaro and by a plain XML reader; hostile XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rasterio.features import rasterize as gdal_rasterize

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import FormatError, Limits, MemorySource, Report

from .exchanging import CLASSES, collect, dataset_of, read_back, three

CVAT = FORMATS["cvat"]
RING_HW = np.array([[1, 1, 1, 0], [1, 0, 1, 2], [1, 1, 1, 2]], np.uint8)


def test_a_plain_reader_finds_every_pixel() -> None:
    labels = three()
    files, _ = collect(CVAT, dataset_of(labels))
    ids = {one.name: one.id for one in CLASSES}
    kinds = set()
    for image in ET.fromstring(files["annotations.xml"]).iter("image"):
        expected_HW = labels[image.get("name").split(".")[0]]
        assert (int(image.get("height")), int(image.get("width"))) == expected_HW.shape
        found_HW = np.zeros_like(expected_HW)
        for shape in image:
            kinds.add(shape.tag)
            class_id = ids[shape.get("label")]
            if shape.tag == "polygon":
                ring = [tuple(map(float, pair.split(","))) for pair in shape.get("points").split(";")]
                polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
                inside_HW = gdal_rasterize([polygon], expected_HW.shape) == 1
                assert not found_HW[inside_HW].any()
                found_HW[inside_HW] = class_id
            else:
                left, top, width, height = (int(shape.get(k)) for k in ("left", "top", "width", "height"))
                values = [at % 2 for at, run in enumerate(shape.get("rle").split(",")) for _ in range(int(run))]
                inside_HW = np.array(values, bool).reshape(height, width)
                found_HW[top : top + height, left : left + width][inside_HW] = class_id
        np.testing.assert_array_equal(found_HW, expected_HW)
    assert kinds == {"polygon", "mask"}


def test_datumaro_reads_the_labels_and_the_polygons(tmp_path) -> None:
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    labels_HW = np.zeros((20, 30), np.uint8)
    labels_HW[2:9, 3:12] = 2
    labels_HW[12:, 20:] = 7
    files, _ = collect(CVAT, dataset_of({"a": labels_HW}))
    (tmp_path / "annotations.xml").write_bytes(files["annotations.xml"])
    dataset = Dataset.import_from(str(tmp_path), "cvat")
    names = [label.name for label in dataset.categories()[AnnotationType.label].items]
    [item] = list(dataset)
    found_HW = np.zeros_like(labels_HW)
    for annotation in item.annotations:
        points = np.array(annotation.points).reshape(-1, 2).tolist()
        polygon = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
        class_id = next(one.id for one in CLASSES if one.name == names[annotation.label])
        found_HW[gdal_rasterize([polygon], labels_HW.shape) == 1] = class_id
    np.testing.assert_array_equal(found_HW, labels_HW)


def changed(old: str, new: str) -> dict[str, bytes]:
    files, _ = collect(CVAT, dataset_of({"a": RING_HW}))
    text = files["annotations.xml"].decode()
    assert old in text
    return {**files, "annotations.xml": text.replace(old, new, 1).encode()}


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('label="road"', 'label="boat"', UnsupportedMask, r"line \d+: the label 'boat' is no class"),
        ('rle="0, 4', 'rle="0, 5', CorruptMask, "its runs sum to 10, its box has 3 x 3 pixels"),
        ('rle="0, 4', 'rle="0, -4', CorruptMask, "rle is whole numbers"),
        ('width="3" height="3"', 'width="3000000" height="3000000"', CorruptMask, "a mask of 3000000 x 3000000"),
        ('left="0"', 'left="2"', CorruptMask, "leaves the picture"),
        ('left="0"', 'left="x"', FormatError, "left is 'x', not a whole number"),
        ('z_order="0"', 'z_order="top"', CorruptMask, "z_order is 'top'"),
        ('width="4" height="3"', 'width="5" height="3"', CorruptMask, "its size is 3 x 5, the picture's 3 x 4"),
        ('points="', 'points="1;', CorruptMask, "points are 'x,y;x,y;...'"),
        ('points="', 'points="nan,1;', CorruptMask, "points are 'x,y;x,y;...'"),
        ("<annotations>", "<dataset>", FormatError, "its root is <dataset>"),
        ("</meta>", "</mega>", FormatError, "mismatched tag: line"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, error: type[MaskError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_back(CVAT, changed(old, new))


def test_a_billion_laughs_are_refused_before_they_are_told() -> None:
    lines = [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12)]
    bomb = f'<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY l0 "ha">{"".join(lines)}]><annotations>&l11;'
    with pytest.raises(FormatError, match="declares the entity 'l0'"):
        read_back(CVAT, {"annotations.xml": bomb.encode()})


def test_a_file_of_another_place_is_never_opened() -> None:
    outside = '<!DOCTYPE annotations [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'
    with pytest.raises(FormatError, match="declares the entity 'x'"):
        read_back(CVAT, {"annotations.xml": outside.encode()})


def test_boxes_and_points_are_reported() -> None:
    maps, report = read_back(CVAT, changed("<mask", '<box label="car" xtl="0" ytl="0" xbr="2" ybr="2"/><mask'))
    np.testing.assert_array_equal(maps["a"], RING_HW)
    assert [note.reason for note in report.losses] == [
        "1 shapes are neither polygons nor masks: they hold no pixels"
    ]


def test_what_lies_higher_covers_what_lies_lower_and_that_is_reported() -> None:
    def polygon(label: str, z: int) -> str:
        return f'<polygon label="{label}" points="0,0;2,0;2,2;0,2" z_order="{z}"/>'

    text = (
        '<annotations><image id="0" name="a.png" width="2" height="2">'
        f"{polygon('tree', 1)}{polygon('car', 0)}</image></annotations>"
    )
    files, _ = collect(CVAT, dataset_of({"a": np.ones((2, 2), np.uint8)}))
    maps, report = read_back(CVAT, {**files, "annotations.xml": text.encode()})
    assert (maps["a"] == 3).all()
    assert "lies over 4 pixels of earlier ones" in report.losses[0].reason


def test_xml_alone_finds_its_pictures_by_name() -> None:
    files, _ = collect(CVAT, dataset_of({"a": RING_HW}))
    source = MemorySource({"annotations.xml": files["annotations.xml"]})
    [found] = CVAT.read(source, CLASSES, Report(), Limits())
    assert (found.name, found.image) == ("a.png", None)
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels(3, 4), RING_HW)
