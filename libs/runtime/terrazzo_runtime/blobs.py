"""The blob port: bytes by content hash. Written once, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol


class BlobNotFound(KeyError):
    """No blob has this hash."""


class Blobs(Protocol):
    def put(self, data: bytes) -> str:
        """Store `data` durably and return its hash (BLAKE2b-256, hex). The same bytes are stored once.

        To put what is there already makes it young again (`stored_at`). Raises StorageFull when there is no room;
        nothing is half written then.
        """
        ...

    def get(self, digest: str) -> bytes:
        """The bytes. Raises BlobNotFound."""
        ...

    def exists(self, digest: str) -> bool: ...

    def size(self, digest: str) -> int:
        """Bytes stored under `digest`. Raises BlobNotFound."""
        ...

    def start(self, digest: str, num_bytes: int) -> bytes:
        """The first `num_bytes` bytes (fewer if there are no more). Raises BlobNotFound."""
        ...

    def stored_at(self, digest: str) -> datetime:
        """When it was last put or touched, in UTC. Raises BlobNotFound."""
        ...

    def touch(self, digest: str) -> None:
        """Make it young again: as if it were put now. Raises BlobNotFound."""
        ...

    def delete(self, digest: str, before: datetime) -> bool:
        """Remove it, unless it was put or touched at `before` or later. Returns whether it was removed.

        The age is looked at and the blob removed in one step: a `put` of the same bytes at the same time either
        keeps it, or stores it anew.
        """
        ...

    def digests(self) -> Iterator[str]:
        """Every stored hash, in no special order."""
        ...
