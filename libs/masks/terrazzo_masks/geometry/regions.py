"""Connected regions of one class, and the small ones that are likely slips of the hand.

All classes are labelled in one pass over the runs of equal pixels, so that the cost does not grow with their
number. A region is 8-connected by default: a thin diagonal line is one region. A small region is called

    hole     unlabelled pixels that labelled ones enclose;
    island   a labelled region that a single other labelled class encloses;
    sliver   a thin labelled region between two or more classes, or along the image's border.
"""

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Chosen:
    """Some regions of a map, described when they are asked for: there may be millions, and few to show."""

    figures_M6: NDArray[np.int64]  # class, area, first row, first column, row and column after the last

    def __len__(self) -> int:
        return len(self.figures_M6)

    def first(self, num: int | None = None) -> list[Component]:
        """The first `num` of them (None: all), in the order of their first pixels."""
        return [
            Component(class_id, area_px, y, x, bottom - y, right - x)
            for class_id, area_px, y, x, bottom, right in self.figures_M6[:num].tolist()
        ]


@dataclass(frozen=True)
class Regions:
    """The connected regions of a label map, unlabelled ones too, in the order of their first pixels.

    `figures_N8` holds of each region: class, area, first row, first column, row and column after the last, lowest
    and highest class beside it (4-neighbours). Made by `find_regions`: for who asks several things of one map.
    """

    labels_HW: LabelMap
    row_H1: NDArray[np.int64]
    start_R: NDArray[np.int32]
    region_R: NDArray[np.int32]
    figures_N8: NDArray[np.int64]

    @property
    def class_N(self) -> NDArray[np.int64]:
        """Class id of each region."""
        class_N: NDArray[np.int64] = self.figures_N8[:, 0]
        return class_N

    def of_class(self, class_id: int | None = None) -> Chosen:
        """Those of one class; None: of every class but unlabelled."""
        return self._chosen(self.class_N != UNLABELLED if class_id is None else self.class_N == class_id)

    def holes(self, max_area_px: int) -> Chosen:
        """Those that the function `holes` describes."""
        small_N = (self.class_N == UNLABELLED) & (self.figures_N8[:, 1] <= max_area_px)
        return self._chosen(small_N & ~self._at_border(), class_N=self.figures_N8[:, 6])

    def islands(self, max_area_px: int) -> Chosen:
        """Those that the function `islands` describes."""
        return self._chosen(self._small(max_area_px) & self._enclosed())

    def slivers(self, max_area_px: int, max_width_px: int = 2) -> Chosen:
        """Those that the function `slivers` describes."""
        from terrazzo_masks.kernels.runs import find_wide

        candidate_N = self._small(max_area_px) & ~self._enclosed()
        # A map of one region, or of unlabelled and one region, has nothing that a sliver could be cut from.
        if not candidate_N.any() or np.count_nonzero(self.class_N != UNLABELLED) < 2:
            return Chosen(self.figures_N8[:0, :6])
        wide_N = np.zeros(candidate_N.size, np.bool_)
        side = max_width_px + 1
        find_wide(self.labels_HW, self.row_H1, self.start_R, self.region_R, candidate_N, side, wide_N)
        return self._chosen(candidate_N & ~wide_N)

    def _small(self, max_area_px: int) -> BoolMap:
        small_N: BoolMap = (self.class_N != UNLABELLED) & (self.figures_N8[:, 1] <= max_area_px)
        return small_N

    def _enclosed(self) -> BoolMap:
        """By a single labelled class."""
        lowest_N, highest_N = self.figures_N8[:, 6], self.figures_N8[:, 7]
        enclosed_N: BoolMap = ~self._at_border() & (lowest_N == highest_N) & (lowest_N != UNLABELLED)
        return enclosed_N

    def _at_border(self) -> BoolMap:
        (height, width), (_, _, y_N, x_N, bottom_N, right_N, _, _) = self.labels_HW.shape, self.figures_N8.T
        at_border_N: BoolMap = (y_N == 0) | (x_N == 0) | (bottom_N == height) | (right_N == width)
        return at_border_N

    def _chosen(self, wanted_N: BoolMap, class_N: NDArray[np.int64] | None = None) -> Chosen:
        figures_M6 = self.figures_N8[wanted_N, :6]
        if class_N is not None:
            figures_M6[:, 0] = class_N[wanted_N]
        return Chosen(figures_M6)


