"""Blobs in memory, for tests; passes the same suite as the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_runtime.clock import Clock, SystemClock
from terrazzo_schema.ids import content_hash


class MemoryBlobs:
    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._data: dict[str, bytes] = {}
        self._stored_at: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def put(self, data: bytes) -> str:
        digest = content_hash(data)
        with self._lock:
            self._data[digest] = bytes(data)
            self._stored_at[digest] = self._clock.now()
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self._data[digest]
        except KeyError:
            raise BlobNotFound(digest) from None

    def exists(self, digest: str) -> bool:
        return digest in self._data

    def size(self, digest: str) -> int:
        return len(self.get(digest))

    def start(self, digest: str, num_bytes: int) -> bytes:
        return self.get(digest)[:num_bytes]

    def stored_at(self, digest: str) -> datetime:
        self.get(digest)
        return self._stored_at[digest]

    def touch(self, digest: str) -> None:
        with self._lock:
            self.get(digest)
            self._stored_at[digest] = self._clock.now()

    def delete(self, digest: str, before: datetime) -> bool:
        with self._lock:
            if digest not in self._data or self._stored_at[digest] >= before:
                return False
            del self._data[digest], self._stored_at[digest]
            return True

    def digests(self) -> Iterator[str]:
        return iter(list(self._data))
