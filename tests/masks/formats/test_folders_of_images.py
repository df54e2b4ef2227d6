"""VOC, Cityscapes, CamVid and ADE20K: what goes out comes in; independent readers see the same pixels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terrazzo_masks.errors import MaskError, UnsupportedMask
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.ade20k import index_of, seg_of
from terrazzo_masks.formats.exchange import ClassInfo, ClassTable, FormatError, Limits, MemorySource, Report

from .exchanging import CLASSES, DEEP, assert_same, blobs_map, collect, dataset_of, picture_of, read_back, three

NAMES = ["voc", "cityscapes", "camvid", "ade20k", "ade20k-full"]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_out_comes_in_whole(name: str) -> None:
    labels = three()
    files, report = collect(FORMATS[name], dataset_of(labels))
    assert (report.num_done, report.num_refused, report.num_lost) == (3, 0, 0)
    maps, report = read_back(FORMATS[name], files)
    assert_same(maps, labels)
    assert report == Report()


@pytest.mark.parametrize(
    ("name", "refused", "lost"),
    [("voc", 0, 0), ("cityscapes", 0, 3), ("camvid", 0, 0), ("ade20k", 3, 0), ("ade20k-full", 0, 0)],
)
def test_ids_above_255_are_kept_refused_or_reported_and_never_changed(name: str, refused: int, lost: int) -> None:
    labels = three(DEEP)
    assert all(labels_HW.max() == 300 for labels_HW in labels.values())
    files, report = collect(FORMATS[name], dataset_of(labels, DEEP))
    assert (report.num_done, report.num_refused, report.num_lost) == (3 - refused, refused, lost)
    if refused:
        assert report.refusals[0].reason == "class id 300 does not fit: this format holds ids up to 255"
        assert not any("alpha" in file for file in files)
        return
    maps, _ = read_back(FORMATS[name], files, DEEP)
    assert_same(maps, labels)


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_archive_of_another_format_is_refused_by_name(name: str) -> None:
    with pytest.raises(FormatError, match="archive has no"):
        list(FORMATS[name].read(MemorySource({"x/readme.md": b"hello"}), CLASSES, Report(), Limits()))


def test_voc_is_read_by_datumaro_with_the_same_classes(tmp_path: Path) -> None:
    from datumaro.components.dataset import Dataset as Peer

    labels = three()
    files, _ = collect(FORMATS["voc"], dataset_of(labels, kind="JPEG"))
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    peer = Peer.import_from(str(tmp_path), "voc_segmentation")
    names = {number: label.name for number, label in enumerate(peer.categories()[_label_kind()])}
    own = {one.name: one.id for one in CLASSES}
    seen = {}
    for item in peer:
        if item.subset not in ("train", "val"):
            continue
        canvas_HW = np.zeros(labels[item.id].shape, np.uint8)
        for mask in item.annotations:
            canvas_HW[mask.image.astype(bool)] = own.get(names[mask.label], 0)
        seen[item.id] = canvas_HW
    assert_same(seen, labels)


def _label_kind():
    from datumaro.components.annotation import AnnotationType

    return AnnotationType.label


def test_voc_has_void_255_and_the_ids_as_palette_indices() -> None:
    labels = three()
    files, _ = collect(FORMATS["voc"], dataset_of(labels))
    for stem, labels_HW in labels.items():
        image = opened(files[f"SegmentationClass/{stem}.png"])
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), np.where(labels_HW == 0, 255, labels_HW))
        assert tuple(image.getpalette()[3 * 255 : 3 * 255 + 3]) == (224, 224, 192)
    assert files["ImageSets/Segmentation/train.txt"] == b"alpha\nbeta\n"
    assert files["ImageSets/Segmentation/val.txt"] == b"gamma\n"


def test_original_voc_is_read_by_the_names_of_its_classes() -> None:
    classes = ClassTable((ClassInfo(5, "car", (1, 2, 3)), ClassInfo(6, "person", (3, 2, 1))))
    values_HW = np.array([[0, 7, 15, 255]], np.uint8)
    files = {"VOC/SegmentationClass/a.png": _png(values_HW), "VOC/JPEGImages/a.jpg": picture_of(1, 1, 4, "JPEG")}
    maps, _ = read_back(FORMATS["voc"], files, classes)
    assert maps["a"].tolist() == [[0, 5, 6, 0]]
    values_HW[0, 1] = 1
    files["VOC/SegmentationClass/a.png"] = _png(values_HW)
    with pytest.raises(UnsupportedMask, match=r"value 1 \(first at row 0, column 1"):
        read_back(FORMATS["voc"], files, classes)


def _png(values_HW: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values_HW).save(out, "PNG")
    return out.getvalue()


def test_cityscapes_has_pngs_label_ids_and_colours_that_pillow_reads() -> None:
    labels = three()
    files, report = collect(FORMATS["cityscapes"], dataset_of(labels, kind="JPEG"))
    assert [note.file for note in report.losses] == list(labels)
    assert "same pixels, another file as PNG" in report.losses[0].reason
    place = "gtFine/val/street/gamma_gtFine_"
    np.testing.assert_array_equal(np.asarray(opened(files[f"{place}labelIds.png"])), labels["gamma"])
    colors_HWC = np.asarray(opened(files[f"{place}color.png"]))
    palette = {0: (0, 0, 0), **CLASSES.palette()}
    for class_id, rgb in palette.items():
        assert (colors_HWC[labels["gamma"] == class_id] == rgb).all()
    jpeg = opened(picture_of(2, 20, 50, "JPEG"))
    png = opened(files["leftImg8bit/val/street/gamma_leftImg8bit.png"])
    np.testing.assert_array_equal(np.asarray(png), np.asarray(jpeg))


def test_cityscapes_polygons_are_painted_in_their_order_and_crowds_count_as_their_class() -> None:
    document = {
        "imgHeight": 20,
        "imgWidth": 30,
        "objects": [
            {"label": "road", "polygon": [[0, 0], [29, 0], [29, 19], [0, 19]]},
            {"label": "cargroup", "polygon": [[5, 5], [10, 5], [10, 10], [5, 10]]},
            {"label": "out of roi", "polygon": [[0, 0], [2, 0], [2, 19], [0, 19]]},
        ],
    }

    def files_of(document: object) -> dict[str, bytes]:
        return {
            "leftImg8bit/train/a/x_leftImg8bit.png": picture_of(1, 20, 30),
            "gtFine/train/a/x_gtFine_polygons.json": json.dumps(document).encode(),
        }

    maps, _ = read_back(FORMATS["cityscapes"], files_of(document))
    expected = np.full((20, 30), 1)
    expected[5:11, 5:11] = 2
    expected[:, :3] = 0
    np.testing.assert_array_equal(maps["x"], expected)
    for change, message in (
        ({"imgHeight": 21}, "it is for 21 x 30, its image is 20 x 30"),
        ({"objects": [{"label": "unicorn", "polygon": [[0, 0], [1, 1], [2, 0]]}]}, "object 0: 'unicorn'"),
        ({"objects": [{"label": "car", "polygon": [[0, 0], [1, "x"]]}]}, "object 0: its polygon"),
        ({"objects": [{"label": "car", "polygon": [[0, 0], [1, 1e300]]}]}, "object 0: its polygon"),
        ({"objects": 3}, "no list 'objects'"),
    ):
        with pytest.raises(MaskError, match=message):
            read_back(FORMATS["cityscapes"], files_of({**document, **change}))


def test_an_unknown_colour_is_named_with_its_first_pixel() -> None:
    labels = {"a": blobs_map(4)}
    files, _ = collect(FORMATS["camvid"], dataset_of(labels))
    colors_HWC = np.asarray(opened(files["labels/a_L.png"])).copy()
    colors_HWC[7, 9] = (1, 2, 3)
    colors_HWC[30, 2] = (1, 2, 3)
    files["labels/a_L.png"] = _png(colors_HWC)
    message = r"colour #010203 \(first at row 7, column 9; 2 pixels\) is the colour of no class"
    with pytest.raises(UnsupportedMask, match=message):
        read_back(FORMATS["camvid"], files)


def test_two_classes_of_one_colour_and_a_black_class_are_refused_before_the_first_byte() -> None:
    twins = ClassTable((ClassInfo(1, "road", (9, 9, 9)), ClassInfo(2, "path", (9, 9, 9))))
    black = ClassTable((ClassInfo(1, "tar", (0, 0, 0)),))
    for name in ("camvid", "voc"):
        with pytest.raises(FormatError, match="'road' and 'path' have one colour, #090909"):
            FORMATS[name].check(twins)
        with pytest.raises(FormatError, match=r"'tar' is (black|#000000)"):
            FORMATS[name].check(black)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("label_colors.txt", "1 2 3 road\n1 2 3 car", "line 2: 'car' has the colour of 'road'"),
        ("label_colors.txt", "1 2 road", "line 1: '1 2 road' is not"),
        ("label_colors.txt", "1 2 999 road", "not in 0..255"),
        ("class_dict.csv", "name,r,g,b\nroad,1,x,3", "line 2"),
    ],
)
def test_a_table_of_colours_that_is_wrong_is_refused_with_its_line(file: str, text: str, message: str) -> None:
    files, _ = collect(FORMATS["camvid"], dataset_of({"a": blobs_map(4)}))
    del files["label_colors.txt"]
    with pytest.raises(FormatError, match=message):
        read_back(FORMATS["camvid"], {**files, file: text.encode()})


def test_kaggles_camvid_is_read_by_class_dict() -> None:
    files, _ = collect(FORMATS["camvid"], dataset_of(three()))
    rows = ["name, r, g, b", *(f"{one.name}, {', '.join(map(str, one.rgb))}" for one in CLASSES), "Void, 0, 0, 0"]
    moved = {
        f"CamVid/train{'_labels' if name.startswith('labels') else ''}/{name.split('/')[-1]}": data
        for name, data in files.items()
        if name.endswith(".png")
    }
    maps, _ = read_back(FORMATS["camvid"], {**moved, "CamVid/class_dict.csv": "\n".join(rows).encode()})
    assert_same(maps, three())


def test_colours_of_a_jpeg_or_of_see_through_pixels_are_not_trusted() -> None:
    files, _ = collect(FORMATS["camvid"], dataset_of({"a": blobs_map(4)}))
    rgba = np.zeros((48, 64, 4), np.uint8)
    for data, message in ((picture_of(1, kind="JPEG"), "is a PNG or TIFF"), (_png(rgba), "seen through")):
        with pytest.raises(UnsupportedMask, match=message):
            read_back(FORMATS["camvid"], {**files, "labels/a_L.png": data})


def test_every_index_of_the_full_ade20k_survives_its_colours() -> None:
    labels_HW = np.arange(6656, dtype=np.uint16).reshape(64, 104)
    seg_HWC = seg_of(labels_HW)
    # The formula of ADE20K's own readme: (R/10)*256 + G.
    np.testing.assert_array_equal(seg_HWC[..., 0] / 10 * 256 + seg_HWC[..., 1], labels_HW)
    np.testing.assert_array_equal(index_of(seg_HWC), labels_HW)
    seg_HWC[3, 4, 0] = 7
    with pytest.raises(UnsupportedMask, match="red is 7 at row 3, column 4"):
        index_of(seg_HWC)


def test_ade20k_is_read_by_the_names_in_its_object_table_and_instances_do_not_matter() -> None:
    classes = ClassTable((ClassInfo(4, "door", (1, 1, 1)), ClassInfo(5, "wall", (2, 2, 2))))
    table = b"Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t2\t3\t1\twall\n15\t0.1\t1\t1\t0\tdoor, double door\n"
    files = {
        "ADE/images/training/a.jpg": picture_of(1, 1, 4, "JPEG"),
        "ADE/annotations/training/a.png": _png(np.array([[0, 1, 15, 1]], np.uint8)),
        "ADE/objectInfo150.txt": table,
    }
    maps, _ = read_back(FORMATS["ade20k"], files, classes)
    assert maps["a"].tolist() == [[0, 5, 4, 5]]
    seg_HWC = seg_of(np.array([[0, 1, 15, 1]], np.uint8))
    seg_HWC[..., 2] = (9, 8, 7, 6)
    full = {
        "ADE/images/training/home/a.jpg": picture_of(1, 1, 4, "JPEG"),
        "ADE/images/training/home/a_seg.png": _png(seg_HWC),
        "ADE/images/training/home/a_parts_1.png": _png(seg_HWC),
        "ADE/objectInfo.txt": table,
    }
    maps, _ = read_back(FORMATS["ade20k-full"], full, classes)
    assert maps["a"].tolist() == [[0, 5, 4, 5]]
    full["ADE/objectInfo.txt"] = table + b"not a row\n"
    with pytest.raises(FormatError, match=r"objectInfo.txt, line 4"):
        read_back(FORMATS["ade20k-full"], full, classes)


def test_a_class_named_background_is_voc_s_0_and_unlabelled_is_not() -> None:
    classes = ClassTable((ClassInfo(1, "background", (0, 0, 0)), ClassInfo(2, "car", (0, 0, 142))))
    labels = {"a": blobs_map(3, ids=(0, 1, 2))}
    files, report = collect(FORMATS["voc"], dataset_of(labels, classes))
    assert (report.num_done, report.num_lost) == (1, 0)
    expected = np.choose(labels["a"], [255, 0, 2])
    np.testing.assert_array_equal(np.asarray(opened(files["SegmentationClass/a.png"])), expected)
    maps, _ = read_back(FORMATS["voc"], files, classes)
    assert_same(maps, labels)
