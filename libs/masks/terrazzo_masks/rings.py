"""Rings of corners and the polygons they make, kept as arrays until someone asks for a vertex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask

Vertex: TypeAlias = tuple[float, float]
Ring: TypeAlias = Sequence[Vertex]
# Beyond it the products of coordinates lose the pixel.
COORDINATE_MAX = 1e12


class TracedRing(Sequence[Vertex]):
    """A ring of `polygons`: the tuple of (x, y) that it stands for, read from an array when it is asked for.

    It compares, hashes, slices, adds up and prints as that tuple, and is pickled and copied as one. All rings of a
    map share an array of vertices; `np.asarray(ring)` is a read-only int32 (V, 2) view of it.
    """

    __slots__ = ("_corner_V2", "_end", "_first")

    def __init__(self, corner_V2: NDArray[np.int32], first: int, end: int) -> None:
        self._corner_V2 = corner_V2
        self._first = first
        self._end = end

    def vertices(self) -> tuple[Vertex, ...]:
        """As a plain tuple."""
        return tuple(self)

    def place(self) -> tuple[int, int]:
        """(first vertex, after the last) among those of the map."""
        return self._first, self._end

    def shared(self) -> NDArray[np.int32]:
        """The vertices of all rings of the map, int32 (V, 2)."""
        return self._corner_V2

    def __len__(self) -> int:
        return self._end - self._first

    def __iter__(self) -> Iterator[Vertex]:
        x_V, y_V = self._corner_V2[self._first : self._end].T.tolist()
        return zip(x_V, y_V, strict=True)

    @overload
    def __getitem__(self, at: int) -> Vertex: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Vertex, ...]: ...
    def __getitem__(self, at: int | slice) -> Vertex | tuple[Vertex, ...]:
        if isinstance(at, slice):
            return self.vertices()[at]
        x, y = self._corner_V2[self._first : self._end][at].tolist()
        return x, y

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._corner_V2[self._first : self._end], dtype=dtype, copy=copy)

    def __add__(self, other: tuple[Vertex, ...] | TracedRing) -> tuple[Vertex, ...]:
        return self.vertices() + tuple(other)

    def __radd__(self, other: tuple[Vertex, ...]) -> tuple[Vertex, ...]:
        return other + self.vertices()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple | TracedRing) and self.vertices() == tuple(other)

    def __lt__(self, other: tuple[Vertex, ...] | TracedRing) -> bool:
        return self.vertices() < tuple(other)

    def __le__(self, other: tuple[Vertex, ...] | TracedRing) -> bool:
        return self.vertices() <= tuple(other)

    def __gt__(self, other: tuple[Vertex, ...] | TracedRing) -> bool:
        return self.vertices() > tuple(other)

    def __ge__(self, other: tuple[Vertex, ...] | TracedRing) -> bool:
        return self.vertices() >= tuple(other)

    def __hash__(self) -> int:
        return hash(self.vertices())

    def __repr__(self) -> str:
        return repr(self.vertices())

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return tuple, (self.vertices(),)


@dataclass(frozen=True, slots=True)
class Polygon:
    """One region: rings of (x, y) corner coordinates in pixels, not repeating the first vertex at the end."""

    class_id: int
    exterior: Ring
    holes: tuple[Ring, ...] = ()


def as_polygons(
    corner_V2: NDArray[np.int32], first_M1: NDArray[np.int64], region_M: NDArray[np.int32], class_N: NDArray[Any]
) -> list[Polygon]:
    """Polygons from rings: the first ring of a region is its exterior, the others are its holes.

    Ring m has the vertices `first_M1[m]` to `first_M1[m + 1]`, of int32 (V, 2), which the polygons keep.
    """
    corner_V2.setflags(write=False)
    # The rings of each region side by side, their order kept.
    order_M = np.argsort(region_M, kind="stable")
    firsts, ends = first_M1[:-1][order_M].tolist(), first_M1[1:][order_M].tolist()
    rings = list(map(TracedRing, repeat(corner_V2), firsts, ends))
    region_of_M = region_M[order_M]
    begins_P = np.flatnonzero(np.diff(region_of_M, prepend=-1))
    begins, after = begins_P.tolist(), [*begins_P[1:].tolist(), len(rings)]
    holes = [tuple(rings[begin + 1 : end]) for begin, end in zip(begins, after, strict=False)]
    exteriors = map(rings.__getitem__, begins)
    return list(map(Polygon, class_N[region_of_M[begins_P]].tolist(), exteriors, holes))


def as_arrays(polygons: Sequence[Polygon]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(first ring of each polygon (P+1,), first vertex of each ring (M+1,), vertices float64 (V, 2)).

    Raises UnsupportedMask when a ring has fewer than 3 vertices or a vertex is not a finite number or lies beyond
    10^12.
    """
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)]
    ring_P1 = _sums([1 + len(polygon.holes) for polygon in polygons])
    num_M = list(map(len, rings))
    if min(num_M, default=3) < 3:
        ring = rings[num_M.index(min(num_M))]
        raise UnsupportedMask(f"a ring has 3 or more vertices, not {len(ring)}: {ring}")
    first_M1 = _sums(num_M)
    traced = [ring for ring in rings if isinstance(ring, TracedRing)]
    if traced and len(traced) == len(rings):
        return ring_P1, first_M1, _gathered(traced, first_M1)
    numbers = chain.from_iterable(chain.from_iterable(rings))
    xy_V2 = np.fromiter(numbers, np.float64, count=2 * int(first_M1[-1])).reshape(-1, 2)
    if xy_V2.size and not (np.max(xy_V2) <= COORDINATE_MAX and np.min(xy_V2) >= -COORDINATE_MAX):
        if not np.isfinite(xy_V2).all():
            raise UnsupportedMask("a ring has a vertex that is not a finite number")
        raise UnsupportedMask(f"a ring has a vertex beyond {COORDINATE_MAX:.0e} px")
    return ring_P1, first_M1, xy_V2


def _sums(nums: list[int]) -> NDArray[np.int64]:
    """0, the first, the first two, and so on."""
    return np.fromiter(accumulate(nums, initial=0), np.int64, count=len(nums) + 1)


def _gathered(rings: list[TracedRing], first_M1: NDArray[np.int64]) -> NDArray[np.float64]:
    """The vertices of the rings, one after the other."""
    shared_V2 = rings[0].shared()
    if any(ring.shared() is not shared_V2 for ring in rings):
        return np.concatenate([np.asarray(ring) for ring in rings], dtype=np.float64)
    from_M = np.fromiter((ring.place()[0] for ring in rings), np.int64, count=len(rings))
    place_V = np.arange(first_M1[-1]) + np.repeat(from_M - first_M1[:-1], np.diff(first_M1))
    gathered_V2: NDArray[np.float64] = shared_V2[place_V].astype(np.float64)
    return gathered_V2
