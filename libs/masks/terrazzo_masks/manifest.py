"""The stored form of a label map: a tree of nodes over its tiles (bytes: docs/storage-format.md).

A map is cut into tiles of `tile_px`; the last row and column may be smaller. A node has up to 8 x 8 children:
tiles at level 0, nodes of the level below above that. The depth follows from the size: the root is the lowest
level that covers the map. A child of one class, tile or subtree, is nothing but its class id in its parent; any
other is named by its digest. Each node also says how many pixels of which class each child has, so that class
statistics, and where a class is, are known without reading what is below.

The bytes are canonical: the same pixels and tile size give the same bytes, in whichever order they were painted.
The *mask id* is the digest of the root's bytes. What holds for the pixels holds for the dtype: it is not stored,
but is the narrowest that holds the ids.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import Box
from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.labels import BoolMap
from terrazzo_masks.parts import digest_of

FANOUT = 8
TILE_PX_MAX = 4096
SIDE_MAX = 2**31 - 1
ROOT_MAGIC, NODE_MAGIC = b"TZM\x02", b"TZN\x02"
MIXED = -1
# What kernels.nodes.parse_body says is wrong, by its status.
_WRONG = (
    "",
    "is cut short",
    "has a number that is cut short or not in its shortest form",
    "classes: 1 to 65536 rising ids of 0..65535 are wanted",
    "kinds: bits after the last child are set",
    "uniform: a child's class is not in the table of classes",
    "presence: a mixed child needs two or more classes of the table",
    "pixels: the counts of a child are not 1 or more each, below its area in sum",
    "classes: one of the table is in no child",
    "has bytes left over",
)


class Entry(NamedTuple):
    """What a node knows of a child: `class_id` (MIXED: several) or `digest`; its ids and pixels, by rising id."""

    class_id: int
    digest: bytes
    ids_K: NDArray[np.int32]
    pixels_K: NDArray[np.int64]

    def same(self, other: "Entry") -> bool:
        """True when both have the same pixels, the areas being equal."""
        return self.class_id == other.class_id and self.digest == other.digest

    @property
    def counts(self) -> dict[int, int]:
        return dict(zip(self.ids_K.tolist(), self.pixels_K.tolist(), strict=True))


def uniform_entry(class_id: int, area_px: int) -> Entry:
    """A child of `area_px` pixels of one class."""
    return Entry(class_id, b"", np.array([class_id], np.int32), np.array([area_px], np.int64))


@dataclass(eq=False, slots=True)
class Node:
    """One node: `box` is what it covers of the map; N children in row-major order, K classes by rising id.

    `uniform_N` is a class id or MIXED, `digests_N` uint8 (N, 32), zero where uniform, `counts_NK` pixels. It is
    not to be changed; it isn't frozen, as that makes a small node three times as dear.
    """

    level: int
    box: Box
    tile_px: int
    ids_K: NDArray[np.int32]
    uniform_N: NDArray[np.int32]
    digests_N: NDArray[np.uint8]
    counts_NK: NDArray[np.int64]

    @property
    def span_px(self) -> int:
        """Side of a child that is not cut off by the map's border."""
        return self.tile_px << 3 * self.level

    @property
    def num_cols(self) -> int:
        return -(-self.box.width // self.span_px)

    @property
    def num_children(self) -> int:
        return int(self.uniform_N.size)

    def box_of(self, child: int) -> Box:
        """The pixels of a child in the map."""
        span, box = self.span_px, self.box
        row, col = divmod(child, -(-box.width // span))
        y, x = row * span, col * span
        return Box(box.y + y, box.x + x, min(span, box.height - y), min(span, box.width - x))

    def children_in(self, box: Box) -> list[int]:
        """The children that share a pixel with `box`."""
        span, num_cols = self.span_px, self.num_cols
        num_rows = self.num_children // num_cols
        top, left = max(0, (box.y - self.box.y) // span), max(0, (box.x - self.box.x) // span)
        bottom = min(num_rows - 1, (box.y + box.height - 1 - self.box.y) // span)
        right = min(num_cols - 1, (box.x + box.width - 1 - self.box.x) // span)
        return [row * num_cols + col for row in range(top, bottom + 1) for col in range(left, right + 1)]

    def digest_of_child(self, child: int) -> str:
        digest: bytes = self.digests_N[child].tobytes()
        return digest.hex()

    def digests(self) -> list[str]:
        """Those of the children that are not of one class, in their order."""
        return [self.digest_of_child(child) for child in np.flatnonzero(self.uniform_N == MIXED).tolist()]

    def entry(self, child: int) -> Entry:
        class_id = int(self.uniform_N[child])
        digest = b"" if class_id != MIXED else self.digests_N[child].tobytes()
        if self.num_children == 1:  # it has every class of the table
            return Entry(class_id, digest, self.ids_K, self.counts_NK[0])
        present_K = self.counts_NK[child] > 0
        return Entry(class_id, digest, self.ids_K[present_K], self.counts_NK[child][present_K])

    def as_entry(self, digest: str | None) -> Entry:
        """What the parent knows of this node; `digest` None for a node of one class."""
        single = self.num_children == 1
        pixels_K: NDArray[np.int64] = self.counts_NK[0] if single else self.counts_NK.sum(axis=0)
        class_id = int(self.ids_K[0]) if self.ids_K.size == 1 else MIXED
        return Entry(class_id, bytes.fromhex(digest or ""), self.ids_K, pixels_K)

    @property
    def is_uniform(self) -> bool:
        return self.ids_K.size == 1

    def differs_from(self, other: "Node") -> BoolMap:
        """Bool (N,): the children that are not the same in another node of this place."""
        differs_N: BoolMap = (self.digests_N != other.digests_N).any(axis=1)
        differs_N |= self.uniform_N != other.uniform_N
        return differs_N

    def replaced(self, changes: Mapping[int, Entry]) -> "Node":
        """This node with other children in some places."""
        ids_K = np.unique(np.concatenate([self.ids_K, *(entry.ids_K for entry in changes.values())]))
        counts_NK = np.zeros((self.num_children, ids_K.size), np.int64)
        counts_NK[:, np.searchsorted(ids_K, self.ids_K)] = self.counts_NK
        uniform_N, digests_N = self.uniform_N.copy(), self.digests_N.copy()
        for child, entry in changes.items():
            counts_NK[child] = 0
            counts_NK[child, np.searchsorted(ids_K, entry.ids_K)] = entry.pixels_K
            uniform_N[child] = entry.class_id
            digests_N[child] = np.frombuffer(entry.digest or bytes(32), np.uint8)
        held_K = counts_NK.any(axis=0)
        counts_NK = np.ascontiguousarray(counts_NK[:, held_K])
        return Node(self.level, self.box, self.tile_px, ids_K[held_K], uniform_N, digests_N, counts_NK)

    def body(self) -> bytes:
        body: NDArray[np.uint8] = _nodes().write_body(self.ids_K, self.uniform_N, self.digests_N, self.counts_NK)
        return body.tobytes()

    def to_bytes(self) -> bytes:
        """The bytes of an inner node: magic, level, rows and columns of children, body."""
        num_rows = self.num_children // self.num_cols
        return NODE_MAGIC + bytes((self.level, (num_rows - 1) << 4 | (self.num_cols - 1))) + self.body()


def make_node(level: int, box: Box, tile_px: int, entries: Iterable[Entry]) -> Node:
    """A node from its children in row-major order."""
    children = list(entries)
    if len(children) == 1:  # most masks are one tile, and small arrays are slow
        [only] = children
        uniform_N, digests_N = np.array([only.class_id], np.int32), np.zeros((1, 32), np.uint8)
        if only.class_id == MIXED:
            digests_N[0] = np.frombuffer(only.digest, np.uint8)
        return Node(level, box, tile_px, only.ids_K, uniform_N, digests_N, only.pixels_K.reshape(1, -1))
    ids_K = np.unique(np.concatenate([child.ids_K for child in children]))
    counts_NK = np.zeros((len(children), ids_K.size), np.int64)
    digests_N = np.zeros((len(children), 32), np.uint8)
    for i, child in enumerate(children):
        counts_NK[i, np.searchsorted(ids_K, child.ids_K)] = child.pixels_K
        if child.class_id == MIXED:
            digests_N[i] = np.frombuffer(child.digest, np.uint8)
    uniform_N = np.array([child.class_id for child in children], np.int32)
    return Node(level, box, tile_px, ids_K, uniform_N, digests_N, counts_NK)


def uniform_node(level: int, box: Box, tile_px: int, class_id: int) -> Node:
    """A node whose children are all of one class; it is never stored, unless it is a root."""
    areas_N = child_areas(level, box, tile_px)
    n = areas_N.size
    return Node(
        level,
        box,
        tile_px,
        np.array([class_id], np.int32),
        np.full(n, class_id, np.int32),
        np.zeros((n, 32), np.uint8),
        areas_N[:, None],
    )


def child_boxes(level: int, box: Box, tile_px: int) -> list[Box]:
    """The pixels of each child of a node, in row-major order."""
    span = tile_px * FANOUT**level
    if box.height <= span and box.width <= span:
        return [box]
    return [
        Box(box.y + y, box.x + x, min(span, box.height - y), min(span, box.width - x))
        for y in range(0, box.height, span)
        for x in range(0, box.width, span)
    ]


def child_areas(level: int, box: Box, tile_px: int) -> NDArray[np.int64]:
    """Pixels of each child of a node, in row-major order."""
    span = tile_px * FANOUT**level
    if box.height <= span and box.width <= span:
        return np.array([box.height * box.width], np.int64)
    rows = np.minimum(span, box.height - np.arange(0, box.height, span, dtype=np.int64))
    cols = np.minimum(span, box.width - np.arange(0, box.width, span, dtype=np.int64))
    areas: NDArray[np.int64] = np.outer(rows, cols).ravel()
    return areas


def root_level(height: int, width: int, tile_px: int) -> int:
    """The level of the root of a map: the lowest that has at most 8 x 8 children."""
    side, level = -(-max(height, width) // tile_px), 0
    while side > FANOUT:
        side, level = -(-side // FANOUT), level + 1
    return level


def parse_node(data: bytes, level: int, box: Box, tile_px: int, name: str, start: int) -> Node:
    """The node whose body begins at `start`. Raises CorruptMask that begins with `name` and says which field."""
    areas_N = child_areas(level, box, tile_px)
    status, at, ids_K, uniform_N, digests_N, counts_NK = _nodes().parse_body(
        np.frombuffer(data, np.uint8), start, areas_N
    )
    if status:
        raise CorruptMask(f"{name} {_WRONG[status]} (near byte {at if at >= 0 else len(data)} of {len(data)})")
    return Node(level, box, tile_px, ids_K, uniform_N, digests_N, counts_NK)


@dataclass(frozen=True)
class Manifest:
    """A stored label map: its size, its tile size and the root of its tree. Equal when height, width, tile size
    and pixels are equal."""

    height: int
    width: int
    tile_px: int
    data: bytes = field(repr=False)
    root: Node = field(repr=False, compare=False)

    @property
    def num_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile_px)

    @property
    def num_cols(self) -> int:
        """Columns of tiles."""
        return -(-self.width // self.tile_px)

    @property
    def box(self) -> Box:
        return Box(0, 0, self.height, self.width)

    @property
    def dtype(self) -> str:
        """`uint8` or `uint16`: the narrowest that holds the ids."""
        return "uint8" if self.root.ids_K[-1] <= 255 else "uint16"

    @cached_property
    def counts(self) -> dict[int, int]:
        """Pixels per class id of the whole map, by rising id; nothing is read."""
        return self.root.as_entry(None if self.root.is_uniform else "").counts

    @cached_property
    def digest(self) -> str:
        """The mask id: `digest_of(self.to_bytes())`."""
        return digest_of(self.data)

    def to_bytes(self) -> bytes:
        """The root node: equal maps (of one tile size) give equal bytes."""
        return self.data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read the bytes of `to_bytes`. Raises CorruptMask that names the field for every other input."""
        data = bytes(data)
        if data[:4] != ROOT_MAGIC:
            raise CorruptMask(f"a mask manifest starts with {ROOT_MAGIC!r}, not {data[:4]!r}")
        height, at = _size(data, 4, "height", SIDE_MAX)
        width, at = _size(data, at, "width", SIDE_MAX)
        tile_px, at = _size(data, at, "tile_px", TILE_PX_MAX)
        level = root_level(height, width, tile_px)
        root = parse_node(data, level, Box(0, 0, height, width), tile_px, "manifest", at)
        return cls(height, width, tile_px, data, root)

    @classmethod
    def of_root(cls, root: Node) -> "Manifest":
        """The manifest of a root node."""
        data = _root_head(root.box.height, root.box.width, root.tile_px) + root.body()
        return cls(root.box.height, root.box.width, root.tile_px, data, root)


def only_tile(data: bytes) -> tuple[int, int, str] | None:
    """(height, width, digest of the tile) of a map of one tile, from the bytes of its manifest; None of any other.

    For bytes that are known to be those of a manifest: they are not checked further.
    """
    if not data.startswith(ROOT_MAGIC):
        return None
    height, width, place = _nodes().only_tile(np.frombuffer(data, np.uint8), len(ROOT_MAGIC))
    return (height, width, data[place : place + 32].hex()) if place >= 0 else None


@lru_cache(maxsize=1)
def _nodes() -> Any:
    from terrazzo_masks.kernels import nodes

    return nodes


@lru_cache(maxsize=256)
def _root_head(height: int, width: int, tile_px: int) -> bytes:
    """The bytes of a root before its body; numbers are LEB128, as `kernels.numbers.write_number` puts them."""
    head = bytearray(ROOT_MAGIC)
    for number in (height, width, tile_px):
        while number >= 128:
            head.append(number & 127 | 128)
            number >>= 7
        head.append(number)
    return bytes(head)


def _size(data: bytes, at: int, name: str, most: int) -> tuple[int, int]:
    """(a number of the head, the place after it); LEB128 in its shortest form."""
    value = shift = 0
    said = "no number"
    while at < len(data) and shift <= 56:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if 1 <= value <= most and (byte > 0 or shift == 0):
                return value, at
            said = str(value) if byte > 0 or shift == 0 else said
            break
        shift += 7
    raise CorruptMask(f"manifest {name} is {said}: 1 to {most} are allowed")


def require_sizes(height: int, width: int, tile_px: int) -> None:
    """Raises UnsupportedMask when a map of that size cannot be stored."""
    for name, value, most in (
        ("height", height, SIDE_MAX),
        ("width", width, SIDE_MAX),
        ("tile_px", tile_px, TILE_PX_MAX),
    ):
        if not 1 <= value <= most:
            raise UnsupportedMask(f"{name} is {value}: 1 to {most} are allowed")
