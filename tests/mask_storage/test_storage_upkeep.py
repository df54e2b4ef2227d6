"""Upkeep: what was stored fast is packed small, what nothing refers to goes in the end, damage is named."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from terrazzo_mask_storage.domain.packs import is_pack, read_pack
from terrazzo_mask_storage.handlers.parts import PackCache
from terrazzo_mask_storage.handlers.upkeep.collect import collect
from terrazzo_mask_storage.handlers.upkeep.repack import Repacker
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs

from .conftest import PROJECT, World, picture_bytes

HOUR_S = 3_600.0


def blobby(seed: int, height: int = 300, width: int = 300) -> np.ndarray:
    """A label map of round regions, some of them small."""
    rng = np.random.default_rng(seed)
    yx = np.mgrid[0:height, 0:width]
    labels = np.zeros((height, width), np.uint8)
    for _ in range(12):
        center, radius = rng.integers(0, (height, width)), rng.integers(5, 60)
        labels[(yx[0] - center[0]) ** 2 + (yx[1] - center[1]) ** 2 < radius**2] = rng.integers(1, 4)
    return labels


@pytest.fixture
def world(make_world, blobs: MemoryBlobs) -> World:
    return make_world(blobs=blobs)


def deps_of(world: World) -> Any:
    return world.service.app.state.deps


def forget_caches(world: World) -> None:
    """What the service holds in memory must not stand in for what is stored."""
    packs = deps_of(world).packs
    packs.__init__(deps_of(world).blobs)


def packs_in(blobs: MemoryBlobs) -> list[str]:
    return [digest for digest in blobs.digests() if is_pack(blobs.start(digest, 5))]


def encodings(world: World) -> dict[str, int]:
    parts = world.client.get("/v1/storage/stats").json()["parts"]
    return {f"{part['kind']}/{part['encoding']}": part["num_parts"] for part in parts}


def verified(world: World) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(report, damages)."""
    answer = world.client.get("/v1/storage/verify")
    assert answer.status_code == 200
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["report"] is not None for line in lines] == [False] * (len(lines) - 1) + [True]
    return lines[-1]["report"], [line["damage"] for line in lines if line["damage"]]


def test_what_was_stored_fast_is_packed_small_once_it_is_old_and_reads_the_same(world, blobs, clock) -> None:
    maps = [blobby(seed) for seed in range(5)]
    ids = [world.put(labels) for labels in maps]
    assert len(packs_in(blobs)) == 5
    fast_tiles = encodings(world)["tile/fast"]
    assert world.service.step() == 0 or encodings(world)["tile/fast"] == fast_tiles
    clock.advance(601)
    while Repacker(deps_of(world)).run_once():
        pass
    stats = world.client.get("/v1/storage/stats").json()
    assert (stats["num_packs"], stats["num_unsettled"]) == (1, 0)
    assert encodings(world).get("tile/small", 0) > fast_tiles // 2
    forget_caches(world)
    for mask_id, labels in zip(ids, maps, strict=True):
        assert (world.labels(mask_id) == labels).all()
    report, damages = verified(world)
    assert (report["num_packs"], report["num_masks"], report["num_parts"]) == (1, 5, 5 + fast_tiles)
    assert damages == []


def test_old_packs_stay_for_the_grace_period_after_repacking_and_then_go(world, blobs, clock) -> None:
    mask_id = world.put(blobby(1))
    [old] = packs_in(blobs)
    clock.advance(30 * HOUR_S)
    Repacker(deps_of(world)).run_once()
    assert set(packs_in(blobs)) > {old}
    assert world.client.post("/v1/storage/gc").json()["num_removed"] == 0
    clock.advance(25 * HOUR_S)
    dry = world.client.post("/v1/storage/gc?dry_run=true").json()
    assert (dry["num_removed"], dry["bytes_removed"]) == (1, blobs.size(old))
    assert blobs.exists(old)
    assert world.client.post("/v1/storage/gc").json() == {**dry, "dry_run": False}
    assert not blobs.exists(old)
    forget_caches(world)
    assert (world.labels(mask_id) == blobby(1)).all()


