"""Blobs in memory, for tests; passes the same suite as the others."""

from __future__ import annotations

from collections.abc import Iterator

from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_schema.ids import content_hash


class MemoryBlobs:
    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = content_hash(data)
        self._data[digest] = bytes(data)
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

    def digests(self) -> Iterator[str]:
        return iter(list(self._data))
