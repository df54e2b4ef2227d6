"""Connected regions of one class, and the small ones that are likely slips of the hand.

All classes are labelled in one pass, so that the cost does not grow with their number. A region is 8-connected by
default: a thin diagonal line is one region. A small region is called

    hole     unlabelled pixels that labelled ones enclose;
    island   a labelled region that a single other labelled class encloses;
    sliver   a thin labelled region between two or more classes, or along the image's border.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import Box
from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import UNLABELLED, BoolMap, LabelMap, require_labels


@dataclass(frozen=True)
class Component:
    """A connected region: its class, area and bounding box (first row `y`, first column `x`), in pixels."""

    class_id: int
    area_px: int
    y: int
    x: int
    height: int
    width: int

    @property
    def box(self) -> Box:
        """The bounding box."""
        return Box(self.y, self.x, self.height, self.width)


def label_components(labels_HW: LabelMap, connectivity: int = 8) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number the connected regions of equal class, unlabelled ones too.

    Returns (component_HW int32, 0..N-1 in no promised order; class_N int64, the class id of each).
    Raises UnsupportedMask when `connectivity` is neither 4 nor 8.
    """
    import cv2

    require_labels(labels_HW)
    if connectivity not in (4, 8):
        raise UnsupportedMask(f"connectivity is 4 or 8, not {connectivity}")
    height, width = labels_HW.shape
    # A grid with a site per pixel and a site between each two neighbours, open where they are of one class: binary
    # labelling of this grid labels every class at once.
    sites = np.zeros((2 * height - 1, 2 * width - 1), dtype=np.uint8)
    sites[::2, ::2] = 1
    sites[1::2, ::2] = labels_HW[1:] == labels_HW[:-1]
    sites[::2, 1::2] = labels_HW[:, 1:] == labels_HW[:, :-1]
    _, numbered = cv2.connectedComponents(sites, connectivity=4, ltype=cv2.CV_32S)
    component_HW: NDArray[np.int32] = numbered[::2, ::2].astype(np.int32) - np.int32(1)
    num_components = int(component_HW.max()) + 1
    class_N = np.zeros(num_components, dtype=np.int64)
    class_N[component_HW.ravel()] = labels_HW.ravel()
    if connectivity == 8:
        return _join_diagonals(labels_HW, component_HW, class_N)
    return component_HW, class_N


def components(labels_HW: LabelMap, class_id: int | None = None, *, connectivity: int = 8) -> list[Component]:
    """The regions of one class, or of every class but unlabelled, in the order of their first pixels.

    `class_id=0` gives the unlabelled regions. Raises UnsupportedMask when `labels_HW` is not a label map.
    """
    component_HW, class_N = label_components(labels_HW, connectivity)
    wanted_N = class_N != UNLABELLED if class_id is None else class_N == class_id
    return _describe(component_HW, class_N, wanted_N)


def holes(labels_HW: LabelMap, max_area_px: int) -> list[Component]:
    """Unlabelled regions of up to `max_area_px` pixels that do not touch the image's border.

    `class_id` of each is the class around it, the lowest id where there are several.
    """
    component_HW, class_N = label_components(labels_HW)
    area_N = np.bincount(component_HW.ravel(), minlength=class_N.size)
    small_N = (class_N == UNLABELLED) & (area_N <= max_area_px)
    lowest_N, _, border_N = _surroundings(labels_HW, component_HW, small_N)
    return _describe(component_HW, lowest_N, small_N & ~border_N)


def islands(labels_HW: LabelMap, max_area_px: int) -> list[Component]:
    """Labelled regions of up to `max_area_px` pixels that a single other labelled class encloses."""
    component_HW, class_N = label_components(labels_HW)
    small_N, enclosed_N = _small_regions(labels_HW, component_HW, class_N, max_area_px)
    return _describe(component_HW, class_N, small_N & enclosed_N)


def slivers(labels_HW: LabelMap, max_area_px: int, max_width_px: int = 2) -> list[Component]:
    """Labelled regions of up to `max_area_px` pixels, nowhere wider than `max_width_px`, that are no islands.

    A region's width is the side of the largest square that fits into it.
    """
    component_HW, class_N = label_components(labels_HW)
    small_N, enclosed_N = _small_regions(labels_HW, component_HW, class_N, max_area_px)
    candidate_N = small_N & ~enclosed_N
    # A map of one region, or of unlabelled and one region, has nothing that a sliver could be cut from.
    if not candidate_N.any() or np.count_nonzero(class_N != UNLABELLED) < 2:
        return []
    return _describe(component_HW, class_N, candidate_N & ~_wider_than(component_HW, class_N.size, max_width_px))


