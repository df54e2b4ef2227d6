"""Children of a node, tiles and nodes, read from a store with every check, and stored where they are new."""

from collections.abc import Iterable

import numpy as np

from terrazzo_masks.changes import KeyedFlow, change_between
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap, class_pixels, dtype_for
from terrazzo_masks.manifest import (
    FANOUT,
    MIXED,
    NODE_MAGIC,
    Entry,
    Manifest,
    Node,
    parse_node,
    uniform_entry,
    uniform_node,
)
from terrazzo_masks.parts import Parts, digest_of, narrowest, tile_digest


def read_child(parts: Parts, parent: Node, child: int) -> Node:
    """The node below, as stored or made up if it is of one class.

    Raises CorruptMask when its bytes are not those of its digest, are not canonical, or are not what the parent
    says.
    """
    level, box = parent.level - 1, parent.box_of(child)
    class_id = int(parent.uniform_N[child])
    if class_id != MIXED:
        return uniform_node(level, box, parent.tile_px, class_id)
    digest = parent.digest_of_child(child)
    data = parts.node(digest)
    if digest_of(data) != digest:
        raise CorruptMask(f"node {digest}: its bytes have the digest {digest_of(data)}")
    span = parent.tile_px * FANOUT**level
    num_rows, num_cols = -(-box.height // span), -(-box.width // span)
    head = NODE_MAGIC + bytes((level, (num_rows - 1) << 4 | (num_cols - 1)))
    if data[: len(head)] != head:
        raise CorruptMask(
            f"node {digest} header is {data[: len(head)].hex()}: its place in the tree needs {head.hex()}"
        )
    node = parse_node(data, level, box, parent.tile_px, f"node {digest}", len(head))
    said = parent.entry(child)
    if not np.array_equal(node.ids_K, said.ids_K) or not np.array_equal(node.counts_NK.sum(axis=0), said.pixels_K):
        raise CorruptMask(f"node {digest} pixels: they are other classes or counts than its parent says")
    return node


def read_tile(parts: Parts, parent: Node, child: int) -> LabelMap:
    """The pixels of a tile (a child at level 0), in its narrowest dtype; not to be written to unless of one class.

    Raises CorruptMask when they are not those of its digest or not what the parent says.
    """
    box = parent.box_of(child)
    class_id = int(parent.uniform_N[child])
    if class_id != MIXED:
        return np.full((box.height, box.width), class_id, dtype=dtype_for(class_id))
    digest = parent.digest_of_child(child)
    tile_HW = parts.tile(digest)
    if tile_HW.shape != (box.height, box.width):
        raise CorruptMask(f"tile {digest} is {tile_HW.shape}: its node says {(box.height, box.width)}")
    if tile_digest(tile_HW) != digest:
        raise CorruptMask(f"tile {digest}: its pixels have another digest")
    said = parent.entry(child)
    ids_K, pixels_K = class_pixels(narrowest(tile_HW))
    if not np.array_equal(ids_K, said.ids_K) or not np.array_equal(pixels_K, said.pixels_K):
        raise CorruptMask(f"tile {digest} holds other classes or pixel counts than its node says")
    return tile_HW


def announce(parts: Parts, node: Node, children: Iterable[int]) -> None:
    """Tell the store which of a node's children will be read."""
    wanted = [node.digest_of_child(child) for child in children if node.uniform_N[child] == MIXED]
    if wanted:
        parts.prefetch(wanted)


def store_tile(parts: Parts, tile_HW: LabelMap, old: Entry | None) -> Entry:
    """The entry of a tile; it is handed to the store unless it is of one class or the one that it replaces."""
    pixels_HW = narrowest(tile_HW)
    ids_K, pixels_K = class_pixels(pixels_HW)
    if ids_K.size == 1:
        return Entry(int(ids_K[0]), b"", ids_K, pixels_K)
    base = old.digest.hex() if old is not None and old.digest else None
    digest = tile_digest(pixels_HW)
    if digest != base:
        parts.put_tile(pixels_HW, base, digest)
    return Entry(MIXED, bytes.fromhex(digest), ids_K, pixels_K)


def replace_tile(parts: Parts, tile_HW: LabelMap, old: Entry, flow: KeyedFlow) -> Entry:
    """As `store_tile`, of a tile that replaces `old`; what changed is added to `flow`.

    The old tile is read if it is another, and the new one's counts follow from what changed. Raises CorruptMask
    when the old tile is not what its node says.
    """
    if old.class_id != MIXED:
        new = store_tile(parts, tile_HW, old)
        add_uniform(old, new, flow)
        return new
    pixels_HW = narrowest(tile_HW)
    base, digest = old.digest.hex(), tile_digest(pixels_HW)
    if digest == base:
        return old
    before_HW = parts.tile(base)
    if before_HW.shape != pixels_HW.shape:
        raise CorruptMask(f"tile {base} is {before_HW.shape}: its node says {pixels_HW.shape}")
    change = change_between(before_HW, pixels_HW, 0, 0)
    counts = old.counts
    for key, pixels in () if change is None else change.pairs():
        flow[key] = flow.get(key, 0) + pixels
        before, after = key >> 16, key & 0xFFFF
        counts[before] = counts.get(before, 0) - pixels
        counts[after] = counts.get(after, 0) + pixels
    if change is None or min(counts.values()) < 0:
        raise CorruptMask(f"tile {base} holds other pixels than its digest and its node say")
    held = sorted(item for item in counts.items() if item[1])
    ids_K, pixels_K = np.array([i for i, _ in held], np.int32), np.array([n for _, n in held], np.int64)
    if ids_K.size == 1:
        return Entry(int(ids_K[0]), b"", ids_K, pixels_K)
    parts.put_tile(pixels_HW, base, digest, change.box)
    return Entry(MIXED, bytes.fromhex(digest), ids_K, pixels_K)


def add_uniform(old: Entry, new: Entry, flow: KeyedFlow) -> None:
    """Add to `flow` what changed between two children of one place, of which the old one is of one class."""
    for class_id, pixels in new.counts.items():
        if class_id != old.class_id:
            key = old.class_id << 16 | class_id
            flow[key] = flow.get(key, 0) + pixels


def store_node(parts: Parts, node: Node, old: Entry | None) -> Entry:
    """The entry of a node; it is handed to the store unless it is of one class or the one that it replaces."""
    if node.is_uniform:
        return uniform_entry(int(node.ids_K[0]), node.box.height * node.box.width)
    data = node.to_bytes()
    base = old.digest.hex() if old is not None and old.digest else None
    digest = digest_of(data)
    if digest != base:
        parts.put_node(data, base)
    return node.as_entry(digest)


def store_root(parts: Parts, root: Node, old: Manifest | None) -> Manifest:
    """The manifest of a root, handed to the store unless it is the one that it replaces."""
    manifest = Manifest.of_root(root)
    if old is None or manifest.data != old.data:
        # Noted as what `manifest.digest` would find out again.
        vars(manifest)["digest"] = parts.put_node(manifest.data, None if old is None else old.digest)
    return manifest
