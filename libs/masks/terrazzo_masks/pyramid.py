"""The label pyramid of a stored map: smaller versions for a viewer, from what lies under the region asked for.

Level n shows each block of 2**n x 2**n pixels as one. Every level is computed from level 0, never from the level
below, by the rule of `render.downsample_mode` with the pixel counts of the whole map: what is shown of a place
does not depend on how the map is cut into views. It is for the eye: figures are counted at level 0
(`Manifest.counts`).

A tile or subtree of one class is not read. Where blocks are as large as tiles or larger, the counts in the nodes
say all, and no tile is read. In between, a view reads at most `parts_max` parts of each level of the tree: where
there would be more, each child that is not read is drawn as a square of its most frequent class.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import Box
from terrazzo_masks.children import read_child, read_tile
from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.manifest import MIXED, Entry, Manifest, Node
from terrazzo_masks.parts import Parts
from terrazzo_masks.render import rarity
from terrazzo_masks.tiles import read_region

VIEW_PX = 256
LEVEL_MAX = 31
# A view of 256 x 256 at level 5 lies on 34 x 34 tiles of 256, the blocks around it included.
PARTS_MAX = 1_200
PREFETCH = 64

Place = tuple[Node, int]


def num_levels(manifest: Manifest, view_px: int = VIEW_PX) -> int:
    """Levels until the whole map fits into one view of `view_px` x `view_px`; 1 for a map that does already."""
    return max(0, (-(-max(manifest.height, manifest.width) // view_px) - 1).bit_length()) + 1


def level_size(manifest: Manifest, level: int) -> tuple[int, int]:
    """(height, width) of the map at a level, in blocks of 2**level pixels. Raises UnsupportedMask."""
    if not 0 <= level <= LEVEL_MAX:
        raise UnsupportedMask(f"level is {level}: 0 to {LEVEL_MAX} are allowed")
    return -(-manifest.height >> level), -(-manifest.width >> level)


def read_level(
    manifest: Manifest,
    parts: Parts,
    level: int,
    y: int,
    x: int,
    height: int,
    width: int,
    *,
    parts_max: int = PARTS_MAX,
) -> LabelMap:
    """A rectangle of a level, in blocks of that level: (height, width) in the map's dtype.

    Raises ShapeMismatch when the rectangle is empty or leaves the level, UnsupportedMask for a level out of range
    or a map whose tile size is no power of two, CorruptMask when a part cannot be read.
    """
    rows, cols = level_size(manifest, level)
    if height < 1 or width < 1 or min(y, x) < 0 or y + height > rows or x + width > cols:
        raise ShapeMismatch(
            f"region (y {y}, x {x}, {height} x {width}) leaves level {level}, which is {rows} x {cols}"
        )
    if level == 0:
        return read_region(manifest, parts, y, x, height, width)
    if manifest.tile_px & (manifest.tile_px - 1):
        raise UnsupportedMask(f"tile_px is {manifest.tile_px}: a pyramid needs a power of two")
    # Whether a thin class is shown depends on the blocks beside.
    top, left = max(0, y - 1), max(0, x - 1)
    around = Box(top, left, min(rows, y + height + 1) - top, min(cols, x + width + 1) - left)
    shown_HW = _View(manifest, parts, 1 << level, around, parts_max).shown()
    return shown_HW[y - top : y - top + height, x - left : x - left + width].astype(manifest.dtype)


class _View:
    """A region of a level being drawn: the mode of each block, and which thin classes it holds."""

    def __init__(self, manifest: Manifest, parts: Parts, factor: int, box: Box, parts_max: int) -> None:
        self._manifest, self._parts, self._factor, self._parts_max = manifest, parts, factor, parts_max
        self._box = box
        top, left = box.y * factor, box.x * factor
        bottom = min(manifest.height, (box.y + box.height) * factor)
        right = min(manifest.width, (box.x + box.width) * factor)
        self._pixels = Box(top, left, bottom - top, right - left)
        whole = manifest.root.as_entry("")
        self._num_ids = 256 if manifest.dtype == "uint8" else 65536
        self._rank_I = rarity(whole.ids_K, whole.pixels_K, self._num_ids)
        self._mode_HW = np.empty((box.height, box.width), np.uint16)
        self._thin: list[NDArray[np.int64]] = []

    def shown(self) -> NDArray[np.uint16]:
        """uint16 (height, width) of the box."""
        from terrazzo_masks.kernels.modes import show_thin

        frontier = [self._manifest.root]
        while frontier:
            below = [place for node in frontier for place in self._drawn(node)]
            if len(below) > self._parts_max:
                for node, child in below:
                    self._fill(node.box_of(child), self._mode_of(node.entry(child)))
                break
            frontier = []
            for node, child in self._announced(below):
                if node.level == 0:
                    self._draw_tile(node, child)
                else:
                    frontier.append(read_child(self._parts, node, child))
        out_HW = self._mode_HW.copy()
        if self._thin:
            show_thin(out_HW, self._mode_HW, np.concatenate(self._thin), self._rank_I)
        return out_HW

    def _drawn(self, node: Node) -> list[Place]:
        """Draw what the node knows; returns its children that must be read to be drawn."""
        if node.span_px <= self._factor:
            self._draw_counts(node)
            return []
        children = node.children_in(self._pixels)
        for child in children:
            if node.uniform_N[child] != MIXED:
                self._fill(node.box_of(child), int(node.uniform_N[child]))
        return [(node, child) for child in children if node.uniform_N[child] == MIXED]

    def _announced(self, places: list[Place]) -> Iterator[Place]:
        for start in range(0, len(places), PREFETCH):
            batch = places[start : start + PREFETCH]
            self._parts.prefetch([node.digest_of_child(child) for node, child in batch])
            yield from batch

    def _blocks(self, pixels: Box) -> tuple[slice, slice]:
        """Where the blocks of a box of pixels lie in the view; blocks outside of it are left out."""
        rows, cols = (
            slice(max(0, start // self._factor - first), max(0, -(-(start + size) // self._factor) - first))
            for start, size, first in (
                (pixels.y, pixels.height, self._box.y),
                (pixels.x, pixels.width, self._box.x),
            )
        )
        return rows, cols

    def _fill(self, pixels: Box, class_id: int) -> None:
        self._mode_HW[self._blocks(pixels)] = class_id

    def _mode_of(self, entry: Entry) -> int:
        order = np.lexsort((self._rank_I[entry.ids_K], entry.pixels_K))
        return int(entry.ids_K[order[-1]])

    def _draw_tile(self, node: Node, child: int) -> None:
        from terrazzo_masks.kernels.modes import modes_of_pixels

        tile = node.box_of(child)
        y0, x0 = max(tile.y, self._pixels.y), max(tile.x, self._pixels.x)
        y1 = min(tile.y + tile.height, self._pixels.y + self._pixels.height)
        x1 = min(tile.x + tile.width, self._pixels.x + self._pixels.width)
        tile_HW = read_tile(self._parts, node, child)[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
        wide_HW = tile_HW.astype(np.uint16, order="C")
        mode_HW, thin_N3 = modes_of_pixels(wide_HW, self._factor, self._rank_I, self._num_ids)
        rows, cols = self._blocks(Box(y0, x0, y1 - y0, x1 - x0))
        self._mode_HW[rows, cols] = mode_HW
        if len(thin_N3):
            thin_N3[:, :2] += (rows.start, cols.start)
            self._thin.append(thin_N3)

    def _draw_counts(self, node: Node) -> None:
        """Blocks that hold whole children: their counts are sums of the children's."""
        row_N, col_N = np.divmod(np.arange(node.num_children), node.num_cols)
        row_N = (node.box.y + row_N * node.span_px) // self._factor - self._box.y
        col_N = (node.box.x + col_N * node.span_px) // self._factor - self._box.x
        seen_N = (row_N >= 0) & (row_N < self._box.height) & (col_N >= 0) & (col_N < self._box.width)
        if not seen_N.any():
            return
        block_B, of_N = np.unique(row_N[seen_N] * self._box.width + col_N[seen_N], return_inverse=True)
        # The rarest class first: of equally frequent ones `argmax` takes the first.
        order_K = np.argsort(-self._rank_I[node.ids_K])
        ids_K = node.ids_K[order_K]
        pixels_BK = np.zeros((block_B.size, ids_K.size), np.int64)
        np.add.at(pixels_BK, of_N, node.counts_NK[seen_N][:, order_K])
        row_B, col_B = np.divmod(block_B, self._box.width)
        mode_B = ids_K[pixels_BK.argmax(axis=1)]
        self._mode_HW[row_B, col_B] = mode_B
        enough_B = -(-pixels_BK.sum(axis=1) // self._factor)
        thin_BK = (pixels_BK >= enough_B[:, None]) & (ids_K != 0) & (ids_K != mode_B[:, None])
        block, place = np.nonzero(thin_BK)
        self._thin.append(np.stack([row_B[block], col_B[block], ids_K[place]], axis=1).astype(np.int64))