def test_a_pack_of_a_write_that_crashed_goes_and_images_and_live_packs_stay(world, blobs, clock) -> None:
    from terrazzo_mask_storage.handlers.masks import prepare
    from terrazzo_mask_storage.handlers.projects import ontology_of
    from terrazzo_mask_storage.ports import Scope

    sample_id = world.sample(1, height=300, width=300)
    mask_id = world.put(blobby(1))
    world.stage({sample_id: mask_id})
    commit = world.commit()
    kept = set(blobs.digests())
    scope = Scope("org_test0001", PROJECT)
    with deps_of(world).uow.read() as store:
        ontology = ontology_of(store.project(scope).ontology_json)
    prepare(deps_of(world), scope, blobby(2), ontology)  # and the process dies before the rows
    orphans = set(blobs.digests()) - kept
    assert len(orphans) == 1
    assert collect(deps_of(world)).num_removed == 0, "a write may be under way"
    clock.advance(25 * HOUR_S)
    assert collect(deps_of(world)).num_removed == 1
    assert set(blobs.digests()) == kept
    forget_caches(world)
    assert verified(world)[1] == []
    assert world.dataset("entries", ref=commit["commit_id"])["items"][0]["mask_id"] == mask_id


def test_a_pack_that_is_put_again_just_before_it_would_go_is_kept(world, blobs, clock) -> None:
    from terrazzo_mask_storage.domain.packs import Encoded, write_pack

    data, _ = write_pack([Encoded("ab" * 32, "tree", "raw", None, 0, b"left by a crash")])
    digest = blobs.put(data)
    clock.advance(25 * HOUR_S)
    listed = blobs.digests

    def put_meanwhile():
        found = list(listed())
        yield from found
        blobs.put(data)

    blobs.digests = put_meanwhile
    assert collect(deps_of(world)).num_removed == 0
    assert blobs.exists(digest)


def test_the_worker_collects_in_its_own_time(world, blobs, clock) -> None:
    world.put(blobby(1))
    clock.advance(700)
    world.service.step()
    assert len(packs_in(blobs)) == 2
    clock.advance(25 * HOUR_S)
    world.service.step()
    assert len(packs_in(blobs)) == 1


def test_a_pack_in_which_little_is_left_is_written_anew(world, blobs, clock) -> None:
    from terrazzo_mask_storage.adapters import tables

    mask_id = world.put(blobby(1))
    [pack] = packs_in(blobs)
    # Two packs with the same parts (two writers raced): the rows point to one of them, but for a single part.
    rng = np.random.default_rng(0)
    from terrazzo_mask_storage.domain.packs import Encoded, Pack, Part, write_pack

    waste = [Encoded(f"{n:064x}", "tree", "raw", None, 0, rng.bytes(2_000)) for n in range(20)]
    [live] = [part for part in read_pack(blobs.get(pack)) if part.kind == "node"]
    node = deps_of(world).blobs.get(pack)[live.offset : live.offset + live.size_bytes]
    data, offsets = write_pack([*waste, Encoded(live.digest, "node", live.encoding, None, 0, node)])
    other = blobs.put(data)
    with deps_of(world).uow.begin() as tx:
        old = tx.store.parts("org_test0001", [live.digest])[live.digest]
        new = Part(live.digest, "node", live.encoding, None, 0, other, offsets[-1], live.size_bytes)
        tx.store.move_parts("org_test0001", [Pack(other, len(data), True, clock.now())], [(old, new)])
    clock.advance(25 * HOUR_S)
    report = collect(deps_of(world))
    assert report.num_rewritten == 1
    assert report.bytes_saved > 39_000
    forget_caches(world)
    assert (world.labels(mask_id) == blobby(1)).all()
    with world.service.uow.database.read() as connection:
        assert other not in connection.execute(tables.packs.select()).scalars().all()
    clock.advance(25 * HOUR_S)
    assert collect(deps_of(world)).num_removed == 1
    assert not blobs.exists(other)


