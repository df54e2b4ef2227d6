"""The run-length code of Label Studio's brush (thi.ng/rle-pack): a stream of bits, most significant first.

    32 bits  number of values; 5 bits  bits of a value - 1; 4 x 4 bits  bits of the four run sizes - 1
    then     1 bit: 1 one value repeated, 0 values as they are; 2 bits: which of the sizes; the run's length - 1;
             the value, or as many values as the length says

Values are the bytes of an RGBA picture; a brush is 255 in all four of a pixel's bytes. B: bytes, N: pixels.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import BoolMap
from terrazzo_masks.native import kernel

SOUND, CUT_SHORT, TOO_LONG, WRONG_COUNT = 0, 1, 2, 3
HEAD_BITS = 32 + 5 + 16
RUN_MAX = 65536
# Bits of one run: flag, size, length, value.
RUN_BITS_MAX = 1 + 2 + 16 + 8


@kernel
def put_bits(value: int, num: int, out_B: NDArray[np.uint8], at: int) -> int:
    """Write the lowest `num` bits of `value` behind bit `at` of zeroed bytes; returns the place behind them."""
    for place in range(num - 1, -1, -1):
        if (value >> place) & 1:
            out_B[at >> 3] |= np.uint8(128 >> (at & 7))
        at += 1
    return at


@kernel
def count_runs(inside_N: BoolMap) -> int:
    """Runs of equal pixels, a run of more than 16,384 pixels (65,536 bytes) counted as often as it is cut."""
    num = 0
    start = 0
    for n in range(1, inside_N.size + 1):
        if n == inside_N.size or inside_N[n] != inside_N[start]:
            num += (4 * (n - start) + RUN_MAX - 1) // RUN_MAX
            start = n
    return num


@kernel
def encode(inside_N: BoolMap, out_B: NDArray[np.uint8]) -> int:
    """Code a mask's pixels into zeroed bytes; returns the number of bytes used."""
    at = put_bits(4 * inside_N.size, 32, out_B, 0)
    at = put_bits(7, 5, out_B, at)
    for bits in (3, 4, 8, 16):
        at = put_bits(bits - 1, 4, out_B, at)
    start = 0
    for n in range(1, inside_N.size + 1):
        if n < inside_N.size and inside_N[n] == inside_N[start]:
            continue
        value = 255 if inside_N[start] else 0
        left = 4 * (n - start)
        while left > 0:
            run = min(left, RUN_MAX)
            at = put_bits(1, 1, out_B, at)
            if run <= 8:
                at = put_bits(run - 1, 3, out_B, put_bits(0, 2, out_B, at))
            elif run <= 16:
                at = put_bits(run - 1, 4, out_B, put_bits(1, 2, out_B, at))
            elif run <= 256:
                at = put_bits(run - 1, 8, out_B, put_bits(2, 2, out_B, at))
            else:
                at = put_bits(run - 1, 16, out_B, put_bits(3, 2, out_B, at))
            at = put_bits(value, 8, out_B, at)
            left -= run
        start = n
    return (at + 7) >> 3


@kernel
def take_bits(data_B: NDArray[np.uint8], at: int, num: int) -> int:
    """`num` bits from bit `at` on, which must be there."""
    value = 0
    for place in range(at, at + num):
        value = (value << 1) | ((data_B[place >> 3] >> (7 - (place & 7))) & 1)
    return value


@kernel
def decode(data_B: NDArray[np.uint8], alpha_N: NDArray[np.uint8]) -> int:
    """Write each pixel's fourth value; returns what is wrong (SOUND: nothing)."""
    num_bits = 8 * data_B.size
    if num_bits < HEAD_BITS:
        return CUT_SHORT
    num_values = 4 * alpha_N.size
    if take_bits(data_B, 0, 32) != num_values:
        return WRONG_COUNT
    value_bits = take_bits(data_B, 32, 5) + 1
    size_0 = take_bits(data_B, 37, 4) + 1
    size_1 = take_bits(data_B, 41, 4) + 1
    size_2 = take_bits(data_B, 45, 4) + 1
    size_3 = take_bits(data_B, 49, 4) + 1
    at = HEAD_BITS
    done = 0
    while done < num_values:
        if at + 3 > num_bits:
            return CUT_SHORT
        repeated = take_bits(data_B, at, 1) == 1
        which = take_bits(data_B, at + 1, 2)
        size = size_0 if which == 0 else size_1 if which == 1 else size_2 if which == 2 else size_3
        at += 3
        if at + size > num_bits:
            return CUT_SHORT
        run = take_bits(data_B, at, size) + 1
        at += size
        if run > num_values - done:
            return TOO_LONG
        num_coded = 1 if repeated else run
        if at + num_coded * value_bits > num_bits:
            return CUT_SHORT
        value = 0
        for step in range(run):
            if step == 0 or not repeated:
                value = take_bits(data_B, at, value_bits)
                at += value_bits
            if (done + step) & 3 == 3:
                alpha_N[(done + step) >> 2] = value & 255
        done += run
    return SOUND


def warm() -> None:
    inside_N = np.array([True, True, False])
    out_B = np.zeros(64, np.uint8)
    count_runs(inside_N)
    num = encode(inside_N, out_B)
    decode(out_B[:num], np.zeros(3, np.uint8))
