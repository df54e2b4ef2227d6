"""Distinct vote tuples of a stack of label maps.

Axes: R annotators, P pixels, T distinct tuples, N 64-bit words per tuple, S slots of a hash table. A pixel's
*place* is the class id that all annotators gave it, or `base` + the number of its tuple, tuples numbered by their
first pixel. Neither depends on the order of the annotators.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import kernel

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_THREE = np.uint64(3)
_EIGHT = np.uint64(8)
_LOW = np.uint64(2**32 - 1)
_BLOCK = 2048  # pixels at a time, whole words: the votes of a block stay in the nearest cache


@kernel
def count_codes(
    votes_RP: LabelMap, words_RW: NDArray[np.uint64], pixels_per_word: int, bits: int, base: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """As `count_tuples`, for tuples whose votes fit one word: most stacks, and several times faster."""
    num_annotators, num_pixels = votes_RP.shape
    place_P = np.empty(num_pixels, np.int32)
    agreed_B = np.zeros(base, np.int64)
    # A slot is a code (0, which all agree on, is none) and its number with its pixels in the upper half.
    slots_S2 = np.zeros((256, 2), np.uint64)
    # Rows of images of a power of two in size share a cache line's place: a block of them is copied.
    votes_RB = np.empty((num_annotators, _BLOCK), votes_RP.dtype)
    differ_W = np.empty(_BLOCK // pixels_per_word, np.uint64)
    split_N = np.empty(_BLOCK, np.uint32)
    code_N = np.empty(_BLOCK, np.uint64)
    num_tuples = 0
    for start in range(0, num_pixels, _BLOCK):
        num = min(_BLOCK, num_pixels - start)
        _copy_block(votes_RP, words_RW, pixels_per_word, start, num, votes_RB, differ_W)
        num_split = _split_block(votes_RB, differ_W, num, agreed_B, place_P[start:], split_N)
        _pack_split(votes_RB, split_N, num_split, bits, code_N)
        done = 0
        while True:
            done, num_tuples = _count_split(
                code_N, done, num_split, base, num_tuples, slots_S2, place_P[start:], split_N
            )
            if done == num_split:
                break
            slots_S2 = _grown_slots(slots_S2)
    codes_TN, pixels_T = np.empty((num_tuples, 1), np.uint64), np.empty(num_tuples, np.int64)
    for slot in range(slots_S2.shape[0]):
        if slots_S2[slot, 0] != 0:
            place = np.int64(slots_S2[slot, 1] & _LOW)
            codes_TN[place, 0] = slots_S2[slot, 0]
            pixels_T[place] = np.int64(slots_S2[slot, 1] >> _HALF)
    return place_P, agreed_B, codes_TN, pixels_T


@kernel
def _copy_block(
    votes_RP: LabelMap,
    words_RW: NDArray[np.uint64],
    pixels_per_word: int,
    start: int,
    num: int,
    votes_RB: LabelMap,
    differ_W: NDArray[np.uint64],
) -> None:
    """Copy `num` pixels from `start`, which begins a word; mark the bits that differ from the first vote."""
    first_word = start // pixels_per_word
    num_words = min(num // pixels_per_word, words_RW.shape[1] - first_word)
    differ_W[:] = 0
    differ_B = differ_W.view(votes_RB.dtype)
    for r in range(votes_RP.shape[0]):
        copy_W = votes_RB[r].view(np.uint64)
        for word in range(num_words):
            copy_W[word] = words_RW[r, first_word + word]
            differ_W[word] |= words_RW[r, first_word + word] ^ words_RW[0, first_word + word]
        for p in range(num_words * pixels_per_word, num):
            votes_RB[r, p] = votes_RP[r, start + p]
            differ_B[p] |= votes_RP[r, start + p] ^ votes_RP[0, start + p]


@kernel
def _split_block(
    votes_RB: LabelMap,
    differ_W: NDArray[np.uint64],
    num: int,
    agreed_B: NDArray[np.int64],
    place_P: NDArray[np.int32],
    split_N: NDArray[np.uint32],
) -> int:
    """Count and place the pixels that all agree on; list the others in `split_N`, and return how many they are."""
    first_B, first_W = votes_RB[0], votes_RB[0].view(np.uint64)
    differ_B = differ_W.view(votes_RB.dtype)
    wide = differ_B.size < 8 * differ_W.size  # eight pixels are two words
    one_each = np.uint64(0x0001000100010001) if wide else np.uint64(0x0101010101010101)
    for p in range(num):
        place_P[p] = first_B[p]
    num_split = np.uint64(0)
    for eight in range(np.uint64(num >> 3)):
        first = eight << _THREE
        word = eight << _ONE if wide else eight
        vote = first_B[first]
        uniform = first_W[word] == one_each * np.uint64(vote)
        differs = differ_W[word]
        if wide:
            uniform &= first_W[word + _ONE] == first_W[word]
            differs |= differ_W[word + _ONE]
        # The votes of the first annotator; those in split pixels are taken off below.
        if uniform:
            agreed_B[vote] += 8
        else:
            for i in range(_EIGHT):
                agreed_B[first_B[first + i]] += 1
        if differs != 0:
            # No branch by pixel: which pixels differ is what noise decides.
            for i in range(_EIGHT):
                split_N[num_split] = first + i
                num_split += np.uint64(differ_B[first + i] != 0)
    for p in range(num >> 3 << 3, num):
        agreed_B[first_B[p]] += 1
        split_N[num_split] = p
        num_split += np.uint64(differ_B[p] != 0)
    for n in range(num_split):
        agreed_B[first_B[split_N[n]]] -= 1
    return int(np.int64(num_split))


@kernel
def _pack_split(
    votes_RB: LabelMap, split_N: NDArray[np.uint32], num_split: int, bits: int, code_N: NDArray[np.uint64]
) -> None:
    """The codes of the pixels that `split_N` lists."""
    first = votes_RB.shape[0] & 1
    code_N[:num_split] = 0
    if first == 1:
        for n in range(num_split):
            code_N[n] = votes_RB[0, split_N[n]]
    # Two annotators at a time: the codes are loaded and stored half as often.
    for r in range(first, votes_RB.shape[0], 2):
        shift, votes_B, more_B = np.uint64(bits * r), votes_RB[r], votes_RB[r + 1]
        for n in range(num_split):
            both = np.uint64(votes_B[split_N[n]]) | np.uint64(more_B[split_N[n]]) << np.uint64(bits)
            code_N[n] |= both << shift


@kernel
def _count_split(
    code_N: NDArray[np.uint64],
    done: int,
    num_split: int,
    base: int,
    num_tuples: int,
    slots_S2: NDArray[np.uint64],
    place_P: NDArray[np.int32],
    split_N: NDArray[np.uint32],
) -> tuple[int, int]:
    """Count codes from `done` on; leave off where half of the slots are taken. Returns how far it came."""
    mask = np.uint64(slots_S2.shape[0] - 1)
    for n in range(done, num_split):
        code = code_N[n]
        mixed = code * _MIX
        slot = (mixed ^ (mixed >> _HALF)) & mask
        while slots_S2[slot, 0] != code and slots_S2[slot, 0] != 0:
            slot = (slot + _ONE) & mask
        if slots_S2[slot, 0] == 0:
            if 2 * num_tuples >= slots_S2.shape[0]:
                return n, num_tuples
            slots_S2[slot, 0] = code
            slots_S2[slot, 1] = num_tuples
            num_tuples += 1
        held = slots_S2[slot, 1]
        slots_S2[slot, 1] = held + (_ONE << _HALF)
        place_P[split_N[n]] = base + np.int64(held & _LOW)
    return num_split, num_tuples


@kernel
def _grown_slots(slots_S2: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The slots at twice their number, the codes hashed anew."""
    more_S2 = np.zeros((2 * slots_S2.shape[0], 2), np.uint64)
    mask = np.uint64(more_S2.shape[0] - 1)
    for taken in range(slots_S2.shape[0]):
        if slots_S2[taken, 0] != 0:
            mixed = slots_S2[taken, 0] * _MIX
            slot = (mixed ^ (mixed >> _HALF)) & mask
            while more_S2[slot, 0] != 0:
                slot = (slot + _ONE) & mask
            more_S2[slot, 0] = slots_S2[taken, 0]
            more_S2[slot, 1] = slots_S2[taken, 1]
    return more_S2


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
                    _copy(code_N, codes_TN[num_tuples])
                    slots[slot] = num_tuples
                    num_tuples += 1
                last = slots[slot]
                _copy(code_N, last_N)
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
def _copy(code_N: NDArray[np.uint64], to_N: NDArray[np.uint64]) -> None:
    # As a loop: numba takes seconds to compile the assignment of a slice, and the words of its error.
    for n in range(code_N.size):
        to_N[n] = code_N[n]


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
    more_pixels_T = np.zeros(2 * num_tuples, np.int64)
    slots = np.full(8 * num_tuples, -1, np.int32)
    for t in range(num_tuples):
        more_pixels_T[t] = pixels_T[t]
        slots[_slot_of(codes_TN[t], more_codes_TN, slots)] = t
        _copy(codes_TN[t], more_codes_TN[t])
    return more_codes_TN, more_pixels_T, slots


