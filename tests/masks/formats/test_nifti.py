"""NIfTI: a volume's slices are samples, an export puts the volume together again; compared with nibabel."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from PIL import Image

from terrazzo_masks.errors import MaskError
from terrazzo_masks.formats import FORMATS, nifti_header
from terrazzo_masks.formats.exchange import (
    Dataset,
    FormatError,
    Found,
    Limits,
    MemorySource,
    Picture,
    Report,
    Sample,
)

from .exchanging import CLASSES, DEEP, assert_same, blobs_map, collect, dataset_of, three

NIFTI = FORMATS["nifti"]
AFFINE = np.array([[-0.7, 0.02, 0.1, 90], [0.01, 0.8, 0, -126], [0.1, 0, 2.5, -72], [0, 0, 0, 1]])
SHAPE_XYZ = (64, 48, 5)


def volume_bytes(values_XYZ: np.ndarray, *, big_endian: bool = False, packed: bool = True) -> bytes:
    header = nibabel.Nifti1Header(endianness=">" if big_endian else "<")
    header.set_data_dtype(values_XYZ.dtype)
    image = nibabel.Nifti1Image(values_XYZ, AFFINE, header)
    image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    return gzip.compress(data) if packed else data


def opened(data: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def ct_XYZ(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1024, 3072, SHAPE_XYZ).astype(np.int16)


def labels_XYZ(dtype=np.uint8) -> np.ndarray:
    return np.stack([blobs_map(k).T for k in range(5)], axis=2).astype(dtype)


def imported(files: Mapping[str, bytes], classes=CLASSES) -> tuple[list[tuple[Found, bytes, np.ndarray]], Report]:
    """What an import takes, each Found used before the next one is asked for."""
    report = Report()
    taken = []
    for found in NIFTI.read(MemorySource(files), classes, report, Limits()):
        picture = found.image() if found.image else b""
        taken.append((found, picture, found.labels(48, 64) if found.labels else None))
    return taken, report


def dataset_from(taken: list[tuple[Found, bytes, np.ndarray]], classes=CLASSES) -> Dataset:
    def samples():
        # As in the service: the order is another one than the slices'.
        for number, (found, picture, labels_HW) in sorted(enumerate(taken), key=lambda row: -row[0] % 3):
            yield Sample(
                stem=found.name.removesuffix(".png"),
                sample_id=f"smp_{number:024x}",
                height=48,
                width=64,
                labels=lambda labels_HW=labels_HW: labels_HW,
                image=Picture(lambda picture=picture: picture, "image/png") if picture else None,
                attributes=found.attributes,
            )

    return Dataset(classes, samples, "scans")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_a_pair_of_volumes_comes_in_as_slices_and_goes_out_whole(dtype, big_endian: bool) -> None:
    picture, labels = ct_XYZ(), labels_XYZ(dtype)
    files = {
        "imagesTr/scan.nii.gz": volume_bytes(picture, big_endian=big_endian),
        "labelsTr/scan.nii.gz": volume_bytes(labels, big_endian=big_endian),
    }
    taken, report = imported(files)
    assert report == Report()
    assert [found.name for found, _, _ in taken] == [f"scan_{k:04d}.png" for k in range(5)]
    for k, (_, png, labels_HW) in enumerate(taken):
        np.testing.assert_array_equal(labels_HW, labels[:, :, k].T)
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(png))).astype(int), picture[:, :, k].T.astype(int) - picture.min()
        )
    out, report = collect(NIFTI, dataset_from(taken))
    assert (report.num_done, report.num_refused, report.num_lost) == (5, 0, 0)
    for file, expected in (("imagesTr/scan.nii.gz", picture), ("labelsTr/scan.nii.gz", labels)):
        before, after = opened(files[file]), opened(out[file])
        np.testing.assert_array_equal(np.asarray(after.dataobj), expected)
        np.testing.assert_array_equal(after.affine, before.affine)
        assert after.header.get_zooms() == before.header.get_zooms()
        assert after.header.get_xyzt_units()[0] == "mm"
        assert after.header["sform_code"] == before.header["sform_code"]
    assert opened(out["imagesTr/scan.nii.gz"]).get_data_dtype() == np.int16
    assert collect(NIFTI, dataset_from(taken))[0] == out


def test_two_empty_slices_of_a_picture_are_two_files() -> None:
    picture = np.zeros(SHAPE_XYZ, np.uint8)
    taken, _ = imported({"imagesTr/a.nii": volume_bytes(picture, packed=False)})
    assert len({png for _, png, _ in taken}) == 5
    assert all(np.asarray(Image.open(io.BytesIO(png))).shape == (48, 64) for _, png, _ in taken)


def test_floats_come_back_within_a_level_and_are_reported() -> None:
    picture = np.random.default_rng(1).normal(0, 10, SHAPE_XYZ).astype(np.float32)
    files = {"imagesTr/mr_0000.nii.gz": volume_bytes(picture), "labelsTr/mr.nii.gz": volume_bytes(labels_XYZ())}
    taken, report = imported(files)
    assert [note.reason for note in report.losses] == [
        "its values are no whole numbers of 16 bits: they were brought to 65,536 levels"
    ]
    out, _ = collect(NIFTI, dataset_from(taken))
    again = np.asarray(opened(out["imagesTr/mr.nii.gz"]).dataobj)
    assert np.abs(again - picture).max() <= (picture.max() - picture.min()) / 65535


def test_slices_that_are_not_in_the_version_are_written_empty_and_named() -> None:
    taken, _ = imported({"labelsTr/scan.nii.gz": volume_bytes(labels_XYZ())})
    out, report = collect(NIFTI, dataset_from([taken[0], taken[3]]))
    assert [note.reason for note in report.losses] == ["3 of its 5 slices are not in this version: 1, 2, 4"]
    after = np.asarray(opened(out["labelsTr/scan.nii.gz"]).dataobj)
    np.testing.assert_array_equal(after[:, :, 3], labels_XYZ()[:, :, 3])
    assert not after[:, :, (1, 2, 4)].any()


def test_samples_that_are_no_slices_become_volumes_of_one_and_that_is_said() -> None:
    labels = three(DEEP)
    out, report = collect(NIFTI, dataset_of(labels, DEEP))
    assert report.num_done == 3
    assert {note.reason for note in report.losses} == {
        "it has no place in the world: voxels of 1 x 1 x 1 are written"
    }
    for stem, labels_HW in labels.items():
        np.testing.assert_array_equal(
            np.asarray(opened(out[f"labelsTr/{stem}.nii.gz"]).dataobj)[:, :, 0].T, labels_HW
        )
    document = json.loads(out["dataset.json"])
    assert document["labels"]["300"] == "lamp"
    color = np.asarray(opened(out["imagesTr/alpha.nii.gz"]).dataobj)[:, :, 0].T
    assert color["R"].shape == (48, 64)


@pytest.mark.parametrize("labels", [{"0": "background", "4": "car"}, {"background": 0, "car": 4}])
def test_labels_are_read_by_the_names_in_dataset_json(labels: dict) -> None:
    values = np.zeros(SHAPE_XYZ, np.uint8)
    values[3, 5, :] = 4
    files = {
        "labelsTr/a.nii.gz": volume_bytes(values),
        "dataset.json": json.dumps({"labels": labels}).encode(),
    }
    taken, _ = imported(files)
    assert [int(labels_HW[5, 3]) for _, _, labels_HW in taken] == [2] * 5


def _half(values: np.ndarray) -> np.ndarray:
    changed = values.astype(np.float32)
    changed[7, 2, 1] = 1.5
    return changed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (_half(labels_XYZ()), "value 1.5 at row 2, column 7 is no class id"),
        (labels_XYZ().astype(np.int16) - 1, "is no class id"),
        (np.full(SHAPE_XYZ, np.nan, np.float32), "value nan at row 0, column 0"),
        (np.full(SHAPE_XYZ, 9, np.uint8), "value 9 "),
    ],
)
def test_values_that_are_no_classes_are_named(values: np.ndarray, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        imported({"labelsTr/a.nii.gz": volume_bytes(values)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:9_000], "cut short at slice"),
        (lambda data: data[:100], "no NIfTI header"),
        (lambda data: b"\0" * 400, "magic"),
        (lambda data: data[:40] + b"\x04\0" + data[42:46] + b"\x05\0\x07\0" + data[50:], "x, y and z are taken"),
        (lambda data: data[:70] + b"\x20\0" + data[72:], "datatype is 32"),
        (lambda data: data[:42] + b"\xff\x7f\xff\x7f" + data[46:], "at most 1000000"),
        (lambda data: data[:108] + b"\0\0\x80\x7f" + data[112:], "voxels start at inf"),
    ],
)
def test_a_damaged_or_hostile_volume_is_reported_and_the_others_are_read(change, message: str) -> None:
    sound = volume_bytes(labels_XYZ(), packed=False)
    files = {"labelsTr/a.nii": change(sound), "labelsTr/b.nii": sound}
    report = Report()
    names = []
    for found in NIFTI.read(MemorySource(files), CLASSES, report, Limits(max_pixels=1_000_000)):
        names.append(found.name)
    assert [name for name in names if name.startswith("b_")] == [f"b_{k:04d}.png" for k in range(5)]
    assert [note.file for note in report.refusals] == ["labelsTr/a.nii"]
    assert message in report.refusals[0].reason


def test_pairs_of_different_size_and_archives_without_volumes_are_refused() -> None:
    files = {
        "imagesTr/a.nii.gz": volume_bytes(ct_XYZ()[:, :, :4]),
        "labelsTr/a.nii.gz": volume_bytes(labels_XYZ()),
    }
    taken, report = imported(files)
    assert taken == []
    assert "(5, 48, 64), its picture (4, 48, 64)" in report.refusals[0].reason
    with pytest.raises(FormatError, match="no volumes"):
        imported({"a/readme": b""})


def test_a_kept_header_that_is_damaged_refuses_its_volume_alone() -> None:
    taken, _ = imported({"labelsTr/scan.nii.gz": volume_bytes(labels_XYZ())})
    broken = [(replace(f, attributes={**f.attributes, "nifti": "?"}), p, m) for f, p, m in taken]
    out, report = collect(NIFTI, dataset_from(broken))
    assert report.num_done == 0
    assert "the kept header is damaged" in report.refusals[0].reason
    assert "labelsTr/scan.nii.gz" not in out


def test_a_long_volume_is_written_in_the_memory_of_a_slice() -> None:
    slice_HW = np.ones((256, 256), np.uint8)
    header = nifti_header.blank(256, 256).to_text()

    def samples():
        for k in range(600):
            yield Sample(
                f"s{k}",
                f"smp_{k}",
                256,
                256,
                lambda: slice_HW,
                attributes={"volume": "v", "slice": str(k), "nifti": header},
                counts={1: 65536},
            )

    tracemalloc.start()
    for member in NIFTI.write(Dataset(CLASSES, samples), Report()):
        for _ in () if isinstance(member.data, bytes) else member.data:
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20 < 600 * slice_HW.nbytes


def test_what_is_imported_from_an_export_is_the_same_again() -> None:
    taken, _ = imported(
        {"imagesTr/scan.nii.gz": volume_bytes(ct_XYZ()), "labelsTr/scan.nii.gz": volume_bytes(labels_XYZ())}
    )
    out, _ = collect(NIFTI, dataset_from(taken))
    again, report = imported(out)
    assert report == Report()
    assert_same(
        {found.name: labels_HW for found, _, labels_HW in again},
        {found.name: labels_HW for found, _, labels_HW in taken},
    )
    # The same pictures to the byte: they are the same samples.
    assert [png for _, png, _ in again] == [png for _, png, _ in taken]
