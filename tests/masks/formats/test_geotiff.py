"""GeoTIFF: the georeference survives import and export, as rasterio sees it; large rasters in little memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats import FORMATS, geotiff, tiff
from terrazzo_masks.formats.exchange import Dataset, Limits, MemorySource, Report, Sample

from .exchanging import CLASSES, DEEP, assert_same, blobs_map, collect, dataset_of, picture_of, read_back, three

GEO = FORMATS["geotiff"]
NORTH_UP = Affine(0.5, 0, 440_720.25, 0, -0.5, 3_751_320.125)
TURNED = Affine(0.25, 0.1, 13.1, 0.1, -0.25, 52.4)
LOCAL = 'LOCAL_CS["a mine\'s own grid",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'


def raster(values_HW: np.ndarray, **profile) -> bytes:
    height, width = values_HW.shape[-2:]
    num = 1 if values_HW.ndim == 2 else len(values_HW)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=num, dtype=values_HW.dtype, **profile
        ) as out:
            out.write(values_HW.reshape(num, height, width))
        return bytes(memory.read())


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "+proj=laea +lat_0=10 +lon_0=-81 +datum=WGS84", LOCAL])
@pytest.mark.parametrize("transform", [NORTH_UP, TURNED], ids=["north up", "turned"])
def test_crs_transform_and_nodata_survive_import_and_export(crs: str, transform: Affine) -> None:
    labels_HW = blobs_map(3)
    mask = raster(np.where(labels_HW == 0, 255, labels_HW), crs=crs, transform=transform, nodata=255)
    source = MemorySource({"images/a.png": picture_of(1), "masks/a.tif": mask})
    [found] = GEO.read(source, CLASSES, Report(), Limits())
    np.testing.assert_array_equal(found.labels(48, 64), labels_HW)
    files, report = collect(GEO, dataset_of({"a": labels_HW}, attributes={"a": found.attributes}))
    assert (report.num_done, report.num_lost) == (1, 0)
    with (
        MemoryFile(mask) as one,
        one.open() as before,
        MemoryFile(files["masks/a.tif"]) as two,
        two.open() as after,
    ):
        assert after.crs == before.crs
        assert after.crs is not None
        assert after.transform == before.transform == transform
        assert after.nodata == before.nodata == 255
        np.testing.assert_array_equal(after.read(1), before.read(1))


def test_a_picture_that_is_a_geotiff_gives_its_georeference_to_the_mask() -> None:
    picture = raster(
        np.zeros((3, 48, 64), np.uint8), crs="EPSG:32633", transform=NORTH_UP, nodata=0, photometric="RGB"
    )
    labels_HW = blobs_map(4, ids=(0, 1, 300))
    files, report = collect(GEO, dataset_of({"a": labels_HW}, DEEP, pictures={"a": (picture, "image/tiff")}))
    assert report.num_lost == 0
    assert files["images/a.tif"] == picture
    with MemoryFile(files["masks/a.tif"]) as memory, memory.open() as after:
        assert (str(after.crs), after.transform, after.nodata, after.dtypes) == (
            "EPSG:32633",
            NORTH_UP,
            0,
            ("uint16",),
        )
        np.testing.assert_array_equal(after.read(1), labels_HW)
    maps, _ = read_back(GEO, files, DEEP)
    assert_same(maps, {"a": labels_HW})


def test_a_mask_without_georeference_is_written_and_reported() -> None:
    files, report = collect(GEO, dataset_of(three()))
    assert [note.reason for note in report.losses] == [
        "it has no georeference: its mask is a TIFF without one"
    ] * 3
    maps, _ = read_back(GEO, files)
    assert_same(maps, three())
    with MemoryFile(files["masks/alpha.tif"]) as memory, memory.open() as after:
        assert after.colormap(1)[2] == (0, 0, 142, 255)


def test_a_nodata_value_that_is_a_class_is_reported_and_not_used() -> None:
    kept = json.dumps({"42113": "2", "33550": [1, 1, 0], "33922": [0, 0, 0, 5, 6, 0]})
    files, report = collect(GEO, dataset_of({"a": blobs_map(3)}, attributes={"a": {"geotiff": kept}}))
    assert "nodata value '2' can't be kept" in report.losses[0].reason
    maps, _ = read_back(GEO, files)
    assert_same(maps, {"a": blobs_map(3)})


def test_a_large_raster_is_written_window_by_window_in_the_memory_of_a_tile() -> None:
    height, width = 9_000, 7_001
    tile_HW = blobs_map(1, 512, 512)

    def region(y: int, x: int, rows: int, cols: int) -> np.ndarray:
        return np.zeros((rows, cols), np.uint8) if x > 3_000 else tile_HW[:rows, :cols]

    def whole() -> np.ndarray:
        raise AssertionError("the whole map was asked for")

    sample = Sample("big", "smp_1", height, width, whole, region=region)
    [member] = [
        m for m in GEO.write(Dataset(CLASSES, lambda: iter([sample])), Report()) if m.name == "masks/big.tif"
    ]
    tracemalloc.start()
    data = bytearray()
    for chunk in member.data:
        data += chunk
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(data) * 3 + 6 * 2**20 < height * width
    with MemoryFile(bytes(data)) as memory, memory.open() as after:
        assert after.shape == (height, width)
        seen_HW = after.read(1)
    assert not seen_HW[:, 3_584:].any()
    np.testing.assert_array_equal(seen_HW[512:1024, 512:1024], tile_HW)
    np.testing.assert_array_equal(seen_HW[8_704:, :512], tile_HW[:296])


def test_above_four_gigabytes_it_is_a_bigtiff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_BYTES_MAX", 100)
    files, _ = collect(GEO, dataset_of(three()))
    assert files["masks/alpha.tif"][:4] == b"II+\0"
    for stem, labels_HW in three().items():
        with MemoryFile(files[f"masks/{stem}.tif"]) as memory, memory.open() as after:
            np.testing.assert_array_equal(after.read(1), labels_HW)
    assert tiff.read_tags(io.BytesIO(files["masks/alpha.tif"]), frozenset({256}))[256].value == (64,)


def test_any_damage_in_a_directory_is_a_corrupt_mask_or_some_tags() -> None:
    sound = raster(blobs_map(1), crs="EPSG:32633", transform=NORTH_UP, nodata=9)
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(400):
        data = bytearray(sound)
        for at in rng.integers(0, 400, 3):
            data[at] = rng.integers(0, 256)
        try:
            tags = tiff.read_tags(io.BytesIO(bytes(data[: rng.integers(4, len(data))])), geotiff.GEO_TAGS)
        except CorruptMask:
            num_refused += 1
            continue
        assert geotiff.tags_of(geotiff.to_attribute(tags) or "{}").keys() <= tags.keys()
    assert num_refused > 50


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"1": 2}', '{"33550": 3}', '{"34735": [99999999]}', '{"33550": ["x"]}']
)
def test_an_attribute_that_is_no_georeference_refuses_its_sample_alone(text: str) -> None:
    files, report = collect(GEO, dataset_of(three(), attributes={"beta": {"geotiff": text}}))
    assert (report.num_done, report.num_refused) == (2, 1)
    assert "georeference can't be read" in report.refusals[0].reason
    assert "masks/beta.tif" not in files
    assert "images/beta.png" not in files


def test_counts_that_are_known_spare_a_look_at_every_window() -> None:
    calls = []

    def region(y: int, x: int, rows: int, cols: int) -> np.ndarray:
        calls.append((y, x))
        return np.full((rows, cols), 2, np.uint8)

    sample = Sample("s", "smp_1", 600, 600, lambda: np.zeros((1, 1), np.uint8), region=region)
    for counts, num in ((None, 4 + 4 + 4), ({2: 360_000}, 4 + 4)):
        calls.clear()
        dataset = Dataset(CLASSES, lambda counts=counts: iter([replace(sample, counts=counts)]))
        collect(GEO, dataset)
        # A tile of one value is written once, but looked at for its size; of four, one is written.
        assert len(calls) == num - 3
