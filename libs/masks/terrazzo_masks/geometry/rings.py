"""Rings of corners and the polygons they make, kept as arrays until someone asks for a vertex."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from operator import attrgetter
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
    """(first hole of each polygon (P+1,), first vertex of each ring (M+1,), vertices float64 (V, 2)).

    The first P rings are the exteriors, the others the holes, polygon by polygon. Raises UnsupportedMask when a
    ring has fewer than 3 vertices, a vertex is no pair of numbers, is not finite or lies beyond 10^12.
    """
    # Each step is a loop of the interpreter's own, over all polygons, rings or vertices: there are many of them.
    holes = list(map(attrgetter("holes"), polygons))
    rings: list[Ring] = [*map(attrgetter("exterior"), polygons), *chain.from_iterable(holes)]
    hole_P1 = _sums(map(len, holes), len(polygons), start=len(polygons))
    if rings and set(map(type, rings)) == {TracedRing}:
        first_M1, xy_V2 = _gathered(rings)
    else:
        first_M1, xy_V2 = _read(rings)
    num_M = np.diff(first_M1)
    if num_M.size and num_M.min() < 3:
        ring = rings[int(num_M.argmin())]
        raise UnsupportedMask(f"a ring has 3 or more vertices, not {len(ring)}: {ring}")
    return hole_P1, first_M1, xy_V2


def _sums(nums: Iterable[int], count: int, start: int = 0) -> NDArray[np.int64]:
    """`start`, and what it is with the first number, with the first two, and so on."""
    return np.fromiter(accumulate(nums, initial=start), np.int64, count=count + 1)


def _read(rings: Sequence[Ring]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(first vertex of each ring, the vertices) of rings of any kind."""
    first_M1 = _sums(map(len, rings), len(rings))
    numbers: list[float] = []
    deque(map(numbers.extend, chain.from_iterable(rings)), maxlen=0)
    if len(numbers) != 2 * int(first_M1[-1]):
        raise UnsupportedMask(f"a vertex is a pair of numbers: {first_M1[-1]} vertices have {len(numbers)}")
    xy_V2 = _as_floats(numbers).reshape(-1, 2)
    if xy_V2.size and not (np.max(xy_V2) <= COORDINATE_MAX and np.min(xy_V2) >= -COORDINATE_MAX):
        if not np.isfinite(xy_V2).all():
            raise UnsupportedMask("a ring has a vertex that is not a finite number")
        raise UnsupportedMask(f"a ring has a vertex beyond {COORDINATE_MAX:.0e} px")
    return first_M1, xy_V2


def _as_floats(numbers: Sequence[float]) -> NDArray[np.float64]:
    """A list of numbers, float64 (N,): packed as whole ones if they are, which is the fastest way there."""
    try:
        whole = struct.pack(f"={len(numbers)}q", *numbers)
    except struct.error:
        pass  # not all of them are whole
    else:
        return np.frombuffer(whole, np.int64).astype(np.float64)
    try:
        return np.frombuffer(struct.pack(f"={len(numbers)}d", *numbers), np.float64)
    except (struct.error, OverflowError) as error:
        raise UnsupportedMask(f"a ring has a vertex that is not a finite number: {error}") from error


def _gathered(rings: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(first vertex of each ring, the vertices) of traced rings."""
    num = len(rings)
    from_M = np.fromiter(map(attrgetter("_first"), rings), np.int64, count=num)
    num_M = np.fromiter(map(attrgetter("_end"), rings), np.int64, count=num) - from_M
    first_M1 = np.concatenate([[0], np.cumsum(num_M)])
    if len(set(map(id, map(attrgetter("_corner_V2"), rings)))) > 1:
        return first_M1, np.concatenate([np.asarray(ring) for ring in rings], dtype=np.float64)
    place_V = np.arange(first_M1[-1]) + np.repeat(from_M - first_M1[:-1], num_M)
    return first_M1, np.take(rings[0].shared(), place_V, axis=0).astype(np.float64)
