"""Label maps in and out: the same pixels are the same mask; what can't be one is refused with a reason."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from terrazzo_masks.tiles import Manifest
from terrazzo_schema.errors import StorageFull
from terrazzo_schema.events import OntologyPublished

from .conftest import ONTOLOGY, PROJECT, World, picture_bytes


def checkered(height: int = 600, width: int = 500, seed: int = 0) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 4, (height // 20 + 1, width // 20 + 1), dtype=np.uint8)
    return np.kron(blocks, np.ones((20, 20), np.uint8))[:height, :width]


def put(world: World, data: bytes, **params: str):
    return world.client.put(f"/v1/masks/{PROJECT}", params=params, content=data)


def test_a_label_map_comes_back_pixel_for_pixel_in_every_format(world: World) -> None:
    labels = checkered()
    mask_id = world.put(labels)
    base = f"/v1/masks/{PROJECT}/{mask_id}"
    assert (world.labels(mask_id) == labels).all()
    image = Image.open(io.BytesIO(world.client.get(f"{base}/content?format=png").content))
    assert image.mode == "P"
    assert (np.asarray(image) == labels).all()
    assert image.getpalette()[3:6] == [0x80, 0x40, 0x80]
    manifest = Manifest.from_bytes(world.client.get(f"{base}/content?format=manifest").content)
    assert manifest.digest == mask_id
    view = world.client.get(base).json()
    assert view["counts"] == {str(k): int(n) for k, n in zip(*np.unique(labels, return_counts=True), strict=True)}


def test_the_same_pixels_have_the_same_id_whatever_file_they_come_in(world: World) -> None:
    labels = checkered()
    npy = world.put(labels)
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 9, 9, 9, 5, 5, 5, 7, 7, 7])
    out = io.BytesIO()
    palette.save(out, "PNG")
    for data in (
        picture_bytes(labels),
        picture_bytes(labels.astype(np.uint16)),
        out.getvalue(),
        picture_bytes(labels, "TIFF"),
    ):
        answer = put(world, data)
        assert answer.status_code == 201, answer.text
        assert answer.json()["mask_id"] == npy
        assert answer.json()["new_bytes"] == 0


def test_a_correction_stores_the_tiles_that_it_changed(world: World) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (1024, 1024), dtype=np.uint8)
    first = put(world, picture_bytes(labels)).json()
    labels[10, 10] = (labels[10, 10] + 1) % 4
    second = put(world, picture_bytes(labels)).json()
    assert second["mask_id"] != first["mask_id"]
    assert 0 < second["new_bytes"] < first["new_bytes"] / 10
    assert (world.labels(second["mask_id"]) == labels).all()


def test_class_ids_above_255_are_kept_and_counted(world: World) -> None:
    labels = np.full((30, 30), 300, np.uint16)
    labels[0, 0] = 2
    mask_id = world.put(labels)
    assert world.labels(mask_id).dtype == np.uint16
    image = Image.open(io.BytesIO(world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/content").content))
    assert (np.asarray(image) == labels).all()


def test_an_unknown_class_is_named_with_its_first_pixel(world: World) -> None:
    labels = np.ones((40, 50), np.uint8)
    labels[7, 9] = labels[8, 0] = 77
    answer = put(world, picture_bytes(labels))
    assert answer.status_code == 422
    assert "class id 77 (first at row 7, column 9; 2 pixels)" in answer.json()["detail"]
    assert answer.json()["value"] == "77"


def test_a_class_of_a_later_ontology_is_taken_from_then_on(world: World) -> None:
    labels = np.full((5, 5), 4, np.uint8)
    assert put(world, picture_bytes(labels)).status_code == 422
    grown = {**ONTOLOGY, "classes": [*ONTOLOGY["classes"], {"id": 4, "name": "sign"}]}
    world.hear(OntologyPublished(version=2, ontology_json=json.dumps(grown)), twice=True)
    world.hear(OntologyPublished(version=1, ontology_json=json.dumps(ONTOLOGY)))
    assert put(world, picture_bytes(labels)).status_code == 201


def test_a_mask_of_another_size_than_expected_is_refused(world: World) -> None:
    answer = put(world, picture_bytes(np.ones((40, 50), np.uint8)), height="40", width="51")
    assert answer.status_code == 422
    assert answer.json()["field"] == "width"
    assert answer.json()["detail"] == "the mask's width is 50, not 51"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        picture_bytes(np.ones((40, 50), np.uint8))[:60],
        picture_bytes(np.ones((4, 5, 3), np.uint8)),
        picture_bytes(np.ones((40, 50), np.uint8), "JPEG"),
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"PK\x03\x04",
    ],
)
def test_what_is_no_label_map_is_a_bad_request(world: World, data: bytes) -> None:
    answer = put(world, data)
    assert answer.status_code == 400
    assert "index PNG" in answer.json()["remedy"]


def test_a_mask_bomb_is_refused_before_it_is_decoded(make_world) -> None:
    world = make_world(max_image_pixels=10_000)
    assert put(world, picture_bytes(np.ones((200, 200), np.uint8))).status_code == 400


def test_a_region_is_what_a_crop_would_be(world: World) -> None:
    labels = checkered()
    mask_id = world.put(labels)
    url = f"/v1/masks/{PROJECT}/{mask_id}/region"
    answer = world.client.get(url, params={"y": 250, "x": 100, "height": 200, "width": 300, "format": "npy"})
    assert (np.load(io.BytesIO(answer.content)) == labels[250:450, 100:400]).all()
    for box in ({"y": 500, "x": 0, "height": 101, "width": 1}, {"y": 2**31 - 1, "x": 0, "height": 1, "width": 1}):
        answer = world.client.get(url, params=box)
        assert answer.status_code == 422
        assert answer.json()["remedy"] == "stay inside 600 x 500"


def test_tiles_for_viewers_show_the_ontologys_colours_at_every_level(world: World) -> None:
    labels = np.ones((600, 500), np.uint8)
    labels[:, 250:] = 2
    mask_id = world.put(labels)
    url = f"/v1/masks/{PROJECT}/{mask_id}/tiles"
    tile = np.asarray(Image.open(io.BytesIO(world.client.get(f"{url}/0/0").content)))
    assert tile.shape == (256, 256, 3)
    assert tuple(tile[0, 0]) == (0x80, 0x40, 0x80)
    assert tuple(tile[0, 255]) == (0, 0, 255)
    whole = np.asarray(Image.open(io.BytesIO(world.client.get(f"{url}/0/0?level=2").content)))
    assert whole.shape == (150, 125, 3)
    edge = np.load(io.BytesIO(world.client.get(f"{url}/2/1?format=npy").content))
    assert (edge == labels[512:, 256:]).all()
    assert world.client.get(f"{url}/3/0").status_code == 404
    assert world.client.get(f"{url}/2147483647/0?level=31").status_code == 404


def test_provenance_adds_up_and_no_annotator_speaks_for_another(world: World) -> None:
    labels = checkered(40, 40)
    model = world.put(labels, source="prediction", actor="mdl_1", sample_id="smp_1")
    for name in ("ann", "bob", "ann"):
        annotator = world.as_("annotator", name=name)
        again = world.put(
            labels, annotator, source="submission", actor="somebody else", sample_id="smp_1", parent_mask_id=model
        )
        assert again == model
    rows = world.client.get(f"/v1/masks/{PROJECT}/{model}/provenance").json()
    assert [(row["source"], row["actor"]) for row in rows] == [
        ("prediction", "mdl_1"),
        ("submission", "key_ann0000"),
        ("submission", "key_bob0000"),
    ]


def test_provenance_that_names_an_unknown_mask_or_is_no_provenance_is_refused(world: World) -> None:
    data = picture_bytes(np.ones((4, 4), np.uint8))
    good = {"source": "submission", "actor": "a", "sample_id": "s"}
    for wrong, field in (
        ({**good, "parent_mask_id": "0" * 64}, "provenance.parent_mask_id"),
        ({**good, "source_mask_ids": ["0" * 64]}, "provenance.source_mask_ids"),
        ({**good, "source": "guess"}, "provenance.source"),
        ({**good, "colour": "red"}, "provenance.colour"),
    ):
        answer = put(world, data, provenance=json.dumps(wrong))
        assert (answer.status_code, answer.json()["field"]) == (422, field)


class FullBlobs:
    """A disk that has room for so many blobs, and then is full."""

    def __init__(self, room: int) -> None:
        from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs

        self.kept = MemoryBlobs()
        self.room = room

    def put(self, data: bytes) -> str:
        if self.room == 0:
            raise StorageFull(f"no room for {len(data)} bytes")
        self.room -= 1
        return self.kept.put(data)

    def __getattr__(self, name: str):
        return getattr(self.kept, name)


def test_on_a_full_disk_nothing_is_half_stored_and_the_same_works_once_there_is_room(make_world) -> None:
    blobs = FullBlobs(1)
    world = make_world(blobs=blobs)
    sample_id = world.sample(1, height=600, width=500)
    labels = np.random.default_rng(0).integers(0, 4, (600, 500), dtype=np.uint8)
    answer = put(world, picture_bytes(labels))
    assert answer.status_code == 507
    assert answer.headers["content-type"] == "application/problem+json"
    upload = world.client.post(f"/v1/images/{PROJECT}?name=b", content=picture_bytes(labels))
    assert upload.status_code == 507
    assert len(world.client.get(f"/v1/images/{PROJECT}").json()["items"]) == 1
    with world.service.uow.database.read() as connection:
        from terrazzo_mask_storage.adapters import tables

        for table in (tables.masks, tables.parts, tables.provenance):
            assert connection.execute(table.select()).all() == []
    blobs.room = 100
    mask_id = world.put(labels)
    assert (world.labels(mask_id) == labels).all()
    world.stage({sample_id: mask_id})
    blobs.room = 0
    refused = world.client.post(f"/v1/datasets/{PROJECT}/commits", json={"message": "m"})
    assert refused.status_code == 507
    assert world.dataset("status")["staged"] == 1
    assert world.dataset("branches")["items"] == []
    blobs.room = 100
    assert world.commit()["num_samples"] == 1


def test_another_organisation_has_no_part_in_a_mask(world: World) -> None:
    mask_id = world.put(checkered(40, 40))
    stranger = world.as_("admin", organisation_id="org_other001")
    for path in ("", "/content", "/region?y=0&x=0&height=1&width=1", "/tiles/0/0", "/provenance"):
        assert stranger.get(f"/v1/masks/{PROJECT}/{mask_id}{path}").status_code == 404
