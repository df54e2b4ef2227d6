"""Tiled TIFF (TIFF 6.0; BigTIFF where 4 GiB do not do) of one channel, written as a stream, in memory of a tile.

The offsets come before the tiles in the file, so each tile is packed twice: once for its size, once to be written.
Tiles of one value are written once and pointed at by all. Tags of other files are read without trusting them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap

TILE_PX = 512
SHORT, LONG, DOUBLE, ASCII, LONG8 = 3, 4, 12, 2, 16
_SIZES = {
    1: 1,
    ASCII: 1,
    SHORT: 2,
    LONG: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    DOUBLE: 8,
    13: 4,
    LONG8: 8,
}
_CODES = {SHORT: "H", LONG: "I", DOUBLE: "d", LONG8: "Q"}
TAGS_MAX, VALUE_BYTES_MAX = 4_096, 2**20
CLASSIC_BYTES_MAX = 2**32 - 2**16
Value = str | tuple[float, ...] | tuple[int, ...]
Window = Callable[[int, int, int, int], LabelMap]


@dataclass(frozen=True)
class Tag:
    number: int
    kind: int
    value: Value

    def data(self) -> bytes:
        if isinstance(self.value, str):
            return self.value.encode("latin-1", "replace") + b"\0"
        return struct.pack(f"<{len(self.value)}{_CODES[self.kind]}", *self.value)

    @property
    def count(self) -> int:
        return len(self.data()) if self.kind == ASCII else len(self.value)


def write(
    height: int, width: int, dtype: np.dtype[np.uint8 | np.uint16], window: Window, tags: Mapping[int, Tag]
) -> Iterator[bytes]:
    """The bytes of a TIFF whose pixels `window(y, x, height, width)` gives, twice each; `tags` are added.

    The first walk over the windows is done here, before the first byte: what they raise comes from it.
    """
    boxes = [(y, x) for y in range(0, height, TILE_PX) for x in range(0, width, TILE_PX)]
    sizes, firsts = _measured(boxes, height, width, dtype, window)
    num_bytes = sum(sizes[place] for place, first in enumerate(firsts) if first == place)
    is_big = num_bytes + 64 * len(boxes) > CLASSIC_BYTES_MAX
    kind = LONG8 if is_big else LONG
    fixed = _layout_tags(height, width, dtype)
    fixed.update(tags)
    fixed[325] = Tag(325, kind, tuple(sizes[first] for first in firsts))
    fixed[324] = Tag(324, kind, (0,) * len(boxes))
    start = len(_head(fixed, is_big))
    offset_of: dict[int, int] = {}
    for place, first in enumerate(firsts):
        if first == place:
            offset_of[place] = start
            start += sizes[place]
    fixed[324] = Tag(324, kind, tuple(offset_of[first] for first in firsts))

    def stream() -> Iterator[bytes]:
        yield _head(fixed, is_big)
        for place, (y, x) in enumerate(boxes):
            if firsts[place] == place:
                packed = _packed(_tile(y, x, height, width, dtype, window))
                if len(packed) != sizes[place]:
                    raise RuntimeError(f"the tile at row {y}, column {x} changed while it was written")
                yield packed

    return stream()


def _measured(
    boxes: list[tuple[int, int]], height: int, width: int, dtype: np.dtype[np.uint8 | np.uint16], window: Window
) -> tuple[list[int], list[int]]:
    """(packed size of each tile, the first tile with its pixels: another one's for tiles of one value)."""
    sizes: list[int] = []
    firsts: list[int] = []
    flat: dict[int, int] = {}
    for place, (y, x) in enumerate(boxes):
        tile_HW = _tile(y, x, height, width, dtype, window)
        value = int(tile_HW[0, 0])
        if (tile_HW == value).all():
            first = flat.setdefault(value, place)
            firsts.append(first)
            sizes.append(len(_packed(tile_HW)) if first == place else sizes[first])
        else:
            firsts.append(place)
            sizes.append(len(_packed(tile_HW)))
    return sizes, firsts


def _tile(
    y: int, x: int, height: int, width: int, dtype: np.dtype[np.uint8 | np.uint16], window: Window
) -> LabelMap:
    """A tile, filled up at the map's edge with its last row and column (no reader looks at those)."""
    part_HW = window(y, x, min(TILE_PX, height - y), min(TILE_PX, width - x)).astype(dtype, copy=False)
    missing = (TILE_PX - part_HW.shape[0], TILE_PX - part_HW.shape[1])
    if not any(missing):
        return part_HW
    filled_HW: LabelMap = np.pad(part_HW, ((0, missing[0]), (0, missing[1])), mode="edge")
    return filled_HW


def _packed(tile_HW: LabelMap) -> bytes:
    little = np.ascontiguousarray(tile_HW, dtype=tile_HW.dtype.newbyteorder("<"))
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return packer.compress(little.data) + packer.flush()


def _layout_tags(height: int, width: int, dtype: np.dtype[np.uint8 | np.uint16]) -> dict[int, Tag]:
    shorts = {258: 8 * dtype.itemsize, 259: 8, 262: 1, 277: 1, 284: 1, 322: TILE_PX, 323: TILE_PX, 339: 1}
    tags = {number: Tag(number, SHORT, (value,)) for number, value in shorts.items()}
    return {**tags, 256: Tag(256, LONG, (width,)), 257: Tag(257, LONG, (height,))}


def palette_tags(palette: NDArray[np.uint8]) -> dict[int, Tag]:
    """The tags that make an 8 bit picture one of colours: `palette` (256, 3)."""
    colors = (palette.astype(np.uint16) * 257).T.reshape(-1)
    return {262: Tag(262, SHORT, (3,)), 320: Tag(320, SHORT, tuple(int(v) for v in colors))}


def _head(tags: Mapping[int, Tag], is_big: bool) -> bytes:
    """Header, directory and the values that do not fit in it."""
    ordered = [tags[number] for number in sorted(tags)]
    entry_size, inline = (20, 8) if is_big else (12, 4)
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if is_big else struct.pack("<2sHI", b"II", 42, 8)
    count = struct.pack("<Q" if is_big else "<H", len(ordered))
    at = len(header) + len(count) + entry_size * len(ordered) + inline
    entries, values = [], []
    for tag in ordered:
        data = tag.data()
        entries.append(struct.pack("<HHQ" if is_big else "<HHI", tag.number, tag.kind, tag.count))
        if len(data) <= inline:
            entries.append(data.ljust(inline, b"\0"))
            continue
        entries.append(struct.pack("<Q" if is_big else "<I", at))
        values.append(data + bytes(-len(data) % 8))
        at += len(values[-1])
    return b"".join([header, count, *entries, bytes(inline), *values])


def read_tags(file: BinaryIO, wanted: frozenset[int]) -> dict[int, Tag]:
    """The `wanted` tags of a TIFF's first directory; ASCII and numbers alone. Raises CorruptMask for damage."""
    try:
        return _read_tags(file, wanted)
    except struct.error as error:
        raise CorruptMask(f"the TIFF's directory is cut short: {error}") from error


def _read_tags(file: BinaryIO, wanted: frozenset[int]) -> dict[int, Tag]:
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise CorruptMask(f"the file starts with {head[:4]!r}: that is no TIFF")
    is_big = struct.unpack(order + "H", head[2:4])[0] == 43
    at = struct.unpack(order + ("Q" if is_big else "I"), head[8:16] if is_big else head[4:8])[0]
    file.seek(at)
    num = struct.unpack(order + ("Q" if is_big else "H"), file.read(8 if is_big else 2))[0]
    if num > TAGS_MAX:
        raise CorruptMask(f"the TIFF's directory states {num} tags")
    entry = struct.Struct(order + ("HHQ8s" if is_big else "HHI4s"))
    rows = [entry.unpack(file.read(entry.size)) for _ in range(num)]
    return {
        number: Tag(number, kind, _value(file, number, kind, count, inline, order, is_big))
        for number, kind, count, inline in rows
        if number in wanted
    }


def _value(file: BinaryIO, number: int, kind: int, count: int, inline: bytes, order: str, is_big: bool) -> Value:
    size = _SIZES.get(kind, 0) * count
    if kind not in (ASCII, *_CODES) or not 0 < size <= VALUE_BYTES_MAX:
        raise CorruptMask(f"the TIFF's tag {number} has {count} values of kind {kind}")
    data = inline[:size]
    if size > len(inline):
        file.seek(struct.unpack(order + ("Q" if is_big else "I"), inline)[0])
        data = file.read(size)
    if len(data) != size:
        raise CorruptMask(f"the TIFF's tag {number} points outside of the file")
    if kind == ASCII:
        return data.rstrip(b"\0").decode("latin-1")
    return struct.unpack(f"{order}{count}{_CODES[kind]}", data)
