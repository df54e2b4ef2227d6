"""Where nodes and tiles are kept: what the library asks of a store, and one in memory.

Two kinds of parts, each by content address (BLAKE3-256, 64 hex digits):

- a *node* of a manifest, addressed by its bytes: `digest_of(data)`;
- a *tile*, addressed by its pixels: `tile_digest(tile_HW)`. How a store encodes it (fast, small, as a patch
against an
  older tile) changes no digest, and so no mask id.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from terrazzo_masks import codec
from terrazzo_masks.errors import MissingPart
from terrazzo_masks.labels import LabelMap

TILE_HEAD = struct.Struct("<4sIIB")
TILE_MAGIC = b"TZT1"


def digest_of(data: bytes) -> str:
    """BLAKE3-256 of the bytes as 64 lower-case hex digits."""
    from blake3 import blake3

    return blake3(data).hexdigest()


def narrowest(labels_HW: LabelMap) -> LabelMap:
    """The map C-contiguous, little-endian, in the narrowest dtype that holds its ids; itself where it is so."""
    wide = labels_HW.dtype.itemsize == 2 and labels_HW.max() > 255
    return np.ascontiguousarray(labels_HW, dtype=np.dtype("<u2") if wide else np.dtype(np.uint8))


def tile_digest(tile_HW: LabelMap) -> str:
    """The address of a tile: the same for the same pixels, whichever dtype or memory order they came in.

    BLAKE3-256 of b"TZT1", height and width (uint32 LE), bytes per pixel (1, or 2 if an id is above 255) and the
    pixels in row-major order, little endian.
    """
    from blake3 import blake3

    pixels_HW = narrowest(tile_HW)
    hasher = blake3(TILE_HEAD.pack(TILE_MAGIC, *pixels_HW.shape, pixels_HW.dtype.itemsize))
    return hasher.update(pixels_HW.view(np.uint8).data).hexdigest()


class Parts(Protocol):
    """A store of nodes and tiles. Reading an unknown digest raises `MissingPart`, or the store's own error."""

    def node(self, digest: str) -> bytes:
        """The bytes of a node."""

    def tile(self, digest: str) -> LabelMap:
        """The pixels of a tile, decoded, in their narrowest dtype. The caller does not write to them."""

    def put_node(self, data: bytes, base: str | None = None) -> str:
        """Keep a node; returns `digest_of(data)`. `base` is the node that it replaces: the two are much alike."""

    def put_tile(self, tile_HW: LabelMap, base: str | None = None) -> str:
        """Keep a tile; returns `tile_digest(tile_HW)`.

        `base` is the tile of the same size that it replaces: a store may keep the difference alone.
        """

    def prefetch(self, digests: Iterable[str]) -> None:
        """A hint: these nodes or tiles will be asked for."""


class MemoryParts:
    """`Parts` in dictionaries: tiles are kept encoded, in `profile`. For tests, tools and small jobs.

    `num_bytes` is what is kept; `num_node_reads`, `num_tile_reads` and `num_puts` count the calls.
    """

    def __init__(self, profile: codec.Profile = "fast") -> None:
        self._profile = profile
        self._nodes: dict[str, bytes] = {}
        self._tiles: dict[str, bytes] = {}
        self.num_bytes = 0
        self.num_node_reads = 0
        self.num_tile_reads = 0
        self.num_puts = 0

    def node(self, digest: str) -> bytes:
        self.num_node_reads += 1
        return self._found(self._nodes, digest)

    def tile(self, digest: str) -> LabelMap:
        self.num_tile_reads += 1
        return codec.decode(self._found(self._tiles, digest))

    def put_node(self, data: bytes, base: str | None = None) -> str:
        self.num_puts += 1
        digest = digest_of(data)
        if digest not in self._nodes:
            self._nodes[digest] = data
            self.num_bytes += len(data)
        return digest

    def put_tile(self, tile_HW: LabelMap, base: str | None = None) -> str:
        self.num_puts += 1
        digest = tile_digest(tile_HW)
        if digest not in self._tiles:
            self._tiles[digest] = codec.encode(narrowest(tile_HW), self._profile)
            self.num_bytes += len(self._tiles[digest])
        return digest

    def prefetch(self, digests: Iterable[str]) -> None:
        """Nothing is quicker than memory."""

    @staticmethod
    def _found(kept: Mapping[str, bytes], digest: str) -> bytes:
        try:
            return kept[digest]
        except KeyError:
            raise MissingPart(f"no part {digest!r} in this store") from None