@kernel
def unpack(
    codes_TN: NDArray[np.uint64], bits: int, votes_TR: NDArray[np.int32], seen_B: NDArray[np.bool_]
) -> None:
    """Write the votes of codes to `votes_TR`, and mark the class ids that occur."""
    per_code = np.uint64(64 // bits)
    mask = (_ONE << np.uint64(bits)) - _ONE
    num_annotators = np.uint64(votes_TR.shape[1])
    for t in range(codes_TN.shape[0]):
        for n in range(np.uint64(codes_TN.shape[1])):
            code = codes_TN[t, n]
            for r in range(n * per_code, min(num_annotators, (n + _ONE) * per_code)):
                vote = code & mask
                votes_TR[t, r] = vote
                seen_B[vote] = True
                code >>= np.uint64(bits)


@kernel
def renumber(votes_TR: NDArray[np.int32], index_of: NDArray[np.int32]) -> None:
    """Replace each class id by its index."""
    for t in range(votes_TR.shape[0]):
        for r in range(votes_TR.shape[1]):
            votes_TR[t, r] = index_of[np.uint64(votes_TR[t, r])]


def warm() -> None:
    """Compile for uint8 and uint16 label maps; many votes are counted as uint16 alone."""
    for dtype in (np.uint8, np.uint16):
        votes_RP: LabelMap = (np.arange(32).reshape(2, 16) % 3).astype(dtype)
        codes_TN = count_codes(votes_RP, votes_RP.view(np.uint64), 8 // votes_RP.itemsize, 2, 4)[2]
    count_tuples(votes_RP, votes_RP.view(np.uint64), 4, 2, 4)
    tuple_TR = np.zeros((len(codes_TN), 2), np.int32)
    unpack(codes_TN, 2, tuple_TR, np.zeros(4, np.bool_))
    renumber(tuple_TR, np.zeros(4, np.int32))
