"""Shards: deterministic, read by the webdataset package, hostile tars reported, memory of one sample."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terrazzo_masks.formats import FORMATS, webdataset
from terrazzo_masks.formats.exchange import Dataset, FormatError, Limits, MemorySource, Report, Sample

from .exchanging import CLASSES, DEEP, assert_same, collect, dataset_of, picture_of, read_back, three

SHARDS = FORMATS["webdataset"]


def tar_of(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_what_goes_out_comes_in_with_its_attributes_and_is_the_same_bytes_each_time() -> None:
    labels = three(DEEP)
    dataset = dataset_of(labels, DEEP, attributes={"beta": {"volume": "v1"}})
    files, report = collect(SHARDS, dataset)
    assert sorted(files) == ["classes.json", "train-000000.tar", "val-000000.tar"]
    assert collect(SHARDS, dataset)[0] == files
    assert (report.num_done, report.num_refused, report.num_lost) == (3, 0, 0)
    maps, report = read_back(SHARDS, files, DEEP)
    assert_same(maps, labels)
    assert report == Report()
    found = {one.name: one for one in SHARDS.read(MemorySource(files), DEEP, Report(), Limits())}
    assert found["beta.png"].attributes == {"volume": "v1"}


def test_the_webdataset_package_reads_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import webdataset as peer

    monkeypatch.setattr(webdataset, "SHARD_SAMPLES_MAX", 2)
    labels = {f"s{number}": labels_HW for number, labels_HW in enumerate([*three().values()] * 3)}
    files, _ = collect(SHARDS, dataset_of(labels, kind="JPEG"))
    shards = sorted(name for name in files if name.endswith(".tar"))
    assert len(shards) == 5
    for name in shards:
        (tmp_path / name).write_bytes(files[name])
    seen, pictures = {}, {}
    for sample in peer.WebDataset([str(tmp_path / name) for name in shards], shardshuffle=False).decode():
        seen[sample["json"]["name"]] = np.asarray(Image.open(io.BytesIO(sample["mask.png"])))
        pictures[sample["json"]["name"]] = Image.open(io.BytesIO(sample["jpg"])).size[::-1]
        assert sample["__key__"] == sample["json"]["sample_id"]
    assert_same(seen, labels)
    assert pictures == {stem: labels_HW.shape for stem, labels_HW in labels.items()}


def test_a_shard_that_reaches_outside_of_itself_is_refused() -> None:
    for name in ("../a.png", "/etc/a.png", "a/../../b.png", "a\\..\\b.png"):
        with pytest.raises(FormatError, match="points outside"):
            read_back(SHARDS, {"x-000000.tar": tar_of((name, b"x"))})


def test_links_large_members_and_damage_are_reported_and_the_rest_is_read() -> None:
    files, _ = collect(SHARDS, dataset_of(three()))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        info = tarfile.TarInfo("b.png")
        info.size = 3_000_000
        archive.addfile(info, io.BytesIO(bytes(3_000_000)))
    files["a-000000.tar"] = out.getvalue()
    files["b-000000.tar"] = files["train-000000.tar"][:9_000]
    files["c-000000.tar"] = b"no tar at all" * 100
    maps, report = read_back(SHARDS, files, limits=Limits(max_bytes=1_000_000))
    assert_same(maps, three())
    reasons = {note.file: note.reason for note in report.refusals}
    assert "link or a device" in reasons["a-000000.tar: a.png"]
    assert "3000000 bytes; at most 1000000" in reasons["a-000000.tar: b.png"]
    assert "can't be read" in reasons["b-000000.tar"]
    assert "can't be read" in reasons["c-000000.tar"]


def test_foreign_shards_are_read_and_what_has_no_mask_and_no_image_is_reported() -> None:
    labels_HW = three()["alpha"]
    out = io.BytesIO()
    Image.fromarray(labels_HW).save(out, "PNG")
    shard = tar_of(
        ("deep/one.jpg", picture_of(1, kind="JPEG")),
        ("deep/one.seg.png", out.getvalue()),
        ("two.txt", b"caption"),
        ("three.jpg", picture_of(2, kind="JPEG")),
        ("three.json", b"{"),
    )
    maps, report = read_back(SHARDS, {"d-000000.tar": shard})
    assert_same(maps, {"one": labels_HW})
    assert [note.file for note in report.refusals] == ["d-000000.tar: two", "d-000000.tar: three.json"]


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    def peak_of(num: int) -> int:
        def samples():
            for number in range(num):
                yield Sample(f"s{number}", f"smp_{number}", 64, 64, lambda: np.ones((64, 64), np.uint8))

        tracemalloc.start()
        for member in SHARDS.write(replace(Dataset(CLASSES, samples), name="many"), Report()):
            for chunk in member.data if not isinstance(member.data, bytes) else ():
                assert chunk
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak_of(5)
    assert peak_of(400) < peak_of(20) + 64 * 1024


def test_long_names_are_read_in_every_way_that_tars_have_for_them() -> None:
    name = "a" * 150 + "/" + "b" * 120
    labels_HW = three()["alpha"]
    out = io.BytesIO()
    Image.fromarray(labels_HW).save(out, "PNG")
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        shard = io.BytesIO()
        with tarfile.open(fileobj=shard, mode="w", format=kind) as archive:
            for suffix, data in (("jpg", picture_of(1, kind="JPEG")), ("mask.png", out.getvalue())):
                info = tarfile.TarInfo(f"{name}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        maps, report = read_back(SHARDS, {"a-000000.tar": shard.getvalue()})
        assert report == Report()
        assert_same(maps, {"b" * 120: labels_HW})


def test_a_header_that_asks_for_gigabytes_is_refused_before_they_are_read() -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2**30
        shard = info.tobuf(tarfile.USTAR_FORMAT) + bytes(512)
        _, report = read_back(SHARDS, {"a-000000.tar": shard})
        assert "an extended header states 1073741824 bytes" in report.refusals[0].reason


def test_a_sample_of_endless_files_is_refused() -> None:
    shard = tar_of(*((f"a.{number}", bytes(900)) for number in range(5)))
    report = Report()
    limits = Limits(max_bytes=1_000)
    assert list(SHARDS.read(MemorySource({"a-000000.tar": shard}), CLASSES, report, limits)) == []
    assert "the files of a have more than 2000 bytes" in report.refusals[0].reason


def test_any_damage_ends_in_samples_or_in_a_report() -> None:
    sound = collect(SHARDS, dataset_of(three()))[0]["train-000000.tar"]
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(150):
        data = bytearray(sound)
        for at in rng.integers(0, len(data), 2):
            data[at] = rng.integers(0, 256)
        report = Report()
        shards = {"a-000000.tar": bytes(data[: rng.integers(1, len(data))])}
        try:
            assert len(list(SHARDS.read(MemorySource(shards), CLASSES, report, Limits()))) <= 3
        except FormatError:
            num_refused += 1  # a name that became one with '..' or a '/' before it
        num_refused += report.num_refused
    assert num_refused > 50
