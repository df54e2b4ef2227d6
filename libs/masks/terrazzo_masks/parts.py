"""Where nodes and tiles are kept: what the library asks of a store, and one in memory.

Two kinds of parts, each by content address (BLAKE3-256, 64 hex digits):

- a *node* of a manifest, addressed by its bytes: `digest_of(data)`;
- a *tile*, addressed by its pixels: `tile_digest(tile_HW)`. How a store encodes it (fast, small, as a patch
against an
  older tile) changes no digest, and so no mask id.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from terrazzo_masks import codec
from terrazzo_masks.boxes import Box
from terrazzo_masks.errors import MissingPart
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import room

TILE_HEAD = struct.Struct("<4sIIB")
TILE_MAGIC = b"TZT1"
_NARROW, _WIDE = np.dtype(np.uint8), np.dtype("<u2")
CHAIN_MAX = 8
_COPIED_BYTES_MAX = 1 << 17


def digest_of(data: bytes) -> str:
    """BLAKE3-256 of the bytes as 64 lower-case hex digits."""
    from blake3 import blake3

    return blake3(data).hexdigest()


def narrowest(labels_HW: LabelMap) -> LabelMap:
    """The map C-contiguous, little-endian, in the narrowest dtype that holds its ids; itself where it is so."""
    if labels_HW.dtype == _NARROW and labels_HW.flags.c_contiguous:
        return labels_HW
    wide = labels_HW.dtype.itemsize == 2 and labels_HW.max() > 255
    return np.ascontiguousarray(labels_HW, dtype=_WIDE if wide else _NARROW)


def tile_digest(tile_HW: LabelMap) -> str:
    """The address of a tile: the same for the same pixels, whichever dtype or memory order they came in.

    BLAKE3-256 of b"TZT1", height and width (uint32 LE), bytes per pixel (1, or 2 if an id is above 255) and the
    pixels in row-major order, little endian.
    """
    from blake3 import blake3

    pixels_HW = narrowest(tile_HW)
    head = TILE_HEAD.pack(TILE_MAGIC, *pixels_HW.shape, pixels_HW.dtype.itemsize)
    if pixels_HW.nbytes > _COPIED_BYTES_MAX:
        return blake3(head).update(pixels_HW.view(np.uint8).data).hexdigest()
    # Hashed in one piece: behind a head of 13 bytes no chunk of the hash begins where one of the pixels does.
    whole = room("digest", len(head) + pixels_HW.nbytes, np.uint8)
    whole[: len(head)] = np.frombuffer(head, np.uint8)
    whole[len(head) :] = pixels_HW.view(np.uint8).reshape(-1)
    return blake3(whole.data).hexdigest()


class Parts(Protocol):
    """A store of nodes and tiles. Reading an unknown digest raises `MissingPart`, or the store's own error."""

    def node(self, digest: str) -> bytes:
        """The bytes of a node."""

    def tile(self, digest: str) -> LabelMap:
        """The pixels of a tile, decoded, in their narrowest dtype. The caller does not write to them."""

    def put_node(self, data: bytes, base: str | None = None) -> str:
        """Keep a node; returns `digest_of(data)`. `base` is the node that it replaces: the two are much alike."""

    def put_tile(
        self, tile_HW: LabelMap, base: str | None = None, digest: str | None = None, box: Box | None = None
    ) -> str:
        """Keep a tile; returns `tile_digest(tile_HW)`, which is `digest` where that is known already.

        `base` is the tile of the same size that it replaces: a store may keep the difference alone. `box`, where
        it is known, is the smallest that holds all that differs from it.
        """

    def prefetch(self, digests: Iterable[str]) -> None:
        """A hint: these nodes or tiles will be asked for."""


class _Kept(NamedTuple):
    """A part as it is kept: whole, or as a patch on `base`, `depth` patches away from one that is whole."""

    data: bytes
    base: str | None = None
    depth: int = 0


