"""The same on PostgreSQL: parts are added, moved, collected, verified and counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.handlers.upkeep.repack import Repacker
from terrazzo_masks.formats.label_files import read_label_image, to_png
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_runtime.database import Database
from terrazzo_schema.label_bundle import frame, frames

from .conftest import PROJECT, World
from .test_storage_upkeep import blobby, damage, deps_of, encodings, forget_caches, packs_in, verified


@pytest.fixture
def world(make_world, blobs: MemoryBlobs, postgres_database: Database) -> World:
    return make_world(blobs=blobs, database=postgres_database)


def test_masks_are_stored_repacked_collected_verified_and_committed(world, blobs, clock) -> None:
    samples = [world.sample(seed, height=300, width=300) for seed in range(3)]
    ids = [
        world.put(blobby(seed), source="submission", actor="a", sample_id=sample)
        for seed, sample in enumerate(samples)
    ]
    edited = blobby(0)
    edited[20:30, 20:30] = 3
    ids.append(world.put(edited, source="submission", actor="a", sample_id=samples[0], parent_mask_id=ids[0]))
    world.stage({samples[0]: ids[3], samples[1]: ids[1]})
    world.commit()
    clock.advance(601)
    while Repacker(deps_of(world)).run_once():
        pass
    assert "tile/small" in encodings(world)
    forget_caches(world)
    for mask_id, labels in zip(ids, [blobby(0), blobby(1), blobby(2), edited], strict=True):
        assert (world.labels(mask_id) == labels).all()
    clock.advance(25 * 3_600)
    assert world.client.post("/v1/storage/gc").json()["num_removed"] > 0
    assert verified(world)[1] == []
    stats = world.client.get("/v1/storage/stats").json()
    assert (stats["num_packs"], stats["num_masks"]) == (len(packs_in(blobs)), 4)
    [pack] = packs_in(blobs)
    damage(blobs, pack, -1)
    assert verified(world)[0]["num_damages"] > 0


def test_label_files_named_like_images_are_staged_committed_and_checked_out(world) -> None:
    """Names are JSON, which this database gives in another form than SQLite."""
    world.sample(0, "scene.png", height=30, width=40)
    labels_HW = np.zeros((30, 40), np.uint8)
    labels_HW[5:20, 3:30] = 2
    path = f"/v1/datasets/{PROJECT}/labels"
    report = world.client.post(f"{path}?message=one", content=frame([("scene.png", to_png(labels_HW), ())])).json()
    assert (report["skipped"], report["commit"]["num_changed"]) == ([], 1)
    bundle = world.client.post(f"{path}/checkout", json={"ref": "main"}).content
    files = [(name, read_label_image(data)) for _, found in frames(bundle) for name, data, _ in found]
    assert [name for name, _ in files] == ["scene"]
    assert (files[0][1] == labels_HW).all()
    refused = world.client.post(
        f"{path}?message=none", content=frame([("other.png", to_png(labels_HW), ())])
    ).json()
    assert (refused["commit"], len(refused["skipped"])) == (None, 1)


def test_many_hands_that_store_the_same_parts_at_once_do_not_wait_for_each_other_in_a_ring(world) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (600, 600), dtype=np.uint8)
    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(lambda n: world.put(labels, world.as_("annotator", name=f"ann{n}")), range(12)))
    assert len(ids) == 1
    forget_caches(world)
    assert (world.labels(ids.pop()) == labels).all()
    with world.service.uow.database.read() as connection:
        assert len(connection.execute(tables.masks.select()).all()) == 1


def test_a_stroke_on_a_huge_mask(world) -> None:
    mask = world.client.post(f"/v1/masks/{PROJECT}/blank", json={"height": 100_000, "width": 100_000}).json()
    assert mask["counts"] == {"0": 10**10}
    assert mask["size_bytes"] < 200
