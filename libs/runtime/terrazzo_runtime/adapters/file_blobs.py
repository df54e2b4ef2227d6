"""Blobs as files, two levels deep by hash; written beside, fsynced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_runtime.clock import Clock, SystemClock
from terrazzo_schema.errors import StorageFull
from terrazzo_schema.ids import content_hash

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_HASH = re.compile(r"^[0-9a-f]{64}$")


class FileBlobs:
    """The embedded blob store. A reader never sees half a blob; a crash leaves at most a temporary file.

    A blob's age is its file's modification time. Who makes a blob young again holds the folder's lock shared, who
    deletes one holds it alone: none is deleted that was just found to be there.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self._root = root
        self._clock = clock or SystemClock()
        root.mkdir(parents=True, exist_ok=True)

    def _path(self, digest: str) -> Path:
        if not _HASH.match(digest):  # a digest may come from a client: never let it be a path
            raise BlobNotFound(digest)
        return self._root / digest[:2] / digest[2:4] / digest

    def put(self, data: bytes) -> str:
        digest = content_hash(data)
        path = self._path(digest)
        if path.exists():
            with contextlib.suppress(BlobNotFound):  # deleted since: stored anew
                self.touch(digest)
                return digest
        temporary: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                self._set_age(file.fileno())
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _fsync_folder(path.parent)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
            if error.errno in _FULL:
                raise StorageFull(
                    f"no room for {len(data)} bytes", remedy="free space in the data folder, then send it again"
                ) from error
            raise
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            raise BlobNotFound(digest) from None

    def exists(self, digest: str) -> bool:
        return bool(_HASH.match(digest)) and self._path(digest).exists()

    def size(self, digest: str) -> int:
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            raise BlobNotFound(digest) from None

    def start(self, digest: str, num_bytes: int) -> bytes:
        try:
            with self._path(digest).open("rb") as file:
                return file.read(num_bytes)
        except FileNotFoundError:
            raise BlobNotFound(digest) from None

    def stored_at(self, digest: str) -> datetime:
        try:
            return datetime.fromtimestamp(self._path(digest).stat().st_mtime, UTC)
        except FileNotFoundError:
            raise BlobNotFound(digest) from None

    def touch(self, digest: str) -> None:
        with self._locked(fcntl.LOCK_SH):
            try:
                self._set_age(self._path(digest))
            except FileNotFoundError:
                raise BlobNotFound(digest) from None

    def delete(self, digest: str, before: datetime) -> bool:
        with self._locked(fcntl.LOCK_EX):
            try:
                if self.stored_at(digest) >= before:
                    return False
                self._path(digest).unlink()
            except (BlobNotFound, FileNotFoundError):
                return False
        return True

    def _set_age(self, file: Path | int) -> None:
        seconds = self._clock.now().timestamp()
        os.utime(file, (seconds, seconds))

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        handle = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def digests(self) -> Iterator[str]:
        for path in self._root.glob("??/??/*"):
            if _HASH.match(path.name):
                yield path.name


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
