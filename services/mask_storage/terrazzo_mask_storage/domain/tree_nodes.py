"""The bytes of a version tree's nodes. Written for ever: version 1 is read by every later release.

    b"TZVN" | version u8 = 1 | level u8 | number of rows u32 | rows             (numbers little-endian)

- level 0, a leaf, has a row per sample, by sample id: image hash (32 bytes), mask id (32). The sample's id is the
  beginning of its image's hash (docs/decisions/0004).
- level 1 and up has a row per child: bits u8, prefix (12 bytes), number of samples u32, digest of the child (32).
  The child holds every sample whose id begins with the first `bits` bits of `prefix`; the rest of it is zero.

Of a sample id its 24 hex digits count, as 12 bytes. There is one way to write a set of samples (see `versions`),
and what can't be part of such a tree is refused: `CorruptNode`.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import lt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo_schema.samples import sample_id_of

MAGIC = b"TZVN"
VERSION = 1
KEY_BITS = 96
KEY_BYTES = 12
HASH_BYTES = 32
ROW_BYTES = 2 * HASH_BYTES
# How many samples a leaf may hold, and how many times as many a node of the next level.
LEAF_MAX = 1024
FAN_OUT = 64
LEVEL_MAX = 3
# So many keys are looked up faster together than one by one.
_MANY_KEYS = 3
_HEAD = struct.Struct("<4sBBI")
_CHILD = struct.Struct("<B12sI32s")
_SAMPLE_ID = re.compile(r"smp_[0-9a-f]{24}\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")


class CorruptNode(ValueError):
    """These bytes are no node of a version tree, or not the one that its parent speaks of."""


class TreeEntry(NamedTuple):
    """One sample of a version: its image and its mask, by content hash."""

    sample_id: str
    image_hash: str
    mask_id: str


@dataclass(slots=True, eq=False)
class Cell:
    """The samples whose ids begin with the first `bits` bits of `low` (a 96 bit number), as one node.

    A stored one has its `digest`; a new one has what is in it: `rows` of a leaf or `children`. `base` is the
    stored node that a new one replaces.
    """

    level: int
    bits: int
    low: int
    num: int
    digest: str | None = None
    rows: bytes = b""
    children: list[Cell] | None = None
    base: str | None = None

    @property
    def end(self) -> int:
        return self.low + (1 << (KEY_BITS - self.bits))


def most(level: int) -> int:
    """How many samples a node of this level holds at most."""
    return LEAF_MAX * int(FAN_OUT**level)


def key_of(sample_id: str) -> bytes:
    """Raises ValueError for an id of another form."""
    if not _SAMPLE_ID.match(sample_id):
        raise ValueError(f"sample id {sample_id!r} is not 'smp_' and 24 hex digits")
    return bytes.fromhex(sample_id[4:])


def row_of(entry: TreeEntry) -> bytes:
    """Raises ValueError for ids or hashes of another form, and for a sample that is not named by its image."""
    if not (_HASH.match(entry.image_hash) and _HASH.match(entry.mask_id)):
        raise ValueError(f"image hash {entry.image_hash!r} or mask id {entry.mask_id!r} is not 64 hex digits")
    if entry.sample_id != sample_id_of(entry.image_hash):
        raise ValueError(f"sample id {entry.sample_id!r} is not that of the image {entry.image_hash}")
    return bytes.fromhex(entry.image_hash + entry.mask_id)


def entry_of(row: bytes) -> TreeEntry:
    image_hash = row[:HASH_BYTES].hex()
    return TreeEntry(sample_id_of(image_hash), image_hash, row[HASH_BYTES:].hex())


def sample_of(row: bytes) -> str:
    return sample_id_of(row[:HASH_BYTES].hex())


def mask_of(row: bytes) -> str:
    return row[HASH_BYTES:].hex()


def key_at(rows: bytes, place: int) -> bytes:
    return rows[place * ROW_BYTES : place * ROW_BYTES + KEY_BYTES]


def place_of(rows: bytes, key: bytes) -> int:
    """Where the first row lies whose key is not below `key`."""
    return bisect_left(range(len(rows) // ROW_BYTES), key, key=lambda place: key_at(rows, place))


def places_of(rows: bytes, keys: Sequence[bytes]) -> list[int]:
    """As `place_of`, of many keys together: by their first 8 bytes, as far as these tell."""
    if len(keys) < _MANY_KEYS:
        return [place_of(rows, key) for key in keys]
    firsts_K = np.frombuffer(b"".join(key[:8] for key in keys), ">u8").astype(np.uint64)
    places = np.searchsorted(_firsts_of(rows), firsts_K).tolist()
    num = len(rows) // ROW_BYTES
    return [
        place if place == num or key_at(rows, place) >= key else place_of(rows, key)
        for place, key in zip(places, keys, strict=True)
    ]


def _firsts_of(rows: bytes) -> NDArray[np.uint64]:
    """The first 8 bytes of each key as a number."""
    return np.frombuffer(rows, ">u8")[:: ROW_BYTES // 8].astype(np.uint64)


def each_row(rows: bytes) -> Iterator[bytes]:
    return (rows[start : start + ROW_BYTES] for start in range(0, len(rows), ROW_BYTES))


def rows_apart(old: bytes, new: bytes) -> list[tuple[bytes, bytes]] | None:
    """(old row, new row) where two leaves of the same samples differ; None when the samples are not the same."""
    if len(old) != len(new):
        return None
    old_N, new_N = np.frombuffer(old, np.uint64), np.frombuffer(new, np.uint64)
    words = ROW_BYTES // 8
    if (old_N[::words] != new_N[::words]).any():
        return None
    places = dict.fromkeys((np.flatnonzero(old_N != new_N) // words).tolist())
    pairs = [(old[at : at + ROW_BYTES], new[at : at + ROW_BYTES]) for at in (p * ROW_BYTES for p in places)]
    # The first 8 bytes of a key are the same; the others hardly ever differ.
    return pairs if all(before[8:KEY_BYTES] == after[8:KEY_BYTES] for before, after in pairs) else None


def leaf_bytes(rows: bytes) -> bytes:
    return _HEAD.pack(MAGIC, VERSION, 0, len(rows) // ROW_BYTES) + rows


def inner_bytes(level: int, children: list[Cell]) -> bytes:
    """Of children that are stored."""
    packed = [_HEAD.pack(MAGIC, VERSION, level, len(children))]
    for child in children:
        assert child.digest is not None
        key = child.low.to_bytes(KEY_BYTES, "big")
        packed.append(_CHILD.pack(child.bits, key, child.num, bytes.fromhex(child.digest)))
    return b"".join(packed)


def parse_root(data: bytes, digest: str) -> Cell:
    """The root of a version as a cell, with what is in it. Raises CorruptNode."""
    level, num_rows = _head(data)
    cell = Cell(level, 0, 0, num_rows, digest)
    if level:
        cell.children = _children(data, level, num_rows)
        cell.num = sum(child.num for child in cell.children)
        if len(cell.children) < 2:
            raise CorruptNode("a root that leads to one node alone")
        _require_inside(cell)
    else:
        cell.rows = _rows(data, num_rows)
    return cell


def fill(cell: Cell, data: bytes) -> None:
    """Give a stored cell what its node's bytes say. Raises CorruptNode, also for another node's bytes."""
    level, num_rows = _head(data)
    if level != cell.level:
        raise CorruptNode(f"a node of level {level} where one of level {cell.level} belongs")
    if level:
        cell.children = _children(data, level, num_rows)
        found = sum(child.num for child in cell.children)
    else:
        cell.rows = _rows(data, num_rows)
        found = num_rows
    if found != cell.num:
        raise CorruptNode(f"a node of {found} samples where one of {cell.num} belongs")
    _require_inside(cell)


def _head(data: bytes) -> tuple[int, int]:
    if len(data) < _HEAD.size:
        raise CorruptNode(f"a node of {len(data)} bytes")
    magic, version, level, num_rows = _HEAD.unpack_from(data)
    if (magic, version) != (MAGIC, VERSION):
        raise CorruptNode(f"it starts with {data[:5]!r}, not with {MAGIC + bytes((VERSION,))!r}")
    if level > LEVEL_MAX:
        raise CorruptNode(f"level {level}: {LEVEL_MAX} are allowed")
    size_bytes = _HEAD.size + num_rows * (_CHILD.size if level else ROW_BYTES)
    if len(data) != size_bytes:
        raise CorruptNode(f"{num_rows} rows take {size_bytes} bytes, and there are {len(data)}")
    return level, num_rows


def _rows(data: bytes, num_rows: int) -> bytes:
    if num_rows > LEAF_MAX:
        raise CorruptNode(f"a leaf of {num_rows} samples: {LEAF_MAX} are allowed")
    rows = data[_HEAD.size :]
    if not (_rises(rows) or all(map(lt, _keys(rows), islice(_keys(rows), 1, None)))):
        raise CorruptNode("samples are not in order, or one is there twice")
    return rows


def _rises(rows: bytes) -> bool:
    """Whether each key is above the one before it already by its first 8 bytes, as those of hashes are."""
    firsts_N = _firsts_of(rows)
    return bool((firsts_N[1:] > firsts_N[:-1]).all())


def _keys(rows: bytes) -> Iterator[bytes]:
    return (rows[start : start + KEY_BYTES] for start in range(0, len(rows), ROW_BYTES))


def _children(data: bytes, level: int, num_rows: int) -> list[Cell]:
    children, end = [], 0
    for bits, prefix, num, digest in _CHILD.iter_unpack(data[_HEAD.size :]):
        if bits > KEY_BITS or not 0 < num <= most(level - 1):
            raise CorruptNode(f"a child of {num} samples under {bits} bits on level {level - 1}")
        low = int.from_bytes(prefix, "big")
        if low & ((1 << (KEY_BITS - bits)) - 1):
            raise CorruptNode(f"the prefix {prefix.hex()} has more than {bits} bits")
        if low < end:
            raise CorruptNode("children are not in order, or overlap")
        cell = Cell(level - 1, bits, low, num, digest.hex())
        children.append(cell)
        end = cell.end
    if not children:
        raise CorruptNode("an inner node without children")
    return children


def _require_inside(cell: Cell) -> None:
    if cell.num > most(cell.level):
        raise CorruptNode(f"a node of {cell.num} samples on level {cell.level}: {most(cell.level)} are allowed")
    if cell.children is not None:
        low, end = cell.children[0].low, cell.children[-1].end
    elif cell.rows:
        low, end = (int.from_bytes(key_at(cell.rows, at), "big") for at in (0, cell.num - 1))
        end += 1
    else:
        raise CorruptNode("a leaf without samples below another node")
    if low < cell.low or end > cell.end:
        raise CorruptNode("a node holds samples that belong elsewhere")
    if cell.children is not None:
        _require_widest(cell.children, cell.bits)


def _require_widest(children: list[Cell], bits: int) -> None:
    """Each child has the widest range that is not too much for its level."""
    lows = [child.low for child in children]
    up_to = [0, *accumulate(child.num for child in children)]
    for child in children:
        if child.bits == bits:
            continue
        size = 1 << (KEY_BITS - child.bits + 1)
        around = child.low & -size
        num = up_to[bisect_left(lows, around + size)] - up_to[bisect_left(lows, around)]
        if child.bits < bits or num <= most(child.level):
            raise CorruptNode("children that would be one are apart")
