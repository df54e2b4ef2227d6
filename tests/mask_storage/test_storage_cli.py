"""`terrazzo storage`: what it prints, and its exit code."""

from __future__ import annotations

import json

import pytest

from terrazzo.cli import storage
from terrazzo.cli.main import run
from terrazzo_client import TerrazzoClient
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs

from .conftest import World
from .test_storage_upkeep import blobby, damage, packs_in


@pytest.fixture
def world(make_world, blobs: MemoryBlobs, key_of, monkeypatch: pytest.MonkeyPatch) -> World:
    world = make_world(blobs=blobs)
    monkeypatch.setattr(storage, "connect", lambda *_: client_of(world, key_of("admin")))
    return world


def client_of(world: World, key: str) -> TerrazzoClient:
    return TerrazzoClient("http://testserver", key, transport=world.client._transport)


def test_a_sound_store_is_said_to_be_sound(world: World, capsys) -> None:
    world.put(blobby(1))
    assert run(["storage", "verify"]) == 0
    assert "1 packs with" in (out := capsys.readouterr().out)
    assert out.strip().endswith("all sound")


def test_damage_is_told_by_sample_and_the_exit_code_says_so(world: World, blobs: MemoryBlobs, capsys) -> None:
    sample_id = world.sample(1, height=300, width=300)
    mask_id = world.put(blobby(1), source="submission", actor="a", sample_id=sample_id)
    [pack] = packs_in(blobs)
    del blobs._data[pack]
    assert run(["storage", "verify"]) == 1
    out = capsys.readouterr().out
    assert f"sample {sample_id}, mask {mask_id}: node {mask_id} in pack {pack}" in out
    assert run(["storage", "verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["report"]["num_damages"] == len(found["damages"]) > 0
    assert {sample for damage in found["damages"] for sample in damage["sample_ids"]} == {sample_id}


def test_a_damaged_tile_is_told_with_its_rows_and_columns(world: World, blobs: MemoryBlobs, capsys) -> None:
    sample_id = world.sample(1, height=300, width=300)
    world.put(blobby(1), source="submission", actor="a", sample_id=sample_id)
    [pack] = packs_in(blobs)
    damage(blobs, pack, len(blobs.get(pack)) // 2)
    assert run(["storage", "verify"]) == 1
    assert f"sample {sample_id}, mask" in (out := capsys.readouterr().out)
    assert ", rows " in out
    assert ", columns " in out


def test_gc_and_stats_say_what_there_is_and_what_went(world: World, blobs: MemoryBlobs, clock, capsys) -> None:
    world.put(blobby(1))
    clock.advance(700)
    world.service.step()
    clock.advance(25 * 3_600)
    assert run(["storage", "gc", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("1 packs (0.00 MiB) would be removed")
    assert run(["storage", "gc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_removed"] == 1
    assert run(["storage", "stats"]) == 0
    assert "1 masks and 0 versions in 1 packs" in capsys.readouterr().out