class Crash(Exception):
    """The process was killed here."""


class Fuse:
    """Passes calls to the port on until the nth, which kills the process."""

    def __init__(self, blobs: MemoryBlobs, calls: int) -> None:
        self._blobs, self._left = blobs, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._blobs, name)

        def call(*args: Any, **more: Any) -> Any:
            if self._left == 0:
                raise Crash
            self._left -= 1
            return found(*args, **more)

        return call


def test_repacking_that_crashes_at_any_port_call_loses_nothing_and_is_done_again(world, blobs, clock) -> None:
    kept: dict[str, np.ndarray] = {}
    for calls in range(60):
        maps = {world.put(labels): labels for labels in (blobby(1_000 + 2 * calls + n, 90, 80) for n in range(2))}
        kept |= maps
        clock.advance(601)
        fused = Fuse(blobs, calls)
        crashed = True
        with contextlib.suppress(Crash):
            Repacker(replace(deps_of(world), blobs=fused, packs=PackCache(fused))).run_once()
            crashed = False
        forget_caches(world)
        for mask_id, labels in maps.items():
            assert (world.labels(mask_id) == labels).all()
        assert Repacker(deps_of(world)).run_once() == (2 if crashed else 0)
        forget_caches(world)
        for mask_id, labels in maps.items():
            assert (world.labels(mask_id) == labels).all()
        if not crashed:
            assert calls > 5, "the fuse must have burnt at several calls"
            break
    assert not crashed, "repacking never came to its end"
    clock.advance(25 * HOUR_S)
    collect(deps_of(world))
    forget_caches(world)
    assert verified(world)[1] == []
    assert all((world.labels(mask_id) == labels).all() for mask_id, labels in kept.items())
    assert world.client.get("/v1/storage/stats").json()["num_packs"] <= len(packs_in(blobs))


