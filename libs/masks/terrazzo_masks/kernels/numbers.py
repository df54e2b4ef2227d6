"""Whole numbers in bytes, as LEB128: 7 bits a byte, lowest first, the highest bit saying that another follows."""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import lean


@lean
def read_number(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """(value, place after it) of a LEB128 number below 2**63; place -1: cut short, or not the shortest form."""
    value = 0
    shift = 0
    while at < data.size and shift <= 56:
        byte = int(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, (at if byte > 0 or shift == 0 else -1)
        shift += 7
    return 0, -1


@lean
def write_number(out: NDArray[np.uint8], at: int, value: int) -> int:
    """Put a number as LEB128; returns the place after it."""
    while value >= 128:
        out[at] = (value & 127) | 128
        at += 1
        value >>= 7
    out[at] = value
    return at + 1


def warm() -> None:
    """Compile."""
    data = np.zeros(2, np.uint8)
    read_number(data, write_number(data, 0, 0) - 1)
