"""Packs: what a write adds (tiles, manifests, tree nodes) goes into one blob, parts found by digest and offset.

A mask of a megapixel has some twenty parts. As blobs of their own each would cost two disk syncs; as one pack they
cost two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A reader fetches a whole pack for one part of it, so packs stay small enough to be read at once.
PACK_BYTES_MAX = 2**20


@dataclass(frozen=True)
class Part:
    """Where the bytes called `digest` lie: `size_bytes` from `offset` on in the blob `pack`."""

    digest: str
    pack: str
    offset: int
    size_bytes: int


def group(parts: Mapping[str, bytes]) -> list[list[str]]:
    """Digests in packs of at most `PACK_BYTES_MAX` (a larger part is alone), in the order given."""
    packs: list[list[str]] = []
    room = 0
    for digest, data in parts.items():
        if not packs or len(data) > room:
            packs.append([])
            room = PACK_BYTES_MAX
        packs[-1].append(digest)
        room -= len(data)
    return packs
