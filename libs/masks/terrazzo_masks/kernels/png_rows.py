"""Image data of an index PNG from the borders of its rows: no pixel is looked at.

Rows are filtered by 'up' (PNG, third edition, W3C 2025, clause 9): each byte less the one above it. Between two
borders, of the row or of the one above, that is one number, most often 0; so a row is a few runs, and its deflate
symbols, its part of Adler-32 (RFC 1950) and of the pixel checksum (docs/mask-format.md) follow from those.

T: tokens, E: extras, B: borders of a row, S: symbols, W: words of 32 bits.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.kernels.border_tokens import COUNTS_BYTES, END, PLACE, REST, VALUE, VALUE_BITS, decode_row
from terrazzo_masks.kernels.deflate import COPY, COPY_MAX, COPY_MIN, HEAD_WORDS, NUM_SYMBOLS, put, put_block
from terrazzo_masks.native import inlined, lean

UP = 2
ADLER = 65521
FACTOR = 0x9E3779B1
# Deflate, a window of 32 KiB, the fastest of its levels (RFC 1950, 2.2).
ZLIB_HEAD = 0x0178
# Places in `state`: what is known between two bands of rows.
ROW, TOKEN, EXTRA, HERE, SUM_A, SUM_B, PIXELS, STREAM = 0, 1, 2, 3, 4, 5, 6, 7
STATE_SIZE = STREAM + 3
# What `png_band` says of tokens that are damaged, and of pixels that have another checksum.
DAMAGED, OTHER_PIXELS = -1, -2

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint32]
Symbols = NDArray[np.uint16]


@inlined
def put_run(byte: Int, length: Int, symbol_S: Symbols, num: Int, count_S: Numbers) -> Int:
    """Append a byte that occurs `length` >= 1 times, and up to 2 symbols more; returns how many count.

    How long the next run is, a processor cannot guess: up to COPY_MAX + 1 there is no branch. Counts of COPY + 0
    to 2 are of no symbol.
    """
    symbol_S[num & PLACE] = byte
    count_S[byte] += 1
    num += 1
    rest = length - 1
    while rest > COPY_MAX:
        symbol_S[num & PLACE] = COPY + COPY_MAX
        count_S[COPY + COPY_MAX] += 1
        num += 1
        rest -= COPY_MAX
    is_short = rest < COPY_MIN
    symbol_S[num & PLACE] = byte if is_short else COPY + rest
    symbol_S[num + 1 & PLACE] = byte
    count_S[byte] += rest if is_short else 0
    count_S[COPY + rest & PLACE] += 1
    return num + (rest if is_short else 1)


@inlined
def factors_before(place: Int) -> Int:
    """Sum of the factors of the pixel checksum of all places before this one (modulo 2 ** 32)."""
    return (place * (place - 1) >> 1) * FACTOR + (place + 1 >> 1)


@inlined
def put_row(
    here_B: Numbers, above_B: Numbers, width: Int, symbol_S: Symbols, num: Int, count_S: Numbers, state: Numbers
) -> Int:
    """Append a row by its borders and those of the row above; returns how many symbols there are then."""
    sum_a, sum_b, pixels = state[SUM_A] + UP, state[SUM_B] + state[SUM_A] + UP, state[PIXELS]
    first = state[ROW] * width
    byte: Int = UP
    length: Int = 1
    i = j = begin = 0
    factors = factors_before(first)
    while begin < width:
        value, above = here_B[i & PLACE] & VALUE, above_B[j & PLACE] & VALUE
        next_here, next_above = here_B[i + 1 & PLACE] >> VALUE_BITS, above_B[j + 1 & PLACE] >> VALUE_BITS
        end = min(min(next_here, next_above), width)
        differ, run = value - above & 255, end - begin
        sum_b += run * sum_a + differ * (run * (run + 1) >> 1)
        sum_a += differ * run
        until = factors_before(first + end)
        pixels += (value + 1) * (until - factors)
        if differ == byte:
            length += run
        else:
            num = put_run(byte, length, symbol_S, num, count_S)
            byte, length = differ, run
        i += next_here == end
        j += next_above == end
        begin, factors = end, until
    state[SUM_A], state[SUM_B], state[PIXELS] = sum_a % ADLER, sum_b % ADLER, pixels
    return put_run(byte, length, symbol_S, num, count_S)


@inlined
def put_same_row(
    here_B: Numbers, width: Int, symbol_S: Symbols, num: Int, count_S: Numbers, state: Numbers
) -> Int:
    """As `put_row`, of a row that is the one above it again."""
    state[SUM_A] += UP
    state[SUM_B] = (state[SUM_B] + state[SUM_A] * (width + 1)) % ADLER
    state[SUM_A] %= ADLER
    first, begin, i, pixels = state[ROW] * width, 0, 0, state[PIXELS]
    factors = factors_before(first)
    while begin < width:
        end = min(here_B[i + 1 & PLACE] >> VALUE_BITS, width)
        until = factors_before(first + end)
        pixels += ((here_B[i & PLACE] & VALUE) + 1) * (until - factors)
        begin, factors = end, until
        i += 1
    state[PIXELS] = pixels
    num = put_run(UP, 1, symbol_S, num, count_S)
    return put_run(0, width, symbol_S, num, count_S)


@lean
def png_band(
    content: Bytes,
    num_tokens: int,
    height: int,
    width: int,
    pixel_sum: int,
    state: Numbers,
    border_2B: Numbers,
    symbol_S: Symbols,
    count_5S: Numbers,
    out_W: Words,
) -> int:
    """As many rows as there is room for, as the next block of a zlib stream; returns how many bytes that is.

    `content`, read-only, is COUNTS_BYTES, then `num_tokens` tokens, then the extras. `state` is zeros at first;
    when its ROW has come to `height`, the stream is at its end, all tokens were read, and the pixels have the
    checksum `pixel_sum`. Otherwise DAMAGED or OTHER_PIXELS is returned. `symbol_S` has room for a row and two
    more, `out_W` for SYMBOL_BYTES a symbol and HEAD_WORDS; `border_2B` (2, width + 2) and `count_5S`
    (5, NUM_SYMBOLS) are room to work in.
    """
    data_T, data_E = content[COUNTS_BYTES : COUNTS_BYTES + num_tokens], content[COUNTS_BYTES + num_tokens :]
    count_S = count_5S[0]
    count_S[:] = 0
    at, extra, here = state[TOKEN], state[EXTRA], state[HERE]
    if state[ROW] == 0:
        border_2B[0, 0], border_2B[0, 1], border_2B[1, 1] = 0, END, END
        state[SUM_A] = 1
        state[STREAM + 1], state[STREAM + 2] = ZLIB_HEAD, 16
    num: Int = 0
    while state[ROW] < height and num + width + 3 <= symbol_S.size:
        if state[ROW] > 0 and at < data_T.size and data_T[at & PLACE] == REST:
            at += 1
            num = put_same_row(border_2B[here], width, symbol_S, num, count_S, state)
        else:
            above, here = here, 1 - here
            at, extra = decode_row(
                data_T, at, data_E, extra, border_2B[here], border_2B[above], content, 0, width, False
            )
            if at < 0:
                return DAMAGED
            num = put_row(border_2B[here], border_2B[above], width, symbol_S, num, count_S, state)
        state[ROW] += 1
    state[TOKEN], state[EXTRA], state[HERE] = at, extra, here
    stream = state[STREAM:]
    stream[0] = 0
    is_last = state[ROW] == height
    put_block(symbol_S, num, np.int64(is_last), out_W, stream, count_5S)
    if not is_last:
        return int(4 * stream[0])
    if at != data_T.size or extra != data_E.size:
        return DAMAGED
    if state[PIXELS] & 0xFFFFFFFF != pixel_sum:
        return OTHER_PIXELS
    put(out_W, stream, 0, -stream[2] & 7)
    for byte in (state[SUM_B] >> 8, state[SUM_B] & 255, state[SUM_A] >> 8, state[SUM_A] & 255):
        put(out_W, stream, byte, 8)
    out_W[stream[0]] = stream[1]
    return int(4 * stream[0] + stream[2] // 8)


def warm() -> None:
    """Compile for the one kind of content: bytes, which can't be written."""
    state, out_W = np.zeros(STATE_SIZE, np.int64), np.zeros(2 * HEAD_WORDS, np.uint32)
    content = np.frombuffer(bytes((*bytes(COUNTS_BYTES), REST)), np.uint8)
    border_2B, count_5S = np.zeros((2, 3), np.int64), np.zeros((5, NUM_SYMBOLS), np.int64)
    png_band(content, 1, 1, 1, 0, state, border_2B, np.zeros(8, np.uint16), count_5S, out_W)
