"""Which points of one list have one of another within reach: a bit for each pixel, many looked at at once.

Both lists hold points class by class, first of each class (K+1,), as those of `points`.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.native import kernel, lean

BLOCK_SHIFT = 3  # rows of bits are put together by 8 too
WORD_SHIFT = 6


@lean
def any_between(word_W: NDArray[np.uint64], first: int, last: int, width: int) -> bool:
    """One of the bits of the columns from `first` to `last` is set; columns outside the image have none."""
    first, last = max(first, 0), min(last, width - 1)
    word, word_last = first >> WORD_SHIFT, last >> WORD_SHIFT
    from_first = ~np.uint64(0) << np.uint64(first & 63)
    to_last = ~np.uint64(0) >> np.uint64(63 - (last & 63))
    if word == word_last:
        return bool(word_W[word] & from_first & to_last != 0)
    found = (word_W[word] & from_first) | (word_W[word_last] & to_last)
    for between in range(word + 1, word_last):
        found |= word_W[between]
    return bool(found != 0)


@lean
def row_within(
    y: int,
    x: int,
    hint: int,
    width: int,
    half_D: NDArray[np.int64],
    bit_HW: NDArray[np.uint64],
    block_BW: NDArray[np.uint64],
) -> int:
    """A row that has a bit within reach of (y, x), or -1; `hint` is looked at first.

    At `dy` rows away the reach is `half_D[dy]` columns either way.
    """
    reach = half_D.size - 1
    if abs(hint - y) <= reach and any_between(
        bit_HW[hint], x - half_D[abs(hint - y)], x + half_D[abs(hint - y)], width
    ):
        return hint
    first, last = max(0, y - reach), min(bit_HW.shape[0] - 1, y + reach)
    for block in range(first >> BLOCK_SHIFT, (last >> BLOCK_SHIFT) + 1):
        start = block << BLOCK_SHIFT
        widest = half_D[max(0, start - y, y - start - (1 << BLOCK_SHIFT) + 1)]
        if any_between(block_BW[block], x - widest, x + widest, width):
            for row in range(max(first, start), min(last + 1, start + (1 << BLOCK_SHIFT))):
                half = half_D[abs(row - y)]
                if any_between(bit_HW[row], x - half, x + half, width):
                    return row
    return -1


@kernel
def count_within(
    first_Q: NDArray[np.int64],
    y_Q: NDArray[np.int32],
    x_Q: NDArray[np.int32],
    first_P: NDArray[np.int64],
    y_P: NDArray[np.int32],
    x_P: NDArray[np.int32],
    height: int,
    width: int,
    reach_square: int,
    num_K: NDArray[np.int64],
) -> None:
    """Write for each class how many points of the first list have one of the second within reach.

    Distances are between pixels, and up to the root of `reach_square`.
    """
    reach = int(np.sqrt(reach_square))
    half_D = np.empty(reach + 1, np.int64)
    for dy in range(reach + 1):
        half_D[dy] = int(np.sqrt(reach_square - dy * dy))
    across = (width + 63) >> WORD_SHIFT
    bit_HW = np.zeros((height, across), np.uint64)
    block_BW = np.zeros((((height - 1) >> BLOCK_SHIFT) + 1, across), np.uint64)
    for k in range(num_K.size):
        num_K[k] = 0
        if first_Q[k] == first_Q[k + 1]:
            continue
        for p in range(first_P[k], first_P[k + 1]):
            bit = np.uint64(1) << np.uint64(x_P[p] & 63)
            bit_HW[y_P[p], x_P[p] >> WORD_SHIFT] |= bit
            block_BW[y_P[p] >> BLOCK_SHIFT, x_P[p] >> WORD_SHIFT] |= bit
        row = 0
        for q in range(first_Q[k], first_Q[k + 1]):
            found = row_within(y_Q[q], x_Q[q], row, width, half_D, bit_HW, block_BW)
            if found >= 0:
                row = found
                num_K[k] += 1
        for p in range(first_P[k], first_P[k + 1]):
            bit_HW[y_P[p], x_P[p] >> WORD_SHIFT] = 0
            block_BW[y_P[p] >> BLOCK_SHIFT, x_P[p] >> WORD_SHIFT] = 0


def warm() -> None:
    first_K1, y_P, num_K = np.array([0, 1]), np.zeros(1, np.int32), np.zeros(1, np.int64)
    count_within(first_K1, y_P, y_P, first_K1, y_P, y_P, 1, 1, 1, num_K)
