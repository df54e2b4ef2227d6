"""Parts in and out: nodes, tiles and other small pieces by digest, stored several to a blob (see domain/packs.py).

`PartsReader` and `NewParts` are what the library's `Parts` asks for: one reads, the other reads and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from terrazzo_mask_storage.domain.encodings import SMALL_BYTES_MAX, DamagedData, compress, decompress
from terrazzo_mask_storage.domain.packs import (
    FULL_BYTES_MIN,
    PATCHES,
    Encoded,
    Encoding,
    Kind,
    Pack,
    Part,
    group,
    placed,
    write_pack,
)
from terrazzo_mask_storage.handlers.caches import PackCache
from terrazzo_mask_storage.ports import Store
from terrazzo_masks import codec
from terrazzo_masks.boxes import Box
from terrazzo_masks.errors import MaskError
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.parts import digest_of, tile_digest
from terrazzo_runtime.blobs import BlobNotFound, Blobs
from terrazzo_schema.errors import StorageDamaged

__all__ = ["DEPTH_MAX", "NewParts", "PackCache", "PartsReader", "reader"]

T = TypeVar("T")
# How many patches may lie on each other: a read then decodes at most that many and one whole part.
DEPTH_MAX = 8
# New tiles wait as pixels until so many bytes are together; then they are looked up and encoded in one go.
PIXEL_BYTES_MAX = 32 * 2**20
# A reader that meets a longer chain goes in a circle.
_CHAIN_MAX = 8 * DEPTH_MAX
# A patch under this share of its base's whole form is taken without encoding the tile whole.
_GOOD_SHARE = 0.3


class PartsReader:
    """The reading side of the library's `Parts`. Calling it returns a part's bytes, as `node` does.

    Rows are looked up in batches: name what will be asked for in `prefetch`. Raises StorageDamaged for a part that
    is not there, can't be unpacked or is not what its digest says.
    """

    def __init__(self, store: Store, packs: PackCache, organisation_id: str, ahead: Iterable[str] = ()) -> None:
        self._store = store
        self._packs = packs
        self._organisation_id = organisation_id
        self._rows: dict[str, Part] = {}
        self.prefetch(ahead)

    def prefetch(self, digests: Iterable[str]) -> None:
        """Locate parts that will be read, unless they are nodes that are at hand."""
        at_hand, mine = self._packs.nodes, self._organisation_id
        self.locate(digest for digest in digests if (mine, digest) not in at_hand)

    def locate(self, digests: Iterable[str]) -> None:
        """Find out where parts lie in one query, and in a second what their patches lie on."""
        wanted = {digest for digest in digests if digest not in self._rows}
        if wanted:
            found = self._store.parts(self._organisation_id, wanted)
            self._rows.update(found)
            bases = {p.base for p in found.values() if p.base is not None and p.base not in self._rows}
            if bases:
                self._rows.update(self._store.part_chains(self._organisation_id, bases))

    def parts(self, digests: Iterable[str]) -> dict[str, Part]:
        """Where those of `digests` that are stored lie."""
        asked = list(digests)
        self.locate(asked)
        return {digest: self._rows[digest] for digest in asked if digest in self._rows}

    def row(self, digest: str) -> Part | None:
        """Where a part lies, None if it is not stored."""
        found = self._rows.get(digest)
        if found is None:
            self.locate([digest])
            found = self._rows.get(digest)
        return found

    def part(self, digest: str) -> Part:
        part = self.row(digest)
        if part is None:
            raise StorageDamaged(f"the part {digest} is named, but not stored", field="digest", value=digest)
        return part

    def __call__(self, digest: str) -> bytes:
        return self.node(digest)

    def node(self, digest: str) -> bytes:
        """The bytes of a node or of any other part that is no tile."""
        key = (self._organisation_id, digest)
        data = self._packs.nodes.get(key)
        if data is None:
            chain, base = self._chain_of(digest)
            try:
                data = self._laid(chain, base)
            except StorageDamaged:
                data = self._laid(chain, base, sure=True)
            if digest_of(data) != digest:
                data = self._laid(chain, base, sure=True)
            self._packs.nodes.put(key, data, len(data))
        return data

    def tile(self, digest: str, *, keep: bool = True) -> LabelMap:
        """The pixels (H, W) of a tile in their narrowest dtype, not to be written to; `keep` them for others."""
        key = (self._organisation_id, digest)
        tile_HW = self._packs.tiles.get(key)
        if tile_HW is None:
            part = self.part(digest)
            tile_HW = self._checked(part, partial(self._decoded, part, keep))
            if keep:
                self._packs.tiles.put(key, tile_HW, tile_HW.nbytes)
        return tile_HW

    def put_node(self, data: bytes, base: str | None = None) -> str:
        raise AssertionError("this reader writes nothing: use NewParts")

    def put_tile(
        self, tile_HW: LabelMap, base: str | None = None, digest: str | None = None, box: Box | None = None
    ) -> str:
        raise AssertionError("this reader writes nothing: use NewParts")

    def stored(self, part: Part) -> bytes:
        """The bytes of a part as they lie in their pack. Raises StorageDamaged."""
        try:
            data = self._packs.read(part.pack)
        except BlobNotFound:
            raise _damaged(part, "the pack is not there") from None
        if part.offset + part.size_bytes > len(data):
            raise _damaged(part, f"the pack ends after {len(data)} bytes")
        return data[part.offset : part.offset + part.size_bytes]

    def _chain_of(self, digest: str) -> tuple[list[Part], bytes | None]:
        """A part, what it is a patch on, and so on to one that is whole, or whose base is at hand: its bytes."""
        chain = [self.part(digest)]
        while (base := chain[-1].base) is not None:
            data = self._packs.nodes.get((self._organisation_id, base))
            if data is not None:
                return chain, data
            chain.append(self.part(base))
            if len(chain) > _CHAIN_MAX:
                raise _damaged(chain[0], f"more than {_CHAIN_MAX} patches lie on each other")
        return chain, None

    def _laid(self, chain: list[Part], base: bytes | None, *, sure: bool = False) -> bytes:
        """The bytes of the first of a chain. Those between are not checked: a wrong byte there is one here too.

        Unless it is to be found out which of them is damaged: `sure`. Raises StorageDamaged.
        """
        data = base
        for part in reversed(chain):
            data = self._checked(part, partial(decompress, part.encoding, self.stored(part), data))
            if sure and digest_of(data) != part.digest:
                raise _damaged(part, f"its bytes have the digest {digest_of(data)}")
        assert data is not None
        return data

    def _decoded(self, part: Part, keep: bool) -> LabelMap:
        data = self.stored(part)
        if part.base is None:
            return codec.decode(data)
        return codec.decode_patch(data, self.tile(part.base, keep=keep))

    def _checked(self, part: Part, read: Callable[[], T]) -> T:
        try:
            return read()
        except (DamagedData, MaskError) as error:
            raise _damaged(part, str(error)) from error


def _damaged(part: Part, reason: str) -> StorageDamaged:
    return StorageDamaged(
        f"the {part.kind} {part.digest} (pack {part.pack}, byte {part.offset}) is damaged: {reason}",
        field="digest",
        value=part.digest,
        remedy="`terrazzo storage verify` names the samples that need it; restore the pack from a backup",
    )


def reader(store: Store, packs: PackCache, organisation_id: str, ahead: Iterable[str] = ()) -> PartsReader:
    """A reader of an organisation's parts. The parts named in `ahead` are located in one query."""
    return PartsReader(store, packs, organisation_id, ahead)


