"""The blob port: bytes by content hash. Written once, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class BlobNotFound(KeyError):
    """No blob has this hash."""


class Blobs(Protocol):
    def put(self, data: bytes) -> str:
        """Store `data` durably and return its hash (BLAKE2b-256, hex). The same bytes are stored once.

        Raises StorageFull when there is no room; nothing is half written then.
        """
        ...

    def get(self, digest: str) -> bytes:
        """The bytes. Raises BlobNotFound."""
        ...

    def exists(self, digest: str) -> bool: ...

    def size(self, digest: str) -> int:
        """Bytes stored under `digest`. Raises BlobNotFound."""
        ...

    def digests(self) -> Iterator[str]:
        """Every stored hash, in no special order."""
        ...