def _small_regions(
    labels_HW: LabelMap, component_HW: NDArray[np.int32], class_N: NDArray[np.int64], max_area_px: int
) -> tuple[BoolMap, BoolMap]:
    """(labelled and small, enclosed by one labelled class), bool (N,) each."""
    area_N = np.bincount(component_HW.ravel(), minlength=class_N.size)
    small_N = (class_N != UNLABELLED) & (area_N <= max_area_px)
    lowest_N, highest_N, border_N = _surroundings(labels_HW, component_HW, small_N)
    return small_N, ~border_N & (lowest_N == highest_N) & (lowest_N != UNLABELLED)


def _join_diagonals(
    labels_HW: LabelMap, component_HW: NDArray[np.int32], class_N: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Merge 4-connected regions of one class that touch at a corner."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    down = component_HW[:-1, :-1], component_HW[1:, 1:], labels_HW[:-1, :-1] == labels_HW[1:, 1:]
    up = component_HW[1:, :-1], component_HW[:-1, 1:], labels_HW[1:, :-1] == labels_HW[:-1, 1:]
    pairs = []
    for first, second, equal in (down, up):
        touching = equal & (first != second)
        pairs.append(np.stack([first[touching], second[touching]]))
    edges = np.concatenate(pairs, axis=1)
    if edges.shape[1] == 0:
        return component_HW, class_N
    graph = coo_array(
        (np.ones(edges.shape[1], np.uint8), (edges[0], edges[1])), shape=(class_N.size, class_N.size)
    )
    num_joined, joined_N = connected_components(graph, directed=False)
    joined_class_N = np.zeros(num_joined, dtype=np.int64)
    joined_class_N[joined_N] = class_N
    return joined_N.astype(np.int32)[component_HW], joined_class_N


def _surroundings(
    labels_HW: LabelMap, component_HW: NDArray[np.int32], wanted_N: BoolMap
) -> tuple[NDArray[np.int64], NDArray[np.int64], BoolMap]:
    """Of each wanted region: lowest and highest class id beside it (4-neighbours); touches the border."""
    lowest_N = np.full(wanted_N.size, 65536, dtype=np.int64)
    highest_N = np.full(wanted_N.size, -1, dtype=np.int64)
    views = ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1]))
    for first, second in (*views, *((b, a) for a, b in views)):
        beside = wanted_N[component_HW[first]] & (component_HW[first] != component_HW[second])
        regions, classes = component_HW[first][beside], labels_HW[second][beside]
        np.minimum.at(lowest_N, regions, classes)
        np.maximum.at(highest_N, regions, classes)
    border_N = np.zeros(wanted_N.size, dtype=np.bool_)
    for side in (component_HW[0], component_HW[-1], component_HW[:, 0], component_HW[:, -1]):
        border_N[side] = True
    return lowest_N, highest_N, border_N


def _wider_than(component_HW: NDArray[np.int32], num_components: int, width_px: int) -> BoolMap:
    """bool (N,): the region holds a square of side `width_px` + 1."""
    side = width_px + 1
    wide_N = np.zeros(num_components, dtype=np.bool_)
    if min(component_HW.shape) < side:
        return wide_N
    same_HW = np.ones((component_HW.shape[0] - width_px, component_HW.shape[1] - width_px), dtype=np.bool_)
    corner_HW = component_HW[: same_HW.shape[0], : same_HW.shape[1]]
    for dy in range(side):
        for dx in range(side):
            same_HW &= component_HW[dy : dy + same_HW.shape[0], dx : dx + same_HW.shape[1]] == corner_HW
    wide_N[corner_HW[same_HW]] = True
    return wide_N


def _describe(component_HW: NDArray[np.int32], class_N: NDArray[np.int64], wanted_N: BoolMap) -> list[Component]:
    """Components of the wanted regions in order of their first pixel."""
    from scipy import ndimage

    chosen = np.flatnonzero(wanted_N)
    if chosen.size == 0:
        return []
    # Renumber so that find_objects sees the wanted regions alone.
    number_N = np.zeros(wanted_N.size, dtype=np.int32)
    number_N[chosen] = np.arange(1, chosen.size + 1)
    numbered_HW = number_N[component_HW]
    area = np.bincount(numbered_HW.ravel(), minlength=chosen.size + 1)[1:]
    flat = numbered_HW.ravel()
    positions = np.flatnonzero(flat)
    first = np.full(chosen.size + 1, flat.size, dtype=np.int64)
    # Written back to front: the first pixel of each region is what stays.
    first[flat[positions[::-1]]] = positions[::-1]
    boxes = ndimage.find_objects(numbered_HW, max_label=chosen.size)
    found = []
    for i in np.argsort(first[1:]):
        rows, cols = boxes[i]
        found.append(
            Component(
                class_id=int(class_N[chosen[i]]),
                area_px=int(area[i]),
                y=rows.start,
                x=cols.start,
                height=rows.stop - rows.start,
                width=cols.stop - cols.start,
            )
        )
    return found