def find_regions(labels_HW: LabelMap, connectivity: int = 8) -> Regions:
    """The connected regions of equal class. Raises UnsupportedMask when `connectivity` is neither 4 nor 8."""
    from terrazzo_masks.kernels.runs import measure_regions

    labels_HW, runs, num_regions = _joined(labels_HW, connectivity)
    figures_N8 = np.empty((num_regions, 8), np.int64)
    measure_regions(labels_HW, *runs, figures_N8)
    return Regions(labels_HW, *runs, figures_N8)


def label_components(labels_HW: LabelMap, connectivity: int = 8) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number the connected regions of equal class, unlabelled ones too.

    Returns (component_HW int32, 0..N-1 in the order of their first pixels; class_N int64, the class id of each).
    Raises UnsupportedMask when `connectivity` is neither 4 nor 8.
    """
    from terrazzo_masks.kernels.runs import paint_runs

    labels_HW, (row_H1, start_R, region_R), num_regions = _joined(labels_HW, connectivity)
    component_HW = np.empty(labels_HW.shape, np.int32)
    paint_runs(component_HW, row_H1, start_R, region_R)
    class_N = np.empty(num_regions, np.int64)
    row_R = np.repeat(np.arange(labels_HW.shape[0]), np.diff(row_H1))
    class_N[region_R] = labels_HW[row_R, start_R]
    return component_HW, class_N


def components(labels_HW: LabelMap, class_id: int | None = None, *, connectivity: int = 8) -> list[Component]:
    """The regions of one class, or of every class but unlabelled, in the order of their first pixels.

    `class_id=0` gives the unlabelled regions. Raises UnsupportedMask when `labels_HW` is not a label map.
    """
    return find_regions(labels_HW, connectivity).of_class(class_id).first()


def holes(labels_HW: LabelMap, max_area_px: int) -> list[Component]:
    """Unlabelled regions of up to `max_area_px` pixels that do not touch the image's border.

    `class_id` of each is the class around it, the lowest id where there are several.
    """
    return find_regions(labels_HW).holes(max_area_px).first()


def islands(labels_HW: LabelMap, max_area_px: int) -> list[Component]:
    """Labelled regions of up to `max_area_px` pixels that a single other labelled class encloses."""
    return find_regions(labels_HW).islands(max_area_px).first()


def slivers(labels_HW: LabelMap, max_area_px: int, max_width_px: int = 2) -> list[Component]:
    """Labelled regions of up to `max_area_px` pixels, nowhere wider than `max_width_px`, that are no islands.

    A region's width is the side of the largest square that fits into it.
    """
    return find_regions(labels_HW).slivers(max_area_px, max_width_px).first()


Runs = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]


def _joined(labels_HW: NDArray[Any], connectivity: int) -> tuple[LabelMap, Runs, int]:
    """(the map, C-contiguous; its runs: first of each row, first columns, regions; how many regions)."""
    from terrazzo_masks.kernels.runs import find_runs, join_runs

    if connectivity not in (4, 8):
        raise UnsupportedMask(f"connectivity is 4 or 8, not {connectivity}")
    contiguous_HW: LabelMap = np.ascontiguousarray(require_labels(labels_HW))
    row_H1, start_R = find_runs(contiguous_HW)
    region_R, num_regions = join_runs(contiguous_HW, row_H1, start_R, int(connectivity == 8))
    return contiguous_HW, (row_H1, start_R, region_R), num_regions
