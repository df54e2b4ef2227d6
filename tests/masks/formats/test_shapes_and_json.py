"""What the formats of shapes and JSON share: everything comes back, nothing is dropped in silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from rasterio.features import rasterize as gdal_rasterize

from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import ClassInfo, ClassTable, FormatError, Report
from terrazzo_masks.formats.keyhole import keyholed
from terrazzo_masks.geometry import Polygon, polygons, rasterize

from .exchanging import CLASSES, DEEP, assert_same, collect, dataset_of, read_back, three

NAMES = ("coco-polygons", "coco-panoptic", "yolo", "datumaro", "cvat", "label-studio")
BY_NAME = ("yolo", "datumaro", "cvat", "label-studio")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [CLASSES, DEEP], ids=["8 bit", "16 bit"])
def test_what_goes_out_comes_in_pixel_for_pixel(name: str, classes: ClassTable) -> None:
    labels = three(classes)
    files, report = collect(FORMATS[name], dataset_of(labels, classes))
    assert (report.num_done, report.num_refused, report.num_lost) == (3, 0, 0)
    maps, report = read_back(FORMATS[name], files, classes)
    assert_same(maps, labels)
    assert (report.num_refused, report.num_lost) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(labels_HW=hnp.arrays(np.uint8, st.tuples(*2 * [st.integers(1, 12)]), elements=st.sampled_from([0, 1, 2])))
def test_holes_and_touching_corners_survive(name: str, labels_HW) -> None:
    files, _ = collect(FORMATS[name], dataset_of({"a": labels_HW}))
    maps, report = read_back(FORMATS[name], files)
    found_HW = maps.get("a", np.zeros_like(labels_HW))  # a picture without a shape has no labels
    np.testing.assert_array_equal(found_HW, labels_HW)
    assert report == Report()


@settings(deadline=None, max_examples=40)
@given(mask_HW=hnp.arrays(np.uint8, st.tuples(*2 * [st.integers(1, 24)]), elements=st.integers(0, 1)))
def test_a_ring_with_bridges_is_the_polygon_for_every_filler(mask_HW) -> None:
    height, width = mask_HW.shape
    rings = [keyholed(polygon) for polygon in polygons(mask_HW)]
    ours_HW = rasterize([Polygon(1, tuple(map(tuple, ring))) for ring in rings], height, width, np.uint8)
    np.testing.assert_array_equal(ours_HW, mask_HW)
    if not rings:
        return
    coded = coco_mask.merge(coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width))
    np.testing.assert_array_equal(coco_mask.decode(coded), mask_HW)
    shapes = [{"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]} for ring in rings]
    np.testing.assert_array_equal(gdal_rasterize(shapes, (height, width)), mask_HW)


@pytest.mark.parametrize("name", BY_NAME)
def test_two_classes_of_one_name_are_refused_before_the_first_byte(name: str) -> None:
    twins = ClassTable((ClassInfo(1, "car", (0, 0, 1)), ClassInfo(2, "car", (0, 0, 2))))
    with pytest.raises(FormatError, match="the classes 1 and 2 are both named 'car'"):
        FORMATS[name].check(twins)


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_of_another_format_is_refused(name: str) -> None:
    files, _ = collect(FORMATS["index"], dataset_of(three()))
    with pytest.raises(FormatError):
        read_back(FORMATS[name], files)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_need_care_survive(name: str) -> None:
    odd = ClassTable((ClassInfo(1, 'a "b" <c> & é: #', (1, 2, 3)), ClassInfo(2, "- no", (4, 5, 6))))
    labels_HW = np.array([[1, 2], [0, 1]], np.uint8)
    files, _ = collect(FORMATS[name], dataset_of({"a": labels_HW}, odd))
    maps, _ = read_back(FORMATS[name], files, odd)
    np.testing.assert_array_equal(maps["a"], labels_HW)