@dataclass(slots=True)
class _Pending:
    """A part that was put: its bytes or its pixels, and the part that it replaces; or `encoded` already."""

    kind: Kind
    data: bytes
    tile_HW: LabelMap | None
    base: str | None
    box: Box | None = None
    encoded: Encoded | None = None


class NewParts:
    """Collects parts, then stores those that are new: blobs first, and their rows in a transaction.

    `put` -> `write_blobs` (outside the transaction where there is a choice) -> `add_rows`. Given a reader, a part
    may be stored as a patch on the one it replaces (`base`), where that is smaller; and this is a whole `Parts`.
    """

    def __init__(self, read: PartsReader | None = None) -> None:
        self._read = read
        self._pending: dict[str, _Pending] = {}
        self._pending_pixel_bytes = 0
        self._new: dict[str, Encoded] = {}
        self._known: dict[str, Part] = {}
        self._packs: list[Pack] = []
        self._rows: list[Part] = []
        self._tiles: dict[str, LabelMap] = {}
        self._last_read: tuple[str, LabelMap] | None = None
        self.keeps_tiles = True  # whether tiles that are read go into the cache
        # (digest, base) of every put, in order: what each of several masks put is told apart by it.
        self.log: list[tuple[str, str | None]] = []
        self._first_put: dict[str, int] = {}

    # writing

    def put(self, data: bytes, base: str | None = None, kind: Kind = "tree") -> str:
        """Keep bytes under their digest. `base` is the part that they replace: the two are much alike."""
        digest = digest_of(data)
        self._take(digest, base, kind, data, None)
        return digest

    def put_node(self, data: bytes, base: str | None = None) -> str:
        return self.put(data, base, "node")

    def put_tile(
        self, tile_HW: LabelMap, base: str | None = None, digest: str | None = None, box: Box | None = None
    ) -> str:
        digest = digest or tile_digest(tile_HW)
        if self._take(digest, base, "tile", b"", tile_HW):
            pending = self._pending[digest]
            pending.box = box
            if self._last_read is not None and self._last_read[0] == base:
                # Both are at hand, most likely even in the processor's cache: neither needs to wait.
                pending.encoded, pending.tile_HW = self._encoded(digest, pending), None
                self._tiles.clear()
                return digest
            self._pending_pixel_bytes += tile_HW.nbytes
            if self._pending_pixel_bytes > PIXEL_BYTES_MAX and self._read is not None:
                self._encode(self._read.parts)
        return digest

    def _take(self, digest: str, base: str | None, kind: Kind, data: bytes, tile_HW: LabelMap | None) -> bool:
        self._first_put.setdefault(digest, len(self.log))
        self.log.append((digest, base))
        if digest in self._pending or digest in self._new or digest in self._known:
            return False
        if tile_HW is None and len(data) <= SMALL_BYTES_MAX:
            base = None
        self._pending[digest] = _Pending(kind, data, tile_HW, base)
        return True

    def forget(self, mark: int) -> None:
        """Take back what was put since the log had `mark` lines (a mask that was refused)."""
        for digest, _ in self.log[mark:]:
            if self._first_put.get(digest, -1) >= mark:
                del self._first_put[digest]
                self._pending.pop(digest, None)
                self._new.pop(digest, None)
        del self.log[mark:]

    # reading, so that a mask can be painted on twice before it is stored

    def node(self, digest: str) -> bytes:
        pending = self._pending.get(digest)
        if pending is not None:
            return pending.data
        new = self._new.get(digest)
        if new is not None:
            return decompress(new.encoding, new.data, None if new.base is None else self.node(new.base))
        return self._reader().node(digest)

    def tile(self, digest: str) -> LabelMap:
        if self._last_read is not None and self._last_read[0] == digest:
            return self._last_read[1]
        pending = self._pending.get(digest)
        if pending is not None and pending.tile_HW is not None:
            return pending.tile_HW
        new = self._new.get(digest) if pending is None else pending.encoded
        if new is not None:
            if new.base is not None:
                return codec.decode_patch(new.data, self.tile(new.base))
            return codec.decode(new.data)
        tile_HW = self._reader().tile(digest, keep=self.keeps_tiles)
        self._last_read = (digest, tile_HW)
        return tile_HW

    def prefetch(self, digests: Iterable[str]) -> None:
        if self._read is not None:
            mine = (self._pending, self._new)
            self._read.prefetch(d for d in digests if not any(d in parts for parts in mine))

    def locate(self, digests: Iterable[str]) -> None:
        """What is stored already of these will be read, and replaced."""
        self._reader().locate(digests)

    def _reader(self) -> PartsReader:
        assert self._read is not None, "a base was named that this was given no reader for"
        return self._read

    # storing

    def write_blobs(self, store: Store, blobs: Blobs, organisation_id: str) -> int:
        """Store what `store` does not know yet. Returns how many bytes that was. Raises StorageFull."""
        self._encode(lambda digests: store.parts(organisation_id, digests))
        waiting = list(self._new.values())[len(self._rows) :]
        num_bytes = 0
        for parts in group(waiting):
            data, offsets = write_pack(parts)
            pack = blobs.put(data)
            settled = len(data) >= FULL_BYTES_MIN and not any(part.encoding == "fast" for part in parts)
            self._packs.append(Pack(pack, len(data), settled, blobs.stored_at(pack)))
            for part, offset in zip(parts, offsets, strict=True):
                self._rows.append(placed(part, pack, offset))
            num_bytes += sum(len(part.data) for part in parts)
        return num_bytes

    def add_rows(self, store: Store, organisation_id: str) -> None:
        store.add_parts(organisation_id, self._packs, self._rows)

    def sizes(self, mark: int = 0, end: int | None = None) -> tuple[int, int]:
        """(bytes of the parts put between two lines of the log less those that they replace, bytes new here).

        After `write_blobs`. A part that was stored before counts in the first number alone.
        """
        lines = self.log[mark:end]
        mine = {digest for digest, _ in lines}
        held = fresh = 0
        for digest in mine:
            size_bytes = self._size_of(digest)
            held += size_bytes
            if digest in self._new and self._first_put[digest] >= mark:
                fresh += size_bytes
        for base in {base for _, base in lines if base is not None and base not in mine}:
            held -= self._size_of(base)
        return held, fresh

    def _size_of(self, digest: str) -> int:
        found = self._stored(digest)
        if isinstance(found, Encoded):
            return len(found.data)
        return 0 if found is None else found.size_bytes

    # encoding

    def _encode(self, known: Callable[[Iterable[str]], Mapping[str, Part]]) -> None:
        """Look all that waits up in one query, and encode what is new."""
        found = known(self._pending)
        if self._read is not None:
            bases = {pending.base for pending in self._pending.values() if pending.base is not None}
            self._read.locate(bases - self._pending.keys() - self._new.keys())
        while self._pending:
            digest = next(iter(self._pending))
            if digest in found:
                self._known[digest] = found[digest]
                del self._pending[digest]
                continue
            pending = self._pending.pop(digest)
            self._new[digest] = pending.encoded or self._encoded(digest, pending)
        self._pending_pixel_bytes = 0
        self._tiles.clear()

    def _encoded(self, digest: str, pending: _Pending) -> Encoded:
        base, depth = self._base_of(pending.base, pending.kind)
        encoding: Encoding
        if pending.tile_HW is None:
            encoding, data = compress(pending.data, None if base is None else self.node(base))
        else:
            box = pending.box if base == pending.base else None
            encoding, data = self._packed_tile(pending.tile_HW, base, box)
            self._tiles[digest] = pending.tile_HW
        if encoding not in PATCHES:
            base, depth = None, 0
        return Encoded(digest, pending.kind, encoding, base, depth, data)

    def _packed_tile(self, tile_HW: LabelMap, base: str | None, box: Box | None) -> tuple[Encoding, bytes]:
        if base is None:
            return "fast", codec.encode(tile_HW, "fast")
        base_HW = self._tiles[base] if base in self._tiles else self.tile(base)
        if base_HW.shape != tile_HW.shape:
            return "fast", codec.encode(tile_HW, "fast")
        patch = codec.encode_patch(tile_HW, base_HW, box)
        if len(patch) < _GOOD_SHARE * self._whole_size(base):
            return "patch", patch
        whole = codec.encode(tile_HW, "fast")
        return ("patch", patch) if len(patch) < len(whole) else ("fast", whole)

    def _base_of(self, base: str | None, kind: Kind) -> tuple[str | None, int]:
        """(what to lay a patch on, its depth): the replaced part, or the whole part at the end of a full chain."""
        if base is None:
            return None, 0
        found = self._stored(base)
        if found is None or (found.kind == "tile") != (kind == "tile"):
            return None, 0
        if found.depth < DEPTH_MAX:
            return base, found.depth + 1
        while found is not None and found.base is not None:
            base, found = found.base, self._stored(found.base)
        return (base, 1) if found is not None else (None, 0)

    def _stored(self, digest: str) -> Encoded | Part | None:
        """A part that a patch may lie on: stored already, or just before in this very write."""
        mine = self._new.get(digest) or self._known.get(digest)
        if mine is not None:
            return mine
        return None if self._read is None else self._read.row(digest)

    def _whole_size(self, digest: str) -> int:
        """Encoded size of the whole part at the end of a chain of patches."""
        found = self._stored(digest)
        while found is not None and found.base is not None:
            found = self._stored(found.base)
        if found is None:
            return 0
        return len(found.data) if isinstance(found, Encoded) else found.size_bytes
