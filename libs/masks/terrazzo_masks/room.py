"""Arrays to work in, kept by each thread from call to call.

A tile is packed, and a pair of maps counted, in tens of microseconds: to ask the system for pages each time would
double that.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap

KEPT_BYTES_MAX = 1 << 20


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[tuple[str, Any], NDArray[Any]] = {}


_kept = _Kept()


def room(name: str, num: int, dtype: Any) -> NDArray[Any]:
    """`num` entries with whatever was in them, good until this thread asks again for `name` with that dtype."""
    found = _kept.arrays.get((name, dtype))
    if found is None or found.size < num:
        found = np.empty(num, dtype=dtype)
        if found.nbytes <= KEPT_BYTES_MAX:
            _kept.arrays[name, dtype] = found
    return found[:num]


def widened(name: str, labels_HW: LabelMap) -> NDArray[np.uint16]:
    """The map as uint16, C-contiguous and writable: itself where it is that, else a copy in the room `name`."""
    if labels_HW.dtype == np.uint16 and labels_HW.flags.c_contiguous and labels_HW.flags.writeable:
        return labels_HW  # type: ignore[return-value]
    wide_HW: NDArray[np.uint16] = room(name, labels_HW.size, np.uint16).reshape(labels_HW.shape)
    wide_HW[:] = labels_HW
    return wide_HW
