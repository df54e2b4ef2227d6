"""What changed between two label maps: how many pixels went from which class to which."""

from dataclasses import dataclass

import numpy as np

from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import LabelMap, require_labels, require_same_shape
from terrazzo_masks.tiles import Get, Manifest, TileRef, read_region, read_tile

Flow = dict[tuple[int, int], int]


@dataclass(frozen=True)
class ManifestDiff:
    """`flow` maps (from class id, to class id) to pixels; `changed_tiles` are (row, col) in tiles of the old
    mask."""

    changed_pixels: int
    flow: Flow
    changed_tiles: tuple[tuple[int, int], ...]


def flow(old_HW: LabelMap, new_HW: LabelMap) -> Flow:
    """Pixels by (old class id, new class id), changed pixels only, by rising ids. The dtypes may differ.

    Raises ShapeMismatch when the maps differ in size.
    """
    require_labels(old_HW, "old label map")
    require_labels(new_HW, "new label map")
    require_same_shape(old_HW, new_HW, "old and new label map")
    changed_HW = old_HW != new_HW
    pairs = old_HW[changed_HW].astype(np.uint32) << 16 | new_HW[changed_HW]
    keys, pixels = np.unique(pairs, return_counts=True)
    return {(int(key) >> 16, int(key) & 0xFFFF): int(n) for key, n in zip(keys, pixels, strict=True)}


def diff_manifests(old: Manifest, new: Manifest, get: Get) -> ManifestDiff:
    """Compare two stored masks; decodes only the tiles whose refs differ.

    Raises ShapeMismatch when the masks differ in size, CorruptMask when a tile cannot be read.
    """
    if (old.height, old.width) != (new.height, new.width):
        raise ShapeMismatch(
            f"the old mask is {old.height} x {old.width}, the new one {new.height} x {new.width}: no comparison"
        )
    total: Flow = {}
    changed_tiles = []
    for tile in old.tiles:
        tile_flow = _tile_flow(old, tile, new, get)
        if tile_flow:
            changed_tiles.append((tile.row, tile.col))
        for pair, pixels in tile_flow.items():
            total[pair] = total.get(pair, 0) + pixels
    return ManifestDiff(sum(total.values()), dict(sorted(total.items())), tuple(changed_tiles))


def _tile_flow(old: Manifest, tile: TileRef, new: Manifest, get: Get) -> Flow:
    if old.tile_px != new.tile_px:
        return flow(read_tile(old, tile, get), read_region(new, get, *old.box_of(tile)))
    other = new.tile(tile.row, tile.col)
    if tile.same_content(other):
        return {}
    if tile.class_id is not None and other.class_id is not None:
        return {(tile.class_id, other.class_id): tile.counts[0][1]}
    return flow(read_tile(old, tile, get), read_tile(new, other, get))