def test_collection_that_crashes_at_any_port_call_loses_nothing_and_is_done_again(world, blobs, clock) -> None:
    kept = {world.put(labels): labels for labels in (blobby(n, 90, 80) for n in range(6))}
    for calls in range(60):
        kept[world.put(blobby(2_000 + calls, 90, 80))] = blobby(2_000 + calls, 90, 80)
        clock.advance(601)
        Repacker(deps_of(world)).run_once()
        clock.advance(25 * HOUR_S)
        fused = Fuse(blobs, calls)
        crashed = True
        with contextlib.suppress(Crash):
            collect(replace(deps_of(world), blobs=fused, packs=PackCache(fused)))
            crashed = False
        collect(deps_of(world))
        if not crashed:
            assert calls > 5, "the fuse must have burnt at several calls"
            break
    assert not crashed, "collection never came to its end"
    forget_caches(world)
    assert all((world.labels(mask_id) == labels).all() for mask_id, labels in kept.items())
    assert verified(world)[1] == []


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_written_repacked_and_collected_in_whatever_order_every_mask_reads_on(
    world, blobs, clock, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    maps: list[tuple[str, np.ndarray]] = [(world.put(blobby(seed, 80, 80)), blobby(seed, 80, 80))]
    for _ in range(60):
        match int(rng.integers(0, 6)):
            case 0:
                labels = blobby(int(rng.integers(0, 10)), 80, 80)
                maps.append((world.put(labels), labels))
            case 1 | 2:
                base, labels = maps[int(rng.integers(0, len(maps)))]
                labels = labels.copy()
                y, x = rng.integers(0, 70, 2)
                labels[y : y + 8, x : x + 8] = rng.integers(0, 4)
                params = {"base": base} if rng.integers(0, 2) else {}
                out = picture_bytes(labels)
                answer = world.client.put(f"/v1/masks/{PROJECT}", params=params, content=out)
                maps.append((answer.json()["mask_id"], labels))
            case 3:
                clock.advance(float(rng.integers(1, 30)) * HOUR_S)
            case 4:
                Repacker(deps_of(world)).run_once()
            case _:
                collect(deps_of(world))
        forget_caches(world)
        mask_id, labels = maps[int(rng.integers(0, len(maps)))]
        assert (world.labels(mask_id) == labels).all()
    assert all((world.labels(mask_id) == labels).all() for mask_id, labels in maps)
    assert verified(world)[1] == []


def damage(blobs: MemoryBlobs, pack: str, at: int) -> None:
    data = bytearray(blobs._data[pack])
    data[at] ^= 0x10
    blobs._data[pack] = bytes(data)


def test_a_flipped_bit_in_a_pack_is_reported_with_the_sample_and_the_place(world, blobs) -> None:
    sample_id = world.sample(1, height=300, width=600)
    other_id = world.sample(2, height=300, width=300)
    labels = np.tile(blobby(1), (1, 2))
    mask_id = world.put(labels, source="submission", actor="a", sample_id=sample_id)
    world.put(blobby(2), source="submission", actor="a", sample_id=other_id)
    world.stage({sample_id: mask_id})
    world.commit()
    assert verified(world)[1] == []
    tile = world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/tiles").json()["items"][2]
    with deps_of(world).uow.read() as store:
        from terrazzo_mask_storage.handlers.parts import reader
        from terrazzo_masks import tiles

        read = reader(store, deps_of(world).packs, "org_test0001")
        digest = list(tiles.tiles_of(tiles.load(mask_id, read), read))[2].digest
        part = store.parts("org_test0001", [digest])[digest]
    damage(blobs, part.pack, part.offset + part.size_bytes // 2)
    report, damages = verified(world)
    assert report["num_damages"] == len(damages) == 2
    pack, found = damages
    assert (pack["kind"], pack["digest"], pack["sample_ids"]) == ("pack", part.pack, [])
    assert (found["kind"], found["digest"], found["pack"]) == ("tile", digest, part.pack)
    assert (found["mask_id"], found["sample_ids"]) == (mask_id, [sample_id])
    assert found["box"] == [tile["y"], tile["x"], tile["height"], tile["width"]]
    forget_caches(world)
    answer = world.as_("admin").get(f"/v1/masks/{PROJECT}/{mask_id}/content")
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (500, "storage-damaged")


def test_a_lost_pack_a_lost_node_and_a_damaged_image_are_reported(world, blobs) -> None:
    sample_id = world.sample(1, height=300, width=300)
    before = set(packs_in(blobs))
    mask_id = world.put(blobby(1), source="submission", actor="a", sample_id=sample_id)
    [mask_pack] = set(packs_in(blobs)) - before
    world.stage({sample_id: mask_id})
    commit = world.commit()
    [tree_pack] = set(packs_in(blobs)) - before - {mask_pack}
    [image] = [digest for digest in blobs.digests() if digest not in packs_in(blobs)]
    del blobs._data[mask_pack]
    damage(blobs, tree_pack, -1)
    damage(blobs, image, 100)
    report, damages = verified(world)
    by_kind = {found["kind"]: found for found in damages if found["kind"] != "pack"}
    assert by_kind["node"]["sample_ids"] == by_kind["image"]["sample_ids"] == [sample_id]
    assert by_kind["node"]["mask_id"] == mask_id
    assert "not there" in by_kind["node"]["reason"]
    assert by_kind["tree"]["commit_ids"] == [commit["commit_id"]]
    assert {found["pack"] for found in damages if found["kind"] == "pack"} == {mask_pack, tree_pack}
    assert report["num_damages"] == len(damages)


def test_only_an_admin_looks_after_the_storage(world) -> None:
    for role in ("manager", "annotator", "viewer", "vendor"):
        client = world.as_(role, name=role)
        assert client.get("/v1/storage/stats").status_code == 403
        assert client.get("/v1/storage/verify").status_code == 403
        assert client.post("/v1/storage/gc").status_code == 403
