"""A label map as a manifest of tiles: the stored form of a layer of a mask.

A map is cut into squares of `TILE_PX`; the last row and column may be smaller. A tile of one class is stored
inline as its class id; every other tile is encoded (`codec`, fast profile), handed to the caller's `put` and
kept by its digest. Two masks share the tiles in which they agree, so that a correction costs what it changed.

The manifest is deterministic JSON without spaces, tiles in row-major order:

    {"format":"terrazzo-mask","version":1,"height":H,"width":W,"dtype":"uint8","tile_px":256,
     "tiles":[7, ["<digest>",size_bytes,[[class_id,pixels],...]], ...]}

where a bare number is a one-class tile. The *mask id* is the BLAKE2b-256 of these bytes. The dtype of a manifest
is the narrowest that holds its ids, so that the same pixels have the same mask id whichever dtype they came in.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from terrazzo_masks import codec
from terrazzo_masks.errors import CorruptMask, ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap, count_classes, dtype_for, require_labels

TILE_PX = 256
TILE_PX_MAX = 4096
FORMAT = "terrazzo-mask"
MANIFEST_VERSION = 1
DIGEST = re.compile(r"[0-9A-Za-z_.:-]{16,128}\Z")

Counts = tuple[tuple[int, int], ...]
Get = Callable[[str], bytes]
Put = Callable[[bytes], str]


def digest_of(data: bytes) -> str:
    """BLAKE2b-256 of the bytes as 64 lower-case hex digits."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


@dataclass(frozen=True)
class TileRef:
    """One tile: either `class_id` (a tile of that class alone) or `digest` (an encoded tile) is set.

    `row` and `col` count tiles, `size_bytes` is the encoded size (0 inline), `counts` holds (class id, pixels) by
    rising id and sums to the tile's area.
    """

    row: int
    col: int
    class_id: int | None
    digest: str | None
    size_bytes: int
    counts: Counts

    def same_content(self, other: "TileRef") -> bool:
        """True when both refs certainly hold the same pixels, without decoding (sizes being equal)."""
        if self.digest is not None:
            return self.digest == other.digest
        return self.class_id == other.class_id and other.digest is None


