"""Packs: what a write adds (tiles, nodes) goes into few blobs, parts found by digest and offset.

A mask of a megapixel has some twenty parts. As blobs of their own each would cost two disk syncs; as one pack they
cost two together. The bytes of a pack are described in docs/storage-format.md:

    b"TZPK" version(2) number of parts u32 LE | per part: code(1) size(varint) [digest(32)] [base(32)] | parts

A pack says itself what is in it, so that it can be told from an image, checked, and re-packed without a search in
the database. Of a part that lies there as it is (`raw`) its bytes say the digest. Version 1, which told every
digest and began with it, is read too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from terrazzo_masks.parts import digest_of

Kind = Literal["tile", "node", "tree", "data"]
Encoding = Literal["raw", "zstd", "zstd_patch", "fast", "small", "patch", "splice"]
KINDS: tuple[Kind, ...] = ("tile", "node", "tree", "data")
ENCODINGS: tuple[Encoding, ...] = ("raw", "zstd", "zstd_patch", "fast", "small", "patch", "splice")
PATCHES = frozenset({"zstd_patch", "patch", "splice"})

# A reader fetches a whole pack for one part of it, so packs stay small enough to be read at once.
PACK_BYTES_MAX = 2**20
# A pack under this size is put together with others when it is packed again.
FULL_BYTES_MIN = PACK_BYTES_MAX // 8
MAGIC = b"TZPK"
VERSION = 2
_VERSIONS = (b"\x01", b"\x02")
_HEAD = struct.Struct("<4sBI")
_DIGEST_BYTES = 32


class DamagedPack(ValueError):
    """These bytes are no pack, or not a whole one."""


class Part(NamedTuple):
    """Where and how the part called `digest` is stored: `size_bytes` from `offset` on in the blob `pack`.

    `base` is the part that a patch is to be laid on, and `depth` how many patches lie on each other (0: none).
    """

    digest: str
    kind: Kind
    encoding: Encoding
    base: str | None
    depth: int
    pack: str
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Pack:
    """A blob of parts. `settled`: its tiles have been re-packed small (or there was nothing to gain)."""

    digest: str
    size_bytes: int
    settled: bool
    stored_at: datetime


@dataclass(frozen=True)
class PackLoad:
    """How much of a pack is in use: the parts that lie in it by the database, and their bytes."""

    organisation_id: str
    pack: Pack
    num_parts: int
    num_patches: int
    part_bytes: int

    @property
    def live_bytes(self) -> int:
        """What a pack of these parts alone would take, about."""
        return self.part_bytes + self.num_parts * (_DIGEST_BYTES + 3) + self.num_patches * _DIGEST_BYTES


class Encoded(NamedTuple):
    """A part before it has a place."""

    digest: str
    kind: Kind
    encoding: Encoding
    base: str | None
    depth: int
    data: bytes


class Listed(NamedTuple):
    """What a pack says of one of its parts."""

    digest: str
    kind: Kind
    encoding: Encoding
    base: str | None
    offset: int
    size_bytes: int


def form_of(kind: Kind, encoding: Encoding) -> int:
    """What a part is and how it is encoded, as one byte: in packs and in the table of parts."""
    return KINDS.index(kind) << 4 | ENCODINGS.index(encoding)


def read_form(form: int) -> tuple[Kind, Encoding]:
    """What `form_of` was given. Raises KeyError for what it never returns."""
    return _FORMS[form]


_FORMS = {form_of(kind, encoding): (kind, encoding) for kind in KINDS for encoding in ENCODINGS}


def placed(part: Encoded, pack: str, offset: int) -> Part:
    """The part at its place in a pack."""
    return Part(part.digest, part.kind, part.encoding, part.base, part.depth, pack, offset, len(part.data))


def group(parts: Sequence[Encoded]) -> list[list[Encoded]]:
    """Parts in packs of at most `PACK_BYTES_MAX` (a larger part is alone), in the order given."""
    packs: list[list[Encoded]] = []
    room = 0
    for part in parts:
        if not packs or len(part.data) > room:
            packs.append([])
            room = PACK_BYTES_MAX
        packs[-1].append(part)
        room -= len(part.data)
    return packs


def write_pack(parts: Sequence[Encoded]) -> tuple[bytes, list[int]]:
    """(the pack's bytes, each part's offset in them)."""
    head = bytearray(_HEAD.pack(MAGIC, VERSION, len(parts)))
    for part in parts:
        head.append(form_of(part.kind, part.encoding))
        head += varint(len(part.data))
        if part.encoding != "raw":
            head += bytes.fromhex(part.digest)
        if part.encoding in PATCHES:
            assert part.base is not None
            head += bytes.fromhex(part.base)
    offsets, at = [], len(head)
    for part in parts:
        offsets.append(at)
        at += len(part.data)
    return b"".join((head, *(part.data for part in parts))), offsets


def is_pack(start: bytes) -> bool:
    """Whether a blob that starts so (5 bytes will do) is a pack, of this version or an older one."""
    return start[:4] == MAGIC and start[4:5] in _VERSIONS


def num_parts_of(data: bytes) -> int:
    """How many parts a pack says that it has. Raises DamagedPack."""
    if len(data) < _HEAD.size or not is_pack(data):
        raise DamagedPack("it does not start as a pack does")
    num_parts: int = _HEAD.unpack_from(data)[2]
    return num_parts


def read_pack(data: bytes) -> list[Listed]:
    """What is in a pack. Raises DamagedPack."""
    num_parts, version = num_parts_of(data), data[len(MAGIC)]
    if num_parts * 2 > len(data):
        raise DamagedPack(f"it says that it has {num_parts} parts, and has {len(data)} bytes")
    found: list[tuple[str, Kind, Encoding, str | None, int]] = []
    at = _HEAD.size
    for _ in range(num_parts):
        digest = ""
        if version == 1:
            digest, at = _read_digest(data, at)
        form = data[at] if at < len(data) else 255
        if form not in _FORMS:
            raise DamagedPack(f"the part listed at byte {at} has an unknown kind or encoding")
        kind, encoding = _FORMS[form]
        size_bytes, at = read_varint(data, at + 1)
        if version > 1 and encoding != "raw":
            digest, at = _read_digest(data, at)
        base = None
        if encoding in PATCHES:
            base, at = _read_digest(data, at)
        found.append((digest, kind, encoding, base, size_bytes))
    if at + sum(line[-1] for line in found) != len(data):
        raise DamagedPack(f"its parts do not add up to its {len(data)} bytes")
    listed = []
    for digest, kind, encoding, base, size_bytes in found:
        name = digest or digest_of(data[at : at + size_bytes])
        listed.append(Listed(name, kind, encoding, base, at, size_bytes))
        at += size_bytes
    return listed


def _read_digest(data: bytes, at: int) -> tuple[str, int]:
    end = at + _DIGEST_BYTES
    if end > len(data):
        raise DamagedPack("a digest in its list is cut short")
    return data[at:end].hex(), end


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise DamagedPack("a size in its list is cut short")
