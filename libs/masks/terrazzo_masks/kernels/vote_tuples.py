"""Distinct vote tuples of a stack of label maps.

Axes: R annotators, P pixels, T distinct tuples, N 64-bit words per tuple. A pixel's *place* is the class id that
all annotators gave it, or `base` + the number of its tuple, tuples numbered by their first pixel. Neither depends
on the order of the annotators.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import kernel

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_BLOCK = 32_768  # pixels at a time, whole words


@kernel
def count_codes(
    votes_RP: LabelMap, words_RW: NDArray[np.uint64], pixels_per_word: int, bits: int, base: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """As `count_tuples`, for tuples whose votes fit one word: most stacks, and several times faster."""
    num_annotators, num_pixels = votes_RP.shape
    ones = np.uint64(0)
    for r in range(num_annotators):
        ones |= _ONE << np.uint64(bits * r)
    size_bits = 12
    codes_S = np.zeros(1 << size_bits, np.uint64)
    slots = np.full(1 << size_bits, -1, np.int32)
    codes_T = np.zeros(1 << (size_bits - 2), np.uint64)
    pixels_T = np.zeros(codes_T.size, np.int64)
    place_P = np.empty(num_pixels, np.int32)
    agreed_B = np.zeros(base, np.int64)
    code_P = np.empty(_BLOCK, np.uint64)
    num_tuples = 0
    for start in range(0, num_pixels, _BLOCK):
        num = min(_BLOCK, num_pixels - start)
        _pack_block(votes_RP, words_RW, pixels_per_word, bits, ones, start, num, code_P)
        done = 0
        while True:
            done, num_tuples = _count_block(
                code_P,
                done,
                num,
                ones,
                base,
                num_tuples,
                codes_S,
                slots,
                codes_T,
                pixels_T,
                agreed_B,
                place_P[start:],
            )
            if done == num:
                break
            size_bits += 2
            codes_S, slots, codes_T, pixels_T = _grown_codes(codes_T, pixels_T, size_bits)
    return place_P, agreed_B, codes_T[:num_tuples].copy().reshape(num_tuples, 1), pixels_T[:num_tuples].copy()


@kernel
def _pack_block(
    votes_RP: LabelMap,
    words_RW: NDArray[np.uint64],
    pixels_per_word: int,
    bits: int,
    ones: np.uint64,
    start: int,
    num: int,
    code_P: NDArray[np.uint64],
) -> None:
    """The codes of `num` pixels from `start`, which begins a word."""
    num_annotators = votes_RP.shape[0]
    for first in range(0, num, pixels_per_word):
        word = (start + first) // pixels_per_word
        last = min(first + pixels_per_word, num)
        same = word < words_RW.shape[1]
        if same:
            word_0 = words_RW[0, word]
            for r in range(1, num_annotators):
                same &= words_RW[r, word] == word_0
        if same:
            for p in range(first, last):
                code_P[p] = np.uint64(votes_RP[0, start + p]) * ones
            continue
        for p in range(first, last):
            code_P[p] = votes_RP[0, start + p]
        for r in range(1, num_annotators):
            shift = np.uint64(bits * r)
            for p in range(first, last):
                code_P[p] |= np.uint64(votes_RP[r, start + p]) << shift


@kernel
def _count_block(
    code_P: NDArray[np.uint64],
    done: int,
    num: int,
    ones: np.uint64,
    base: int,
    num_tuples: int,
    codes_S: NDArray[np.uint64],
    slots: NDArray[np.int32],
    codes_T: NDArray[np.uint64],
    pixels_T: NDArray[np.int64],
    agreed_B: NDArray[np.int64],
    place_P: NDArray[np.int32],
) -> tuple[int, int]:
    """Count codes from `done` up to `num`; leave off where the table is full. Returns how far it came."""
    vote_mask = np.uint64(base - 1)
    slot_mask = np.uint64(slots.size - 1)
    for p in range(done, num):
        code = code_P[p]
        vote = code & vote_mask
        if code == vote * ones:
            agreed_B[vote] += 1
            place_P[p] = np.int32(vote)
            continue
        mixed = code * _MIX
        slot = (mixed ^ (mixed >> _HALF)) & slot_mask
        while slots[slot] >= 0 and codes_S[slot] != code:
            slot = (slot + _ONE) & slot_mask
        if slots[slot] < 0:
            if num_tuples == codes_T.size:
                return p, num_tuples
            codes_S[slot] = code
            slots[slot] = num_tuples
            codes_T[num_tuples] = code
            num_tuples += 1
        place = slots[slot]
        pixels_T[place] += 1
        place_P[p] = base + place
    return num, num_tuples


@kernel
def _grown_codes(
    codes_T: NDArray[np.uint64], pixels_T: NDArray[np.int64], size_bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.uint64], NDArray[np.int64]]:
    """A full table with four times the room, its codes hashed anew: at most a quarter of the slots are taken."""
    codes_S = np.zeros(1 << size_bits, np.uint64)
    slots = np.full(1 << size_bits, -1, np.int32)
    more_codes_T = np.zeros(1 << (size_bits - 2), np.uint64)
    more_codes_T[: codes_T.size] = codes_T
    more_pixels_T = np.zeros(more_codes_T.size, np.int64)
    more_pixels_T[: codes_T.size] = pixels_T
    slot_mask = np.uint64(slots.size - 1)
    for t in range(codes_T.size):
        mixed = codes_T[t] * _MIX
        slot = (mixed ^ (mixed >> _HALF)) & slot_mask
        while slots[slot] >= 0:
            slot = (slot + _ONE) & slot_mask
        slots[slot] = t
        codes_S[slot] = codes_T[t]
    return codes_S, slots, more_codes_T, more_pixels_T


@kernel
def count_tuples(
    votes_RP: LabelMap, words_RW: NDArray[np.uint64], pixels_per_word: int, bits: int, base: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Return (place_P int32, agreed_B int64 pixels by agreed class id, codes_TN uint64, pixels_T int64).

    `words_RW` is the same memory as `votes_RP`, `pixels_per_word` pixels a word (its last, incomplete word is left
    out): where all annotators agree, a word is compared at once. A code holds the votes in order, `bits` each.
    """
    num_annotators, num_pixels = votes_RP.shape
    per_code = 64 // bits
    num_codes = (num_annotators + per_code - 1) // per_code
    ones_N = np.zeros(num_codes, np.uint64)
    for r in range(num_annotators):
        ones_N[r // per_code] |= _ONE << np.uint64(bits * (r % per_code))
    codes_SN = np.zeros((pixels_per_word, num_codes), np.uint64)
    last_N = np.zeros(num_codes, np.uint64)
    codes_TN = np.zeros((1024, num_codes), np.uint64)
    pixels_T = np.zeros(1024, np.int64)
    slots = np.full(4096, -1, np.int32)
    place_P = np.empty(num_pixels, np.int32)
    agreed_B = np.zeros(base, np.int64)
    num_tuples, last = 0, -1
    for word in range((num_pixels + pixels_per_word - 1) // pixels_per_word):
        start = word * pixels_per_word
        end = min(start + pixels_per_word, num_pixels)
        if word < words_RW.shape[1] and _all_agree(words_RW, word):
            for p in range(start, end):
                agreed_B[votes_RP[0, p]] += 1
                place_P[p] = votes_RP[0, p]
            continue
        _pack(votes_RP, start, end, bits, codes_SN)
        for p in range(start, end):
            code_N = codes_SN[p - start]
            vote = votes_RP[0, p]
            agreed = True
            for n in range(num_codes):
                agreed &= code_N[n] == np.uint64(vote) * ones_N[n]
            if agreed:
                agreed_B[vote] += 1
                place_P[p] = vote
                continue
            if last < 0 or not _equal(code_N, last_N):
                slot = _slot_of(code_N, codes_TN, slots)
                if slots[slot] < 0:
                    if num_tuples == pixels_T.size:
                        codes_TN, pixels_T, slots = _grown(codes_TN, pixels_T)
                        slot = _slot_of(code_N, codes_TN, slots)
                    codes_TN[num_tuples] = code_N
                    slots[slot] = num_tuples
                    num_tuples += 1
                last = slots[slot]
                last_N[:] = code_N
            pixels_T[last] += 1
            place_P[p] = base + last
    return place_P, agreed_B, codes_TN[:num_tuples].copy(), pixels_T[:num_tuples].copy()


@kernel
def _all_agree(words_RW: NDArray[np.uint64], word: int) -> bool:
    same = True
    for r in range(1, words_RW.shape[0]):
        same &= words_RW[r, word] == words_RW[0, word]
    return same


@kernel
def _pack(votes_RP: LabelMap, start: int, end: int, bits: int, codes_SN: NDArray[np.uint64]) -> None:
    """The codes of pixels `start` to `end`."""
    per_code = 64 // bits
    for n in range(codes_SN.shape[1]):
        for s in range(end - start):
            codes_SN[s, n] = np.uint64(0)
        for r in range(n * per_code, min((n + 1) * per_code, votes_RP.shape[0])):
            shift = np.uint64(bits * (r - n * per_code))
            for s in range(end - start):
                codes_SN[s, n] |= np.uint64(votes_RP[r, start + s]) << shift


@kernel
def _equal(first_N: NDArray[np.uint64], second_N: NDArray[np.uint64]) -> bool:
    same = True
    for n in range(first_N.size):
        same &= first_N[n] == second_N[n]
    return same


@kernel
def _slot_of(code_N: NDArray[np.uint64], codes_TN: NDArray[np.uint64], slots: NDArray[np.int32]) -> np.int64:
    """The slot that holds the code, or the free one where it belongs: linear probing, less than half full."""
    mixed = np.uint64(0)
    for n in range(code_N.size):
        mixed = (mixed ^ code_N[n]) * _MIX
        mixed ^= mixed >> _HALF
    slot = np.int64(mixed & np.uint64(slots.size - 1))
    while slots[slot] >= 0 and not _equal(codes_TN[slots[slot]], code_N):
        slot = (slot + 1) & (slots.size - 1)
    return slot


@kernel
def _grown(
    codes_TN: NDArray[np.uint64], pixels_T: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]:
    """The full table at twice its size, its codes hashed anew."""
    num_tuples = pixels_T.size
    more_codes_TN = np.zeros((2 * num_tuples, codes_TN.shape[1]), np.uint64)
    more_codes_TN[:num_tuples] = codes_TN
    more_pixels_T = np.zeros(2 * num_tuples, np.int64)
    more_pixels_T[:num_tuples] = pixels_T
    slots = np.full(8 * num_tuples, -1, np.int32)
    for t in range(num_tuples):
        slots[_slot_of(codes_TN[t], more_codes_TN, slots)] = t
    return more_codes_TN, more_pixels_T, slots


@kernel
def unpack(codes_TN: NDArray[np.uint64], num_annotators: int, bits: int) -> NDArray[np.int32]:
    """Votes by tuple, int32 (T, R), from codes."""
    per_code = 64 // bits
    mask = (_ONE << np.uint64(bits)) - _ONE
    votes_TR = np.empty((codes_TN.shape[0], num_annotators), np.int32)
    for t in range(codes_TN.shape[0]):
        for r in range(num_annotators):
            votes_TR[t, r] = np.int32((codes_TN[t, r // per_code] >> np.uint64(bits * (r % per_code))) & mask)
    return votes_TR


def warm() -> None:
    """Compile for uint8 and uint16 label maps."""
    for dtype in (np.uint8, np.uint16):
        votes_RP: LabelMap = (np.arange(32).reshape(2, 16) % 3).astype(dtype)
        count_tuples(votes_RP, votes_RP.view(np.uint64), 8 // votes_RP.itemsize, 2, 4)
        found = count_codes(votes_RP, votes_RP.view(np.uint64), 8 // votes_RP.itemsize, 2, 4)
        unpack(found[2], 2, 2)
