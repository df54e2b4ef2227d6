"""Index PNGs: what goes out comes in, checked by Pillow; constant memory over many samples."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import Dataset, FormatError, MemorySource, Report, Sample
from terrazzo_masks.formats.label_files import to_png

from .exchanging import CLASSES, DEEP, assert_same, collect, dataset_of, read_back, three

INDEX = FORMATS["index"]


@pytest.mark.parametrize("classes", [CLASSES, DEEP], ids=["8 bit", "16 bit"])
def test_what_goes_out_comes_in_and_pillow_sees_the_same_ids(classes) -> None:
    labels = three(classes)
    files, report = collect(INDEX, dataset_of(labels, classes))
    assert (report.num_done, report.num_refused, report.num_lost) == (3, 0, 0)
    for stem, labels_HW in labels.items():
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(files[f"masks/{stem}.png"]))), labels_HW)
    maps, report = read_back(INDEX, files, classes)
    assert_same(maps, labels)
    assert report == Report()


def test_a_value_that_no_class_claims_is_named_with_its_first_pixel() -> None:
    labels_HW = np.ones((4, 5), np.uint8)
    labels_HW[2, 3] = 99
    source = MemorySource({"masks/a.png": to_png(labels_HW)})
    [found] = INDEX.read(source, CLASSES, Report(), _limits())
    assert found.image is None
    with pytest.raises(UnsupportedMask, match=r"value 99 \(first at row 2, column 3; 1 pixels\)"):
        found.labels(4, 5)


def _limits():
    from terrazzo_masks.formats.exchange import Limits

    return Limits()


def test_an_archive_without_pictures_and_masks_is_no_index_archive() -> None:
    with pytest.raises(FormatError, match="no files images/"):
        next(INDEX.read(MemorySource({"readme.txt": b""}), CLASSES, Report(), _limits()))


def test_layers_over_a_label_map_are_reported_and_not_dropped_in_silence() -> None:
    base = dataset_of(three())

    def samples():
        for sample in base.samples():
            yield replace(sample, layers={"shadow": sample.labels})

    _, report = collect(INDEX, replace(base, samples=samples))
    assert report.num_done == 3
    assert [note.reason for note in report.losses] == [
        "the layers shadow are left out: this format has one label map for a picture"
    ] * 3


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    def peak_of(num: int) -> int:
        def samples():
            for number in range(num):
                yield Sample(f"s{number}", f"smp_{number}", 64, 64, lambda: np.ones((64, 64), np.uint8))

        tracemalloc.start()
        for member in INDEX.write(Dataset(CLASSES, samples), Report()):
            assert member.name
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak_of(5)
    assert peak_of(400) < peak_of(20) + 64 * 1024
