"""Native speed: kernels are plain Python functions on arrays that numba compiles once and keeps on disk.

Kernels live in `terrazzo_masks.kernels`, and public modules import them inside functions: importing the library
loads numpy alone. The first call with a new dtype compiles (seconds); `warm()` does that for all of them ahead of
the first request, from the cache on disk in milliseconds when it is there. Kernels release the GIL.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with numba at its first call: cached on disk, without the GIL, no fast math."""
    import numba

    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))


def lean(function: Callable[P, R]) -> Callable[P, R]:
    """As `kernel`, without counting references: for small kernels called by the million.

    Each array that is passed on costs two atomic operations otherwise. Such a kernel, and what it calls, may
    index, slice and pass arrays, but makes none.
    """
    import numba

    options: dict[str, Any] = {"_nrt": False}
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, **options)(function))


def reducing(function: Callable[P, R]) -> Callable[P, R]:
    """As `lean`, for a loop that takes the least or largest of numbers: several at a time.

    The numbers may be no NaN, and 0 and -0 are the same to it. What is found is exact all the same.
    """
    import numba

    options: dict[str, Any] = {"_nrt": False, "fastmath": {"nnan", "nsz"}}
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, **options)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into each kernel that calls it."""
    import numba

    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, inline="always")(function))


def warm(stop: Callable[[], bool] = lambda: False) -> int:
    """Compile every kernel for its dtypes, or load it from the cache; leaves off when `stop()` turns true.

    Each module of `terrazzo_masks.kernels` has a function `warm()` that calls its kernels with tiny arrays of
    every dtype they are used with. Returns how many modules were warmed.
    """
    package = import_module("terrazzo_masks.kernels")
    num_warmed = 0
    for found in iter_modules(package.__path__):
        if stop():
            break
        import_module(f"terrazzo_masks.kernels.{found.name}").warm()
        num_warmed += 1
    return num_warmed
