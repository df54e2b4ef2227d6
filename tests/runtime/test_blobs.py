"""The suite of behaviours that every adapter of the blob port passes."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from terrazzo_runtime.adapters.file_blobs import FileBlobs
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_runtime.blobs import BlobNotFound, Blobs
from terrazzo_runtime.clock import FakeClock
from terrazzo_schema.errors import StorageFull
from terrazzo_schema.ids import content_hash


@pytest.fixture(params=["files", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Blobs:
    return FileBlobs(tmp_path / "blobs", clock) if request.param == "files" else MemoryBlobs(clock)


def test_bytes_come_back_under_their_hash(blobs: Blobs) -> None:
    digest = blobs.put(b"terrazzo")
    assert digest == content_hash(b"terrazzo")
    assert blobs.get(digest) == b"terrazzo"
    assert blobs.exists(digest)
    assert blobs.size(digest) == 8


def test_the_same_bytes_are_stored_once(blobs: Blobs) -> None:
    assert blobs.put(b"a") == blobs.put(b"a")
    blobs.put(b"b")
    assert sorted(blobs.digests()) == sorted([content_hash(b"a"), content_hash(b"b")])


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", "short", "A" * 64, "0" * 63 + "/"])
def test_an_unknown_or_hostile_hash_is_not_found(blobs: Blobs, digest: str) -> None:
    assert not blobs.exists(digest)
    with pytest.raises(BlobNotFound):
        blobs.get(digest)
    with pytest.raises(BlobNotFound):
        blobs.size(digest)
    with pytest.raises(BlobNotFound):
        blobs.start(digest, 1)
    with pytest.raises(BlobNotFound):
        blobs.stored_at(digest)
    with pytest.raises(BlobNotFound):
        blobs.touch(digest)
    assert not blobs.delete(digest, before=datetime(2100, 1, 1, tzinfo=UTC))


def test_the_start_of_a_blob_is_read_alone(blobs: Blobs) -> None:
    digest = blobs.put(b"terrazzo")
    assert [blobs.start(digest, n) for n in (0, 4, 8, 100)] == [b"", b"terr", b"terrazzo", b"terrazzo"]


def test_a_blob_that_is_put_again_or_touched_is_young_again(blobs: Blobs, clock: FakeClock) -> None:
    first = clock.now()
    digest = blobs.put(b"a")
    assert blobs.stored_at(digest) == first
    clock.advance(60)
    assert blobs.stored_at(digest) == first
    blobs.put(b"a")
    assert blobs.stored_at(digest) == clock.now()
    clock.advance(60)
    blobs.touch(digest)
    assert blobs.stored_at(digest) == clock.now()


def test_only_a_blob_that_is_old_enough_is_deleted(blobs: Blobs, clock: FakeClock) -> None:
    old, kept = blobs.put(b"old"), blobs.put(b"kept")
    clock.advance(60)
    young = blobs.put(b"young")
    blobs.touch(kept)
    assert [blobs.delete(digest, before=clock.now()) for digest in (old, kept, young, old)] == [
        True,
        False,
        False,
        False,
    ]
    assert sorted(blobs.digests()) == sorted([kept, young])
    assert not blobs.exists(old)
    assert blobs.get(blobs.put(b"old")) == b"old"


def test_a_blob_that_is_put_while_it_is_deleted_is_there_afterwards(blobs: Blobs, clock: FakeClock) -> None:
    data = b"contended"
    with ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            digest = blobs.put(data)
            clock.advance(60)
            before = clock.now()
            put = pool.submit(blobs.put, data)
            removed = [pool.submit(blobs.delete, digest, before) for _ in range(2)]
            assert put.result() == digest
            assert sum(done.result() for done in removed) <= 1
            assert blobs.get(digest) == data


def test_a_full_disk_stores_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FileBlobs(tmp_path)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageFull) as caught:
            blobs.put(b"too much")
    assert caught.value.status == 507
    assert list(blobs.digests()) == []
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [], "no half written file may stay"
    assert blobs.get(blobs.put(b"too much")) == b"too much"


def test_another_disk_error_is_not_taken_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        FileBlobs(tmp_path).put(b"x")
