"""Painting on a stored label map: a new manifest that shares with the old one all that was not painted over."""

import numpy as np

from terrazzo_masks.boxes import Box
from terrazzo_masks.children import announce, read_child, read_tile, store_node, store_root, store_tile
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import BoolMap, LabelMap, require_labels, require_mask, require_same_shape
from terrazzo_masks.manifest import MIXED, Entry, Manifest, Node
from terrazzo_masks.parts import Parts


def paint(
    manifest: Manifest, patch_HW: LabelMap, y: int, x: int, parts: Parts, where_HW: BoolMap | None = None
) -> Manifest:
    """Write `patch_HW` with its first pixel at (y, x); where `where_HW` is given, only where it is True.

    Reads and stores only the tiles that the patch meets and the nodes above them; tiles that it covers whole are
    not read. The result is what `build` of the painted map would give, and `manifest` itself if no pixel changes.
    Raises ShapeMismatch when the patch leaves the map, UnsupportedMask when it is not a label map.
    """
    require_labels(patch_HW, "patch")
    height, width = patch_HW.shape
    if where_HW is not None:
        require_mask(where_HW, "where")
        require_same_shape(patch_HW, where_HW, "patch and where")
    if min(y, x) < 0 or y + height > manifest.height or x + width > manifest.width:
        raise ShapeMismatch(
            f"a patch of {height} x {width} at (y {y}, x {x}) leaves a map of {manifest.height} x {manifest.width}"
        )
    stroke = _Stroke(patch_HW, where_HW, Box(y, x, height, width), parts)
    root = stroke.painted(manifest.root)
    return manifest if root is manifest.root else store_root(parts, root, manifest)


class _Stroke:
    """One patch on its way down the tree."""

    def __init__(self, patch_HW: LabelMap, where_HW: BoolMap | None, box: Box, parts: Parts) -> None:
        self._patch_HW, self._where_HW, self._box, self._parts = patch_HW, where_HW, box, parts

    def painted(self, node: Node) -> Node:
        """The node after the stroke; itself when nothing below it changes."""
        children = node.children_in(self._box)
        if node.level > 0 or self._where_HW is not None:
            announce(self._parts, node, children)
        changes = {}
        for child in children:
            old = node.entry(child)
            new = self._painted_tile(node, child, old) if node.level == 0 else self._painted_node(node, child, old)
            if not new.same(old):
                changes[child] = new
        return node.replaced(changes) if changes else node

    def _painted_node(self, node: Node, child: int, old: Entry) -> Entry:
        below = read_child(self._parts, node, child)
        after = self.painted(below)
        return old if after is below else store_node(self._parts, after, old)

    def _painted_tile(self, node: Node, child: int, old: Entry) -> Entry:
        top, left, height, width = node.box_of(child)
        y, x, patch_height, patch_width = self._box
        y0, y1 = max(y, top), min(y + patch_height, top + height)
        x0, x1 = max(x, left), min(x + patch_width, left + width)
        patch_HW = self._patch_HW[y0 - y : y1 - y, x0 - x : x1 - x]
        if self._where_HW is None and patch_HW.shape == (height, width):
            return store_tile(self._parts, patch_HW, old)
        where_HW = None if self._where_HW is None else self._where_HW[y0 - y : y1 - y, x0 - x : x1 - x]
        if where_HW is not None and not where_HW.any():
            return old
        before_HW = read_tile(self._parts, node, child)
        after_HW: LabelMap = before_HW.astype(np.promote_types(before_HW.dtype, patch_HW.dtype))
        target_HW = after_HW[y0 - top : y1 - top, x0 - left : x1 - left]
        np.copyto(target_HW, patch_HW, where=True if where_HW is None else where_HW)
        if old.class_id != MIXED and (target_HW == old.class_id).all():
            return old
        return store_tile(self._parts, after_HW, old)
