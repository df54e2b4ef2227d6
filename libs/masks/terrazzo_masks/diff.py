"""What changed between two label maps: how many pixels went from which class to which, and where."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from terrazzo_masks.boxes import Box
from terrazzo_masks.changes import Change, Flow, around, change_between, summed, uniform_change
from terrazzo_masks.children import announce, read_child, read_tile
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import LabelMap, require_labels, require_same_shape
from terrazzo_masks.manifest import MIXED, Manifest, Node
from terrazzo_masks.parts import Parts
from terrazzo_masks.tiles import read_region

Place = tuple[int, int]


@dataclass(frozen=True)
class ManifestDiff:
    """`flow` maps (from class id, to class id) to pixels; `changed_tiles` are (row, col) in tiles of the old mask;
    `box` is the smallest that holds every changed pixel."""

    changed_pixels: int
    flow: Flow
    changed_tiles: tuple[tuple[int, int], ...]
    box: Box | None = None


def flow(old_HW: LabelMap, new_HW: LabelMap) -> Flow:
    """Pixels by (old class id, new class id), changed pixels only, by rising ids. The dtypes may differ.

    Raises ShapeMismatch when the maps differ in size.
    """
    require_labels(old_HW, "old label map")
    require_labels(new_HW, "new label map")
    require_same_shape(old_HW, new_HW, "old and new label map")
    change = change_between(old_HW, new_HW, 0, 0)
    return summed([] if change is None else [change])


def diff_manifests(old: Manifest, new: Manifest, parts: Parts) -> ManifestDiff:
    """Compare two stored masks; equal subtrees are not read, and of tiles only those that differ.

    Raises ShapeMismatch when the masks differ in size, CorruptMask when a part cannot be read.
    """
    if (old.height, old.width) != (new.height, new.width):
        raise ShapeMismatch(
            f"the old mask is {old.height} x {old.width}, the new one {new.height} x {new.width}: no comparison"
        )
    changed_tiles: list[Place] = []
    changes = []
    between = _below(old.root, new.root, parts) if old.tile_px == new.tile_px else _apart(old.root, new, parts)
    for tiles, change in between:
        changed_tiles += tiles
        changes.append(change)
    total = summed(changes)
    return ManifestDiff(sum(total.values()), total, tuple(sorted(changed_tiles)), around(changes))


def _tiles_in(box: Box, tile_px: int) -> list[Place]:
    """(row, col) of the tiles that share a pixel with a box."""
    rows = range(box.y // tile_px, (box.y + box.height - 1) // tile_px + 1)
    cols = range(box.x // tile_px, (box.x + box.width - 1) // tile_px + 1)
    return [(row, col) for row in rows for col in cols]


def _below(old: Node, new: Node, parts: Parts) -> Iterator[tuple[list[Place], Change]]:
    """(its tiles, what changed) of each tile, or subtree of one class in both, that differs between two nodes."""
    children = np.flatnonzero(new.differs_from(old)).tolist()
    announce(parts, old, children)
    announce(parts, new, children)
    for child in children:
        box = old.box_of(child)
        before, after = int(old.uniform_N[child]), int(new.uniform_N[child])
        if before != MIXED and after != MIXED:
            yield _tiles_in(box, old.tile_px), uniform_change(before, after, box)
            continue
        if old.level > 0:
            yield from _below(read_child(parts, old, child), read_child(parts, new, child), parts)
            continue
        change = change_between(read_tile(parts, old, child), read_tile(parts, new, child), box.y, box.x)
        if change is not None:
            yield _tiles_in(box, old.tile_px), change


def _apart(old: Node, new: Manifest, parts: Parts) -> Iterator[tuple[list[Place], Change]]:
    """As `_below`, for masks of different tile sizes: each tile of the old one against that region of the new."""
    announce(parts, old, range(old.num_children))
    for child in range(old.num_children):
        if old.level > 0:
            yield from _apart(read_child(parts, old, child), new, parts)
            continue
        box = old.box_of(child)
        change = change_between(read_tile(parts, old, child), read_region(new, parts, *box), box.y, box.x)
        if change is not None:
            yield _tiles_in(box, old.tile_px), change