@dataclass(frozen=True)
class Manifest:
    """A label map of `height` x `width` pixels as tiles in row-major order; see the module for its bytes."""

    version: int
    height: int
    width: int
    dtype: str
    tile_px: int
    tiles: tuple[TileRef, ...]

    @property
    def num_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile_px)

    @property
    def num_cols(self) -> int:
        """Columns of tiles."""
        return -(-self.width // self.tile_px)

    def tile(self, row: int, col: int) -> TileRef:
        """The tile in that row and column of tiles."""
        return self.tiles[row * self.num_cols + col]

    def box_of(self, tile: TileRef) -> tuple[int, int, int, int]:
        """(y, x, height, width) of a tile in pixels of the map."""
        return _box(self.height, self.width, self.tile_px, tile.row, tile.col)

    @cached_property
    def counts(self) -> dict[int, int]:
        """Pixels per class id of the whole map, by rising id, without decoding a tile."""
        total: dict[int, int] = {}
        for tile in self.tiles:
            for class_id, pixels in tile.counts:
                total[class_id] = total.get(class_id, 0) + pixels
        return dict(sorted(total.items()))

    @cached_property
    def digest(self) -> str:
        """The mask id: `digest_of(self.to_bytes())`."""
        return digest_of(self.to_bytes())

    @property
    def size_bytes(self) -> int:
        """Bytes of the encoded tiles, a tile that occurs twice counted once."""
        return sum({tile.digest: tile.size_bytes for tile in self.tiles if tile.digest is not None}.values())

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of the encoded tiles, each once, in order of first use."""
        return tuple(dict.fromkeys(tile.digest for tile in self.tiles if tile.digest is not None))

    def to_bytes(self) -> bytes:
        """The canonical JSON bytes: equal manifests give equal bytes."""
        document = {
            "format": FORMAT,
            "version": self.version,
            "height": self.height,
            "width": self.width,
            "dtype": self.dtype,
            "tile_px": self.tile_px,
            "tiles": [
                tile.class_id if tile.digest is None else [tile.digest, tile.size_bytes, tile.counts]
                for tile in self.tiles
            ],
        }
        return json.dumps(document, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read the bytes of `to_bytes`. Raises CorruptMask for every other input, canonical order included."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorruptMask(f"a mask manifest is JSON: {error}") from error
        manifest = _manifest_from(document)
        if manifest.to_bytes() != bytes(data):
            raise CorruptMask("a mask manifest is canonical: these bytes are not how it would be written")
        return manifest


def build(labels_HW: LabelMap, put: Put, *, tile_px: int = TILE_PX) -> Manifest:
    """Cut a label map into tiles and store those of more than one class through `put(encoded) -> digest`.

    `put` is called once per distinct tile. Raises UnsupportedMask when `labels_HW` is not a label map.
    """
    require_labels(labels_HW)
    if not 1 <= tile_px <= TILE_PX_MAX:
        raise UnsupportedMask(f"tile_px is {tile_px}: 1 to {TILE_PX_MAX} are allowed")
    height, width = labels_HW.shape
    dtype = dtype_for(int(labels_HW.max()))
    stored: dict[bytes, str] = {}
    tiles = []
    for row, col, (y, x, tile_height, tile_width) in _grid(height, width, tile_px):
        tile_HW = np.ascontiguousarray(labels_HW[y : y + tile_height, x : x + tile_width])
        counts = tuple(count_classes(tile_HW).items())
        if len(counts) == 1:
            tiles.append(TileRef(row, col, counts[0][0], None, 0, counts))
            continue
        # The tile's own narrowest dtype: its digest does not depend on what the rest of the map holds.
        data = codec.encode(tile_HW.astype(dtype_for(counts[-1][0]), copy=False))
        if data not in stored:
            stored[data] = put(data)
        tiles.append(TileRef(row, col, None, stored[data], len(data), counts))
    return Manifest(MANIFEST_VERSION, height, width, dtype.name, tile_px, tuple(tiles))


def read(manifest: Manifest, get: Get, *, max_pixels: int = 2**31) -> LabelMap:
    """The whole label map (H, W) in the manifest's dtype; `get(digest)` returns an encoded tile.

    Raises CorruptMask when a tile is damaged, is not the one its ref describes, or the map exceeds `max_pixels`.
    """
    if manifest.height * manifest.width > max_pixels:
        raise CorruptMask(f"a mask of {manifest.height} x {manifest.width} pixels: up to {max_pixels} are allowed")
    return read_region(manifest, get, 0, 0, manifest.height, manifest.width)


def read_region(manifest: Manifest, get: Get, y: int, x: int, height: int, width: int) -> LabelMap:
    """The rectangle of `height` x `width` pixels at (y, x); decodes only the tiles that it meets.

    Raises ShapeMismatch when the rectangle is empty or leaves the map, CorruptMask as `read` does.
    """
    if height < 1 or width < 1 or min(y, x) < 0 or y + height > manifest.height or x + width > manifest.width:
        raise ShapeMismatch(
            f"region (y {y}, x {x}, {height} x {width}) leaves a map of {manifest.height} x {manifest.width}"
        )
    out_HW: LabelMap = np.empty((height, width), dtype=np.dtype(manifest.dtype))
    px = manifest.tile_px
    for row in range(y // px, (y + height - 1) // px + 1):
        for col in range(x // px, (x + width - 1) // px + 1):
            tile = manifest.tile(row, col)
            top, left, tile_height, tile_width = manifest.box_of(tile)
            y0, y1 = max(y, top), min(y + height, top + tile_height)
            x0, x1 = max(x, left), min(x + width, left + tile_width)
            target_HW = out_HW[y0 - y : y1 - y, x0 - x : x1 - x]
            if tile.class_id is not None:
                target_HW[...] = tile.class_id
            else:
                tile_HW = read_tile(manifest, tile, get)
                target_HW[...] = tile_HW[y0 - top : y1 - top, x0 - left : x1 - left]
    return out_HW


def read_tile(manifest: Manifest, tile: TileRef, get: Get) -> LabelMap:
    """One tile's pixels (its own narrowest dtype). Raises CorruptMask when they are not what the ref says."""
    _, _, height, width = manifest.box_of(tile)
    if tile.digest is None:
        class_id = tile.counts[0][0]
        return np.full((height, width), class_id, dtype=dtype_for(class_id))
    tile_HW = codec.decode(get(tile.digest), max_pixels=height * width)
    if tile_HW.shape != (height, width):
        raise CorruptMask(f"tile {tile.digest} is {tile_HW.shape}: its manifest says {(height, width)}")
    if tuple(count_classes(tile_HW).items()) != tile.counts:
        raise CorruptMask(f"tile {tile.digest} holds other classes or pixel counts than its manifest says")
    return tile_HW


def _grid(height: int, width: int, tile_px: int) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
    for row in range(-(-height // tile_px)):
        for col in range(-(-width // tile_px)):
            yield row, col, _box(height, width, tile_px, row, col)


def _box(height: int, width: int, tile_px: int, row: int, col: int) -> tuple[int, int, int, int]:
    y, x = row * tile_px, col * tile_px
    return y, x, min(tile_px, height - y), min(tile_px, width - x)


def _manifest_from(document: Any) -> Manifest:
    """Validate parsed JSON into a Manifest. Raises CorruptMask that names the field."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CorruptMask(f"a mask manifest is an object with format {FORMAT!r}")
    if document.get("version") != MANIFEST_VERSION:
        raise CorruptMask(f"manifest version {document.get('version')!r}: this release reads {MANIFEST_VERSION}")
    height = _whole(document.get("height"), "height", 1, 2**31)
    width = _whole(document.get("width"), "width", 1, 2**31)
    tile_px = _whole(document.get("tile_px"), "tile_px", 1, TILE_PX_MAX)
    dtype, entries = document.get("dtype"), document.get("tiles")
    num_tiles = -(-height // tile_px) * -(-width // tile_px)
    if not isinstance(entries, list) or len(entries) != num_tiles:
        raise CorruptMask(f"a map of {height} x {width} in tiles of {tile_px} has {num_tiles} tiles")
    tiles = tuple(
        _tile_from(entry, row, col, box[2] * box[3])
        for entry, (row, col, box) in zip(entries, _grid(height, width, tile_px), strict=True)
    )
    class_id_max = max(tile.counts[-1][0] for tile in tiles)
    if dtype != dtype_for(class_id_max).name:
        raise CorruptMask(
            f"manifest dtype {dtype!r}: ids up to {class_id_max} need {dtype_for(class_id_max).name}"
        )
    return Manifest(MANIFEST_VERSION, height, width, dtype, tile_px, tiles)


def _tile_from(entry: Any, row: int, col: int, area_px: int) -> TileRef:
    where = f"tile (row {row}, col {col})"
    if not isinstance(entry, list):
        class_id = _whole(entry, where, 0, 65535)
        return TileRef(row, col, class_id, None, 0, ((class_id, area_px),))
    if (
        len(entry) != 3
        or not isinstance(entry[0], str)
        or not DIGEST.match(entry[0])
        or not isinstance(entry[2], list)
    ):
        raise CorruptMask(f"{where} is neither a class id nor [digest, size, counts]")
    size_bytes = _whole(entry[1], f"{where} size", 1, 2**31)
    counts = []
    for pair in entry[2]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise CorruptMask(f"{where} counts hold [class id, pixels] pairs, not {str(pair)[:60]}")
        counts.append(
            (_whole(pair[0], f"{where} class", 0, 65535), _whole(pair[1], f"{where} pixels", 1, area_px))
        )
    ids = [class_id for class_id, _ in counts]
    if len(ids) < 2 or ids != sorted(set(ids)) or sum(pixels for _, pixels in counts) != area_px:
        raise CorruptMask(f"{where} counts need two or more classes by rising id that sum to {area_px} pixels")
    return TileRef(row, col, None, entry[0], size_bytes, tuple(counts))


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CorruptMask(f"manifest {name} is {str(value)[:60]}: a whole number {low}..{high} is wanted")
    return value
