"""Three-way merging of label maps: per subtree, then per tile, then per pixel.

What one side alone changed is taken; what both changed to the same class is taken; a pixel that both changed to
different classes is a *conflict*: the merged map keeps ours there, and says where.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import Box
from terrazzo_masks.changes import Change, Flow, around, change_between, summed, uniform_change
from terrazzo_masks.children import announce, read_child, read_tile, store_node, store_root, store_tile
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.labels import BoolMap, LabelMap, require_labels, require_same_shape
from terrazzo_masks.manifest import FANOUT, MIXED, Entry, Manifest, Node
from terrazzo_masks.paint import paint
from terrazzo_masks.parts import Parts
from terrazzo_masks.tiles import blank, read_region

# Beyond these a list of conflicts is of no use to anyone: one box around all of them is given.
CONFLICTS_MAX = 256
RUNS_MAX = 1_000_000


@dataclass(frozen=True)
class MaskMerge:
    """A merged mask. `conflicts` are the boxes of the 8-connected regions of conflicting pixels, by first pixel,
    or `conflict_box` alone where there are more than `CONFLICTS_MAX`; `flow` maps (our class id, theirs) to
    conflicting pixels.
    """

    manifest: Manifest
    num_conflict_pixels: int
    conflict_box: Box | None
    conflicts: tuple[Box, ...]
    flow: Flow


def merge_labels(base_HW: LabelMap, ours_HW: LabelMap, theirs_HW: LabelMap) -> tuple[LabelMap, BoolMap]:
    """(merged, conflict): a fresh label map of the wider dtype of ours and theirs, and bool (H, W).

    Raises ShapeMismatch when the maps differ in size.
    """
    for name, labels_HW in (("base", base_HW), ("ours", ours_HW), ("theirs", theirs_HW)):
        require_labels(labels_HW, name)
        require_same_shape(base_HW, labels_HW, f"base and {name}")
    theirs_changed_HW = theirs_HW != base_HW
    ours_changed_HW = ours_HW != base_HW
    merged_HW: LabelMap = ours_HW.astype(np.promote_types(ours_HW.dtype, theirs_HW.dtype))
    np.copyto(merged_HW, theirs_HW, where=theirs_changed_HW & ~ours_changed_HW)
    conflict_HW: BoolMap = theirs_changed_HW & ours_changed_HW & (ours_HW != theirs_HW)
    return merged_HW, conflict_HW


def merge_manifests(base: Manifest, ours: Manifest, theirs: Manifest, parts: Parts) -> MaskMerge:
    """Merge two stored masks that come from `base`. Only what both sides changed is read; the rest goes by digest.

    The merged mask has our tile size. Raises ShapeMismatch when the masks differ in size, CorruptMask when a part
    cannot be read.
    """
    for name, other in (("base", base), ("theirs", theirs)):
        if (other.height, other.width) != (ours.height, ours.width):
            raise ShapeMismatch(
                f"ours is {ours.height} x {ours.width}, {name} is {other.height} x {other.width}: no merge"
            )
    base, theirs = (_in_tiles_of(ours.tile_px, other, parts) for other in (base, theirs))
    merging = _Merging(parts)
    root = merging.merged(base.root, ours.root, theirs.root)
    manifest = ours if root is ours.root else store_root(parts, root, ours)
    return MaskMerge(
        manifest,
        merging.num_pixels,
        around(merging.changes),
        merging.boxes(),
        summed(merging.changes),
    )


class _Merging:
    """One merge on its way down three trees; collects the conflicts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._runs: list[NDArray[np.int64]] = []
        self._num_runs = 0
        self.num_pixels = 0
        self.changes: list[Change] = []

    def merged(self, base: Node, ours: Node, theirs: Node) -> Node:
        """The merged node; `ours` itself when nothing comes from theirs."""
        theirs_changed_N, ours_changed_N = theirs.differs_from(base), ours.differs_from(base)
        taken = np.flatnonzero(theirs_changed_N & ~ours_changed_N).tolist()
        both = np.flatnonzero(theirs_changed_N & ours_changed_N & theirs.differs_from(ours)).tolist()
        for node in (base, ours, theirs):
            announce(self._parts, node, both)
        changes = {child: theirs.entry(child) for child in taken}
        for child in both:
            ids = [int(node.uniform_N[child]) for node in (base, ours, theirs)]
            if MIXED not in ids:
                self._note_box(ids[1], ids[2], ours.box_of(child))
                continue
            old = ours.entry(child)
            merge = self._merged_node if ours.level > 0 else self._merged_tile
            new = merge(base, ours, theirs, child, old)
            if not new.same(old):
                changes[child] = new
        return ours.replaced(changes) if changes else ours

    def _merged_node(self, base: Node, ours: Node, theirs: Node, child: int, old: Entry) -> Entry:
        below = read_child(self._parts, ours, child)
        after = self.merged(read_child(self._parts, base, child), below, read_child(self._parts, theirs, child))
        return old if after is below else store_node(self._parts, after, old)

    def _merged_tile(self, base: Node, ours: Node, theirs: Node, child: int, old: Entry) -> Entry:
        box = ours.box_of(child)
        base_HW, ours_HW, theirs_HW = (read_tile(self._parts, node, child) for node in (base, ours, theirs))
        merged_HW, conflict_HW = merge_labels(base_HW, ours_HW, theirs_HW)
        if conflict_HW.any():
            self._note(ours_HW, theirs_HW, conflict_HW, box)
        return store_tile(self._parts, merged_HW, old)

    def _note_box(self, our_id: int, their_id: int, box: Box) -> None:
        """A conflict in each pixel of a box."""
        self.num_pixels += box.height * box.width
        self.changes.append(uniform_change(our_id, their_id, box))
        self._num_runs += box.height
        if self._num_runs <= RUNS_MAX:
            rows = np.arange(box.y, box.y + box.height)
            self._runs.append(np.stack([rows, rows * 0 + box.x, rows * 0 + box.x + box.width], axis=1))

    def _note(self, ours_HW: LabelMap, theirs_HW: LabelMap, conflict_HW: BoolMap, box: Box) -> None:
        self.num_pixels += int(np.count_nonzero(conflict_HW))
        ours_HW, theirs_HW = np.where(conflict_HW, ours_HW, 0), np.where(conflict_HW, theirs_HW, 0)
        change = change_between(ours_HW, theirs_HW, box.y, box.x)
        assert change is not None
        self.changes.append(change)
        runs_N3 = _runs(conflict_HW, box.y, box.x)
        self._num_runs += len(runs_N3)
        if self._num_runs <= RUNS_MAX:
            self._runs.append(runs_N3)

    def boxes(self) -> tuple[Box, ...]:
        """The conflicts as boxes; one around all of them where they are too many."""
        from terrazzo_masks.kernels.conflicts import boxes_of_runs

        around_all = around(self.changes)
        if around_all is None:
            return ()
        if self._num_runs > RUNS_MAX:
            return (around_all,)
        runs_N3 = np.concatenate(self._runs)
        boxes_M4 = boxes_of_runs(runs_N3[np.lexsort((runs_N3[:, 1], runs_N3[:, 0]))])
        if len(boxes_M4) > CONFLICTS_MAX:
            return (around_all,)
        return tuple(Box(*box) for box in boxes_M4.tolist())


def _runs(mask_HW: BoolMap, y: int, x: int) -> NDArray[np.int64]:
    """(N, 3) y, first x, x after the last, of the True runs of each row; the first pixel is at (y, x)."""
    edges_HW: NDArray[Any] = np.diff(mask_HW.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(edges_HW == 1)
    stops = np.nonzero(edges_HW == -1)[1]
    return np.stack([rows + y, starts + x, stops + x], axis=1).astype(np.int64)


def _in_tiles_of(tile_px: int, manifest: Manifest, parts: Parts) -> Manifest:
    """The same map cut into tiles of another size, a region at a time."""
    if manifest.tile_px == tile_px:
        return manifest
    again = blank(manifest.height, manifest.width, parts, next(iter(manifest.counts)), tile_px)
    step = tile_px * FANOUT
    for y in range(0, manifest.height, step):
        for x in range(0, manifest.width, step):
            height, width = min(step, manifest.height - y), min(step, manifest.width - x)
            again = paint(again, read_region(manifest, parts, y, x, height, width), y, x, parts)
    return again
