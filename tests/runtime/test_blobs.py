"""The suite of behaviours that every adapter of the blob port passes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from terrazzo_runtime.adapters.file_blobs import FileBlobs
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_runtime.blobs import BlobNotFound, Blobs
from terrazzo_schema.errors import StorageFull
from terrazzo_schema.ids import content_hash


@pytest.fixture(params=["files", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return FileBlobs(tmp_path / "blobs") if request.param == "files" else MemoryBlobs()


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
