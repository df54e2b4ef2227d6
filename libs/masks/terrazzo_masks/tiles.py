"""A label map as a manifest over content-addressed tiles: the stored form of a layer of a mask.

A map is cut into squares of `TILE_PX`; tiles, and whole subtrees, of one class are nothing but a class id. Two
masks share the tiles and nodes in which they agree, so that a correction costs what it changed, and a map of
100,000 x 100,000 pixels is created by one node and painted and read by region. The tree and its bytes: `manifest`
and docs/storage-format.md; the store that keeps the pieces: `parts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from terrazzo_masks.boxes import Box
from terrazzo_masks.changes import Flow, KeyedFlow, flow_of
from terrazzo_masks.children import (
    add_uniform,
    announce,
    read_child,
    read_tile,
    replace_tile,
    store_node,
    store_root,
    store_tile,
)
from terrazzo_masks.errors import CorruptMask, ShapeMismatch
from terrazzo_masks.labels import LabelMap, dtype_for, require_labels
from terrazzo_masks.manifest import (
    MIXED,
    TILE_PX_MAX,
    Manifest,
    Node,
    child_boxes,
    make_node,
    require_sizes,
    root_level,
    uniform_node,
)
from terrazzo_masks.paint import paint
from terrazzo_masks.parts import MemoryParts, Parts, digest_of, tile_digest

__all__ = [
    "TILE_PX",
    "TILE_PX_MAX",
    "Manifest",
    "MemoryParts",
    "Needed",
    "Parts",
    "TileRef",
    "blank",
    "build",
    "digest_of",
    "digests_of",
    "load",
    "paint",
    "read",
    "read_region",
    "rebuild",
    "tile_digest",
    "tiles_of",
]

TILE_PX = 256


@dataclass(frozen=True)
class TileRef:
    """One tile: either `class_id` (a tile of that class alone) or `digest` is set.

    `row` and `col` count tiles, `box` is the tile's place in pixels, `counts` maps class ids to pixels by rising
    id and sums to the tile's area.
    """

    row: int
    col: int
    box: Box
    class_id: int | None
    digest: str | None
    counts: dict[int, int]


class Needed(NamedTuple):
    """Digests of the nodes and of the tiles that a mask needs, each once; the mask id is the first node."""

    nodes: tuple[str, ...]
    tiles: tuple[str, ...]


def build(labels_HW: LabelMap, parts: Parts, *, tile_px: int = TILE_PX, base: Manifest | None = None) -> Manifest:
    """Store a label map (H, W). The manifest does not depend on the map's dtype, nor on `base`.

    `base` is an earlier version of the map: what it has already is not handed to the store again, and its tiles
    are named to the store as what the new ones replace. A `base` of another size or tile size is of no use and
    ignored. Raises UnsupportedMask when `labels_HW` is not a label map.
    """
    require_labels(labels_HW)
    height, width = labels_HW.shape
    require_sizes(height, width, tile_px)
    if base is not None and (base.height, base.width, base.tile_px) != (height, width, tile_px):
        base = None
    level = root_level(height, width, tile_px)
    root = _built(labels_HW, level, Box(0, 0, height, width), tile_px, parts, None if base is None else base.root)
    return store_root(parts, root, base)


def rebuild(labels_HW: LabelMap, parts: Parts, base: Manifest) -> tuple[Manifest, Flow]:
    """As `build` in the base's tile size, of its later version; also what changed: pixels by (old id, new id).

    Of the base, the tiles that changed are read. Raises ShapeMismatch for a map of another size, UnsupportedMask,
    CorruptMask when a part of the base is damaged or not what its parent says.
    """
    require_labels(labels_HW)
    if labels_HW.shape != (base.height, base.width):
        raise ShapeMismatch(f"a map {labels_HW.shape} is no later version of one {(base.height, base.width)}")
    flow: KeyedFlow = {}
    root = _built(labels_HW, base.root.level, base.box, base.tile_px, parts, base.root, flow)
    return store_root(parts, root, base), flow_of(flow)


def _built(
    labels_HW: LabelMap,
    level: int,
    box: Box,
    tile_px: int,
    parts: Parts,
    base: Node | None,
    flow: KeyedFlow | None = None,
) -> Node:
    """A node over `box`, which replaces `base`; `flow` is told what changed, where it is asked for."""
    entries = []
    if base is not None and base.num_children > 1 and (level > 0 or flow is not None):
        announce(parts, base, range(base.num_children))
    for child, child_box in enumerate(child_boxes(level, box, tile_px)):
        old = base.entry(child) if base is not None else None
        if level == 0:
            y, x, height, width = child_box
            tile_HW = labels_HW[y : y + height, x : x + width]
            if old is None or flow is None:
                entries.append(store_tile(parts, tile_HW, old))
            else:
                entries.append(replace_tile(parts, tile_HW, old, flow))
            continue
        below = read_child(parts, base, child) if base is not None and old is not None and old.digest else None
        told = None if below is None else flow
        node = _built(labels_HW, level - 1, child_box, tile_px, parts, below, told)
        entries.append(store_node(parts, node, old))
        if old is not None and below is None and flow is not None:
            add_uniform(old, entries[-1], flow)
    return make_node(level, box, tile_px, entries)


def blank(height: int, width: int, parts: Parts, class_id: int = 0, tile_px: int = TILE_PX) -> Manifest:
    """Store a map of one class: one node, however large. Raises UnsupportedMask for a size or id out of range."""
    require_sizes(height, width, tile_px)
    dtype_for(class_id)
    root = uniform_node(root_level(height, width, tile_px), Box(0, 0, height, width), tile_px, class_id)
    return store_root(parts, root, None)


def load(mask_id: str, parts: Parts) -> Manifest:
    """The manifest of a stored mask. Raises CorruptMask when its bytes are not those of the id."""
    data = parts.node(mask_id)
    if digest_of(data) != mask_id:
        raise CorruptMask(f"mask {mask_id}: its manifest has the digest {digest_of(data)}")
    manifest = Manifest.from_bytes(data)
    vars(manifest)["digest"] = mask_id  # as `manifest.digest` would find out again
    return manifest


def read(manifest: Manifest, parts: Parts, *, max_pixels: int = 2**31) -> LabelMap:
    """The whole label map (H, W) in the manifest's dtype.

    Raises CorruptMask when a part is damaged, is not the one its parent describes, or the map exceeds
    `max_pixels`.
    """
    if manifest.height * manifest.width > max_pixels:
        raise CorruptMask(f"a mask of {manifest.height} x {manifest.width} pixels: up to {max_pixels} are allowed")
    if manifest.root.num_children == 1 and manifest.root.level == 0:
        return read_tile(parts, manifest.root, 0).copy()
    return read_region(manifest, parts, 0, 0, manifest.height, manifest.width)


def read_region(manifest: Manifest, parts: Parts, y: int, x: int, height: int, width: int) -> LabelMap:
    """The rectangle of `height` x `width` pixels at (y, x); reads only the nodes and tiles that it meets.

    Raises ShapeMismatch when the rectangle is empty or leaves the map, CorruptMask as `read` does.
    """
    box = require_region(manifest, y, x, height, width)
    out_HW: LabelMap = np.empty((height, width), dtype=np.dtype(manifest.dtype))
    _fill(out_HW, manifest.root, box, parts)
    return out_HW


def require_region(manifest: Manifest, y: int, x: int, height: int, width: int) -> Box:
    """The region as a box. Raises ShapeMismatch when it is empty or leaves the map."""
    if height < 1 or width < 1 or min(y, x) < 0 or y + height > manifest.height or x + width > manifest.width:
        raise ShapeMismatch(
            f"region (y {y}, x {x}, {height} x {width}) leaves a map of {manifest.height} x {manifest.width}"
        )
    return Box(y, x, height, width)


def _fill(out_HW: LabelMap, node: Node, box: Box, parts: Parts) -> None:
    """Write what `node` knows of `box` into `out_HW`, which covers `box`."""
    children = node.children_in(box)
    announce(parts, node, children)
    for child in children:
        top, left, height, width = node.box_of(child)
        y0, y1 = max(box.y, top), min(box.y + box.height, top + height)
        x0, x1 = max(box.x, left), min(box.x + box.width, left + width)
        target_HW = out_HW[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x]
        class_id = int(node.uniform_N[child])
        if class_id != MIXED:
            target_HW[...] = class_id
        elif node.level == 0:
            target_HW[...] = read_tile(parts, node, child)[y0 - top : y1 - top, x0 - left : x1 - left]
        else:
            _fill(target_HW, read_child(parts, node, child), Box(y0, x0, y1 - y0, x1 - x0), parts)


def tiles_of(
    manifest: Manifest,
    parts: Parts,
    box: Box | tuple[int, int, int, int] | None = None,
    class_id: int | None = None,
) -> Iterator[TileRef]:
    """The tiles, or those that meet `box` (y, x, height, width) or hold `class_id`; no tile is read.

    The order is that of the tree, the same each time. Nodes below which there is nothing to be found are not read.
    Raises ShapeMismatch when the box is empty or leaves the map.
    """
    region = manifest.box if box is None else require_region(manifest, *box)
    return _tiles_below(manifest.root, parts, region, class_id)


def _tiles_below(node: Node, parts: Parts, box: Box, class_id: int | None) -> Iterator[TileRef]:
    children = node.children_in(box)
    if class_id is not None:
        pixels_N = node.counts_NK[:, node.ids_K == class_id].sum(axis=1)
        children = [child for child in children if pixels_N[child]]
    if node.level > 0:
        announce(parts, node, children)
        for child in children:
            yield from _tiles_below(read_child(parts, node, child), parts, box, class_id)
        return
    for child in children:
        place = node.box_of(child)
        entry = node.entry(child)
        mixed = entry.class_id == MIXED
        yield TileRef(
            place.y // node.tile_px,
            place.x // node.tile_px,
            place,
            None if mixed else entry.class_id,
            entry.digest.hex() if mixed else None,
            entry.counts,
        )


def digests_of(manifest: Manifest, parts: Parts, seen: set[str] | None = None) -> Needed:
    """The nodes and tiles that a mask needs: for garbage collection, size and verification. No tile is read.

    What is in `seen` is left out with all that is below it, and what is found is added to it: over many masks that
    share their parts, each is then visited once.
    """
    known = set() if seen is None else seen
    nodes: list[str] = []
    tiles: list[str] = []
    if manifest.digest in known:
        return Needed((), ())
    known.add(manifest.digest)
    nodes.append(manifest.digest)
    frontier = [manifest.root]
    while frontier:
        below: list[Node] = []
        for node in frontier:
            new = []
            for child in np.flatnonzero(node.uniform_N == MIXED).tolist():
                digest = node.digest_of_child(child)
                if digest not in known:
                    known.add(digest)
                    new.append(child)
                    (nodes if node.level else tiles).append(digest)
            if node.level:
                announce(parts, node, new)
                below += [read_child(parts, node, child) for child in new]
        frontier = below
    return Needed(tuple(nodes), tuple(tiles))
