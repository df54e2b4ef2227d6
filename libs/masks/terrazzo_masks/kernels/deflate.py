"""Deflate (RFC 1951) for bytes that are known as runs: literals and copies of the byte before, in one pass.

A *symbol* is a byte (0 to 255) or a copy of the last byte, `COPY` + 3 to `COPY` + 258 times. A block has a Huffman
code of its own for its symbols; the lengths of that are told under one code that is always the same.

S: symbols, C: the codes for literals, the end and lengths, U: those of them that occur, W: words of 32 bits.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import inlined

COPY, COPY_MIN, COPY_MAX = 256, 3, 258
NUM_SYMBOLS = COPY + COPY_MAX + 1
END, NUM_CODES, CODE_BITS_MAX = 256, 286, 15
WORD, PLACE = (1 << 32) - 1, (1 << 46) - 1
# A symbol takes at most 15 + 5 + 1 bits; the lengths of the codes fit in as many bytes.
SYMBOL_BYTES, HEAD_WORDS = 3, 100
# Code and its extra bits of each length of a copy (RFC 1951, 3.2.5).
LENGTH_CODE, LENGTH_BITS, LENGTH_EXTRA = (np.zeros(COPY_MAX + 1, np.int64) for _ in range(3))
for _length in range(COPY_MIN, COPY_MAX):
    _rest = _length - COPY_MIN
    _bits = max(0, _rest.bit_length() - 3)
    LENGTH_CODE[_length] = 257 + 4 * _bits + (_rest >> _bits)
    LENGTH_BITS[_length], LENGTH_EXTRA[_length] = _bits, _rest & ((1 << _bits) - 1)
LENGTH_CODE[COPY_MAX] = 285
# The code for lengths of codes: 0 and its runs (17, 18) are the most frequent, then 5 to 9. Its order: 3.2.7.
LENGTHS_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
ZEROS_SHORT, ZEROS_LONG = 17, 18
LENGTHS_BITS = np.array([3, 5, 5, 5, 5, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 0, 3, 3], np.int64)


def _reversed(code: int, num_bits: int) -> int:
    return int(format(code, f"0{num_bits}b")[::-1], 2) if num_bits else 0


def _lengths_codes() -> NDArray[np.int64]:
    """The canonical code of those lengths (3.2.2), the first bit the lowest."""
    codes, code = np.zeros(LENGTHS_BITS.size, np.int64), 0
    for num_bits in range(1, int(LENGTHS_BITS.max()) + 1):
        for symbol in np.flatnonzero(num_bits == LENGTHS_BITS).tolist():
            codes[symbol] = _reversed(code, num_bits)
            code += 1
        code <<= 1
    return codes


LENGTHS_CODES = _lengths_codes()
ORDERED_LENGTHS = np.array([LENGTHS_BITS[symbol] for symbol in LENGTHS_ORDER], np.int64)

# Every whole number is an int64 in a kernel; mypy would see int here and np.int64 there.
Int: TypeAlias = Any
Numbers = NDArray[np.int64]
Words = NDArray[np.uint32]
Symbols = NDArray[np.uint16]


@inlined
def code_lengths(used_U: Numbers, num: Int, count_C: Numbers, work_U: Numbers) -> None:
    """Lengths of a minimum-redundancy code for the `num` >= 2 codes of `used_U`, which come by rising count.

    In `work_U`: counts, which become parents, which become depths (Moffat and Katajainen, In-place calculation of
    minimum-redundancy codes, 1995).
    """
    for i in range(num):
        work_U[i] = count_C[used_U[i]]
    work_U[0] += work_U[1]
    root, leaf = 0, 2
    for at in range(1, num - 1):
        if leaf >= num or work_U[root] < work_U[leaf]:
            work_U[at] = work_U[root]
            work_U[root] = at
            root += 1
        else:
            work_U[at] = work_U[leaf]
            leaf += 1
        if leaf >= num or (root < at and work_U[root] < work_U[leaf]):
            work_U[at] += work_U[root]
            work_U[root] = at
            root += 1
        else:
            work_U[at] += work_U[leaf]
            leaf += 1
    work_U[num - 2] = 0
    for at in range(num - 3, -1, -1):
        work_U[at] = work_U[work_U[at]] + 1
    free, depth = 1, 0
    root, at = num - 2, num - 1
    while free > 0:
        inner = 0
        while root >= 0 and work_U[root] == depth:
            inner += 1
            root -= 1
        while free > inner:
            work_U[at] = depth
            at -= 1
            free -= 1
        free, depth = 2 * inner, depth + 1


@inlined
def shorten(work_U: Numbers, num: Int) -> None:
    """Make falling lengths of `num` codes ones of at most CODE_BITS_MAX that leave no code unused.

    Those that are cut to it take more room than there is (`over`, in codes of that length): the next shorter ones
    give it.
    """
    over: Int = -(1 << CODE_BITS_MAX)
    for i in range(num):
        work_U[i] = min(work_U[i], CODE_BITS_MAX)
        over += 1 << (CODE_BITS_MAX - work_U[i])
    i = 0
    while over > 0:
        while work_U[i] == CODE_BITS_MAX:
            i += 1
        work_U[i] += 1
        over -= 1 << (CODE_BITS_MAX - work_U[i])
    while over < 0:  # the last of them was longer than need be
        while work_U[i] != CODE_BITS_MAX:
            i -= 1
        work_U[i] -= 1
        over += 1


@inlined
def put(out_W: Words, stream: Numbers, bits: Int, num_bits: Int) -> None:
    """Append up to 31 bits, the lowest first; `stream` is (place in `out_W`, bits that wait, how many)."""
    waiting = stream[1] | bits << stream[2]
    num = stream[2] + num_bits
    at = stream[0]
    if num >= 32:
        out_W[at] = waiting & WORD
        waiting >>= 32
        num -= 32
        at += 1
    stream[0], stream[1], stream[2] = at, waiting, num


@inlined
def used_codes(count_C: Numbers, used_U: Numbers) -> Int:
    """The codes that occur, by rising count; returns how many."""
    num: Int = 0
    for code in range(NUM_CODES):
        count = count_C[code]
        if count:
            at = num
            while at > 0 and count_C[used_U[at - 1]] > count:
                used_U[at] = used_U[at - 1]
                at -= 1
            used_U[at] = code
            num += 1
    return num


@inlined
def put_head(out_W: Words, stream: Numbers, bits_C: Numbers, is_last: Int) -> None:
    """The head of a block (3.2.7) with codes of these lengths, and one code for distances, of one bit."""
    num_codes = NUM_CODES
    while bits_C[num_codes - 1] == 0:
        num_codes -= 1
    put(out_W, stream, is_last | 2 << 1 | (num_codes - 257) << 3 | (ORDERED_LENGTHS.size - 4) << 13, 17)
    for i in range(ORDERED_LENGTHS.size):
        put(out_W, stream, ORDERED_LENGTHS[i], 3)
    code = 0
    while code < num_codes:
        num_zeros = 0
        while code + num_zeros < num_codes and bits_C[code + num_zeros] == 0 and num_zeros < 138:
            num_zeros += 1
        if num_zeros >= 11:
            put(out_W, stream, LENGTHS_CODES[ZEROS_LONG] | (num_zeros - 11) << LENGTHS_BITS[ZEROS_LONG], 10)
        elif num_zeros >= 3:
            put(out_W, stream, LENGTHS_CODES[ZEROS_SHORT] | (num_zeros - 3) << LENGTHS_BITS[ZEROS_SHORT], 6)
        else:
            num_zeros = 1
            put(out_W, stream, LENGTHS_CODES[bits_C[code]], LENGTHS_BITS[bits_C[code]])
        code += num_zeros
    put(out_W, stream, LENGTHS_CODES[1], LENGTHS_BITS[1])


@inlined
def canonical_codes(bits_C: Numbers, code_C: Numbers, next_U: Numbers) -> None:
    """Codes from their lengths (3.2.2), the first bit the lowest; `next_U` has room for the next of a length."""
    for num_bits in range(CODE_BITS_MAX + 2):
        next_U[num_bits] = 0
    for code in range(NUM_CODES):
        next_U[bits_C[code] + 1] += bits_C[code] > 0
    for num_bits in range(1, CODE_BITS_MAX + 1):
        next_U[num_bits] = (next_U[num_bits - 1] + next_U[num_bits]) << 1
    for code in range(NUM_CODES):
        num_bits = bits_C[code]
        turned, bits = 0, next_U[num_bits]
        next_U[num_bits] += num_bits > 0
        for _ in range(num_bits):
            turned = turned << 1 | bits & 1
            bits >>= 1
        code_C[code] = turned


@inlined
def coded_symbols(code_C: Numbers, bits_C: Numbers, coded_S: Numbers) -> None:
    """All bits of each symbol that occurs, above 5 bits that say how many; `coded_S` said how often it occurs."""
    for byte in range(COPY):
        coded_S[byte] = code_C[byte] << 5 | bits_C[byte]
    for length in range(COPY_MIN, COPY_MAX + 1):
        if coded_S[COPY + length]:
            code = LENGTH_CODE[length]
            bits = code_C[code] | LENGTH_EXTRA[length] << bits_C[code]
            # The distance is one bit more, 0: of its one code.
            coded_S[COPY + length] = bits << 5 | bits_C[code] + LENGTH_BITS[length] + 1


@inlined
def put_block(symbol_S: Symbols, num: Int, is_last: Int, out_W: Words, stream: Numbers, count_5S: Numbers) -> None:
    """Append `num` symbols as a block. The first row of `count_5S` says how often each occurs; the rest is room.

    What the first row says is gone afterwards.
    """
    coded_S, count_C, bits_C, used_U, work_U = count_5S[0], count_5S[1], count_5S[2], count_5S[3], count_5S[4]
    for code in range(NUM_CODES):
        count_C[code] = coded_S[code] if code < COPY else 0
        bits_C[code] = 0
    count_C[END] = 1
    for length in range(COPY_MIN, COPY_MAX + 1):
        count_C[LENGTH_CODE[length]] += coded_S[COPY + length]
    num_used = used_codes(count_C, used_U)
    code_lengths(used_U, num_used, count_C, work_U)
    shorten(work_U, num_used)
    for i in range(num_used):
        bits_C[used_U[i]] = work_U[i]
    put_head(out_W, stream, bits_C, is_last)
    canonical_codes(bits_C, count_C, work_U)
    coded_symbols(count_C, bits_C, coded_S)
    at, waiting, num_bits = stream[0], stream[1], stream[2]
    for i in range(num):
        coded = coded_S[np.int64(symbol_S[i])]
        waiting |= (coded >> 5) << num_bits
        num_bits += coded & 31
        if num_bits >= 32:
            out_W[at & PLACE] = waiting & WORD
            waiting >>= 32
            num_bits -= 32
            at += 1
    stream[0], stream[1], stream[2] = at, waiting, num_bits
    put(out_W, stream, count_C[END], bits_C[END])


def warm() -> None:
    """Nothing to compile: all of it is inlined into the kernels that call it."""
