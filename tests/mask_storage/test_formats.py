"""Every format over REST: out and in again, a report in each archive, uploads that never lie in memory."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
import zipfile
from typing import Any, get_args

import numpy as np
import pytest

from terrazzo_mask_storage.handlers.exchange import exports
from terrazzo_mask_storage.handlers.exchange.archives import Archive
from terrazzo_mask_storage.handlers.exchange.exports import Export
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import UnreadableFile
from terrazzo_schema.errors import CorruptInput, StorageDamaged
from terrazzo_schema.events import OntologyPublished
from terrazzo_schema.rest.mask_storage import ExportFormat

from .conftest import ONTOLOGY, PROJECT, World, picture_bytes, random_picture
from .test_exchange import export, import_, zip_of


def labelled(world: World, ids: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, str]:
    """Three committed samples of blocks of classes: sample id -> mask id."""
    staged: dict[str, str | None] = {}
    for seed in range(3):
        coarse = np.random.default_rng(seed).choice(np.array(ids, np.uint16), (6, 8))
        labels_HW = np.kron(coarse, np.ones((10, 10), np.uint16))
        staged[world.sample(seed, f"picture {seed}.png")] = world.put(labels_HW)
    world.stage(dict(staged))
    world.commit()
    return {sample_id: str(mask_id) for sample_id, mask_id in staged.items()}


def report_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    assert archive.namelist()[-1] == "export-report.json"
    report: dict[str, Any] = json.loads(archive.read("export-report.json"))
    return report


def test_rest_names_the_formats_that_the_library_has() -> None:
    assert set(get_args(ExportFormat)) == set(FORMATS)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_masks_of_each_format_come_in_as_they_went_out(world: World, format: str) -> None:
    staged = labelled(world)
    archive = export(world, format)
    report = report_of(archive)
    assert (report["format"], report["num_samples"], report["num_refused"]) == (format, 3, 0)
    data = archive.fp.getvalue()  # type: ignore[union-attr]
    assert export(world, format).fp.getvalue() == data  # type: ignore[union-attr]
    world.stage(dict.fromkeys(staged))
    world.commit()
    answer = import_(world, data, format=format)
    assert (answer["num_imported"], answer["num_skipped"]) == (3, 0), answer["skipped"]
    world.commit()
    entries = world.dataset("entries")["items"]
    assert sorted(entry["mask_id"] for entry in entries) == sorted(staged.values())
    if format != "nifti":  # whose pictures are voxels, not the files that they were
        assert {entry["sample_id"]: entry["mask_id"] for entry in entries} == staged


def test_a_sample_that_does_not_fit_is_named_in_the_archive_and_not_in_it(world: World) -> None:
    labelled(world)
    sample_id = world.sample(9, "deep.png")
    world.stage({sample_id: world.put(np.full((60, 80), 300, np.uint16))})
    world.commit()
    archive = export(world, "ade20k")
    report = report_of(archive)
    assert (report["num_samples"], report["num_refused"]) == (3, 1)
    assert report["refused"] == [
        {"sample": "deep", "reason": "class id 300 does not fit: this format holds ids up to 255"}
    ]
    assert not any("deep" in name for name in archive.namelist())


def test_classes_that_a_format_can_not_tell_apart_are_refused_before_the_first_byte(world: World) -> None:
    labelled(world)
    twins = json.loads(json.dumps(ONTOLOGY))
    twins["classes"][1]["color"] = twins["classes"][0]["color"]
    world.hear(OntologyPublished(version=2, ontology_json=json.dumps(twins)))
    answer = world.client.get(f"/v1/datasets/{PROJECT}/export", params={"format": "camvid"})
    assert answer.status_code == 422
    assert "'road' and 'car' have one colour" in answer.json()["detail"]


def test_an_answer_says_which_commit_and_how_many_samples_come(world: World) -> None:
    labelled(world)
    answer = world.client.get(f"/v1/datasets/{PROJECT}/export")
    assert answer.headers["Terrazzo-Samples"] == "3"
    assert answer.headers["Terrazzo-Commit"] == world.dataset("commits/main")["commit_id"]


def test_masks_alone_go_to_the_samples_of_their_names(world: World) -> None:
    one, two = world.sample(1, "folder/one.jpg"), world.sample(2, "two.png")
    world.sample(3, "a/twin.png")
    world.sample(4, "b/twin.png")
    mask = picture_bytes(np.ones((60, 80), np.uint8))
    answer = import_(world, zip_of({f"masks/{name}.png": mask for name in ("one", "two", "twin", "stranger")}))
    assert answer["num_imported"] == 2
    reasons = {row["file"]: row["reason"] for row in answer["skipped"]}
    assert reasons["masks/stranger.png"] == "there is no image of this name"
    assert "several samples have this name" in reasons["masks/twin.png"]
    assert set(world.dataset("status")["staged_masks"]) == {one, two}


def test_an_image_that_comes_twice_is_said_and_its_later_mask_counts(world: World) -> None:
    picture = picture_bytes(random_picture(1))
    members = {"images/a.png": picture, "images/b.png": picture}
    for name, value in (("a", 1), ("b", 3)):
        members[f"masks/{name}.png"] = picture_bytes(np.full((60, 80), value, np.uint8))
    answer = import_(world, zip_of(members))
    assert (answer["num_imported"], answer["num_losses"]) == (2, 1)
    assert answer["losses"][0]["file"] == "masks/b.png"
    [mask_id] = world.dataset("status")["staged_masks"].values()
    assert (world.labels(mask_id) == 3).all()


def test_a_georeference_survives_storage(world: World) -> None:
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    transform = Affine(0.5, 0, 440_720.25, 0, -0.5, 3_751_320.125)
    with MemoryFile() as memory:
        profile = {"driver": "GTiff", "height": 60, "width": 80, "count": 1, "dtype": "uint8", "nodata": 255}
        with memory.open(**profile, crs="EPSG:32633", transform=transform) as out:
            values = np.full((1, 60, 80), 3, np.uint8)
            values[0, :5] = 255
            out.write(values)
        mask = bytes(memory.read())
    # The image is there before, under its name; the import adds what the mask knows of the place.
    picture = picture_bytes(random_picture(5))
    world.upload(picture, "field.png")
    import_(world, zip_of({"images/field.png": picture, "masks/field.tif": mask}), format="geotiff")
    world.commit()
    archive = export(world, "geotiff")
    assert report_of(archive)["num_losses"] == 0
    with MemoryFile(archive.read("masks/field.tif")) as memory, memory.open() as after:
        assert (str(after.crs), after.transform, after.nodata) == ("EPSG:32633", transform, 255)
        np.testing.assert_array_equal(after.read(), values)


def test_an_upload_goes_to_a_file_and_not_to_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def look(self: Archive, file: Any) -> None:
        seen["bytes"] = file.seek(0, 2)
        seen["is_file"] = file.fileno() > 2
        raise CorruptInput("seen enough")

    monkeypatch.setattr(Archive, "__init__", look)
    chunk = bytes(2**16)
    waiting = [{"type": "http.request", "body": chunk, "more_body": True}] * 1_000

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        seen.setdefault("status", message.get("status"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/datasets/{PROJECT}/import",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"authorization", world.client.headers["Authorization"].encode())],
    }
    # The test client would hold the whole body: the app is called as a server calls it.
    tracemalloc.start()
    asyncio.run(world.service.app(scope, receive, send))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == {"bytes": 1_000 * len(chunk), "is_file": True, "status": 400}
    assert peak < 8 * 2**20


def test_regions_of_a_stored_mask_are_read_for_a_format_that_wants_windows(world: World) -> None:
    staged = labelled(world)
    from terrazzo_mask_storage.handlers.projects import known_project
    from terrazzo_mask_storage.handlers.refs import resolve
    from terrazzo_mask_storage.ports import Scope

    deps = world.service.app.state.deps
    scope = Scope("org_test0001", PROJECT)
    with deps.uow.read() as store:
        commit, project = resolve(store, scope, "main"), known_project(store, scope)
    for sample in Export(deps, scope, commit, project).samples():
        whole_HW = world.labels(staged[sample.sample_id])
        np.testing.assert_array_equal(sample.window(13, 17, 20, 31), whole_HW[13:33, 17:48])
        assert sample.counts is not None
        assert sum(sample.counts.values()) == 60 * 80


def test_a_member_that_is_damaged_in_the_midst_of_a_stream_is_an_unreadable_file() -> None:
    data = bytearray(zip_of({"x.tar": np.random.default_rng(0).integers(0, 9, 100_000, dtype=np.uint8).tobytes()}))
    data[5_000:5_100] = bytes(100)
    with Archive(io.BytesIO(bytes(data))).open("x.tar") as file, pytest.raises(UnreadableFile, match="unpacked"):
        _drain(file)


def _drain(file: Any) -> None:
    while file.read(1_000):
        pass


def test_an_archive_may_be_larger_than_other_bodies_and_has_a_limit_of_its_own(make_world) -> None:
    world = make_world(max_body_bytes=1_000, max_archive_bytes=100_000)
    data = zip_of({"images/a.png": picture_bytes(random_picture(1))})
    assert 1_000 < len(data) < 100_000
    assert import_(world, data)["num_imported"] == 1
    answer = world.client.post(f"/v1/images/{PROJECT}", params={"name": "a"}, content=data)
    assert (answer.status_code, answer.json()["remedy"]) == (413, "send at most 1000 bytes")
    assert "at most 100000" in import_(world, bytes(100_001), expect=413)["remedy"]


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_mask_that_is_damaged_in_the_store_is_named_and_the_others_go_out(
    world: World, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = labelled(world)
    damaged = sorted(staged.values())[0]
    for name in ("labels_of", "load"):

        def read(
            deps: Any, store: Any, organisation_id: str, mask_id: str, real: Any = getattr(exports, name)
        ) -> Any:
            if mask_id == damaged:
                raise StorageDamaged("part 77 is not what its name says")
            return real(deps, store, organisation_id, mask_id)

        monkeypatch.setattr(exports, name, read)
    report = report_of(export(world, format))
    assert report["num_refused"] == 1
    assert "part 77 is not what its name says" in report["refused"][0]["reason"]