class MemoryParts:
    """`Parts` in dictionaries, for tests, tools and small jobs.

    Tiles are kept encoded in `profile`; nodes and tiles that replace others as patches, where that is smaller and
    no more than `CHAIN_MAX` patches then lie on each other. The last `num_decoded` tiles are at hand decoded.
    `num_bytes` is what is kept; `num_node_reads`, `num_tile_reads` and `num_puts` count the calls.
    """

    def __init__(self, profile: codec.Profile = "fast", num_decoded: int = 8) -> None:
        self._profile = profile
        self._num_decoded = num_decoded
        self._nodes: dict[str, _Kept] = {}
        self._tiles: dict[str, _Kept] = {}
        self._decoded: dict[str, LabelMap] = {}
        self.num_bytes = 0
        self.num_node_reads = 0
        self.num_tile_reads = 0
        self.num_puts = 0

    def node(self, digest: str) -> bytes:
        self.num_node_reads += 1
        return self._node(digest)

    def tile(self, digest: str) -> LabelMap:
        self.num_tile_reads += 1
        return self._tile(digest)

    def put_node(self, data: bytes, base: str | None = None) -> str:
        self.num_puts += 1
        digest = digest_of(data)
        if digest in self._nodes:
            return digest
        base = _base_of(self._nodes, base)
        patch = None if base is None else _patched(data, self._node(base))
        self._keep(self._nodes, digest, base, patch, lambda: data)
        return digest

    def put_tile(
        self, tile_HW: LabelMap, base: str | None = None, digest: str | None = None, box: Box | None = None
    ) -> str:
        self.num_puts += 1
        digest = digest or tile_digest(tile_HW)
        if digest in self._tiles:
            return digest
        named, base = base, _base_of(self._tiles, base)
        pixels_HW = narrowest(tile_HW)
        if base != named:
            box = None
        patch = None if base is None else codec.encode_patch(pixels_HW, self._tile(base), box)
        self._keep(self._tiles, digest, base, patch, lambda: codec.encode(pixels_HW, self._profile))
        return digest

    def prefetch(self, digests: Iterable[str]) -> None:
        """Nothing is quicker than memory."""

    def _node(self, digest: str) -> bytes:
        kept = _found(self._nodes, digest)
        return kept.data if kept.base is None else _unpatched(kept.data, self._node(kept.base))

    def _tile(self, digest: str) -> LabelMap:
        """The decoded tile, read-only; the last few are at hand, as strokes fall on the same tiles."""
        tile_HW = self._decoded.pop(digest, None)
        if tile_HW is None:
            kept = _found(self._tiles, digest)
            if kept.base is None:
                tile_HW = codec.decode(kept.data)
            else:
                tile_HW = codec.decode_patch(kept.data, self._tile(kept.base))
            tile_HW.flags.writeable = False
        self._decoded[digest] = tile_HW
        if len(self._decoded) > self._num_decoded:
            del self._decoded[next(iter(self._decoded))]
        return tile_HW

    def _keep(
        self,
        into: dict[str, _Kept],
        digest: str,
        base: str | None,
        patch: bytes | None,
        whole: Callable[[], bytes],
    ) -> None:
        """Keep the smaller of the two; a patch that is tiny beside its base is not compared."""
        if base is not None and patch is not None:
            tiny = 4 * len(patch) <= len(into[_first_of(into, base)].data)
            if tiny or len(patch) < len(whole()):
                into[digest] = _Kept(patch, base, into[base].depth + 1)
        if digest not in into:
            into[digest] = _Kept(whole())
        self.num_bytes += len(into[digest].data)


def _found(kept: Mapping[str, _Kept], digest: str) -> _Kept:
    try:
        return kept[digest]
    except KeyError:
        raise MissingPart(f"no part {digest!r} in this store") from None


def _base_of(kept: Mapping[str, _Kept], base: str | None) -> str | None:
    """What a part that replaces `base` may be patched on: `base`, or the first of its chain when that is long."""
    if base is None or base not in kept:
        return None
    return base if kept[base].depth < CHAIN_MAX else _first_of(kept, base)


def _first_of(kept: Mapping[str, _Kept], digest: str) -> str:
    """The part that is kept whole, of the chain of patches to which this one belongs."""
    while (base := kept[digest].base) is not None:
        digest = base
    return digest


def _patched(data: bytes, base: bytes) -> bytes:
    """`data` as a zstd frame that takes `base` as its dictionary."""
    import zstandard

    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(level=3, dict_data=dictionary).compress(data)


def _unpatched(frame: bytes, base: bytes) -> bytes:
    import zstandard

    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdDecompressor(dict_data=dictionary).decompress(frame)
