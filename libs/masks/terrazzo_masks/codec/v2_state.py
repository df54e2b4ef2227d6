"""State of the model of version 2: constants, tables, and how it begins (docs/mask-format.md).

The kernels of `terrazzo_masks.kernels.label_model_v2` work on it.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Control = NDArray[np.int64]
Table = NDArray[np.int32]
Data = NDArray[np.uint8]
Window = NDArray[np.uint16]
# (control, table, data), the state of coder and model.
Model: TypeAlias = tuple[Control, Table, Data]
# In a kernel every whole number is an int64; outside, mypy would see int here and np.int64 there.
Int: TypeAlias = Any
# Where a row and the five above it begin in a window.
Starts: TypeAlias = tuple[Int, Int, Int, Int, Int, Int]

NUM_CONTEXTS = 4
SLOT_BITS = 13
NUM_WEIGHT_SETS = 408
START_SLOT = 1 << 29
START_WEIGHT = 30_000
COUNT_MAX = 255
LEARNING = 6
# A slot that was met this often and is this far from even is trusted alone.
SURE_COUNT = 24
SURE_FROM, SURE_TO = 1 << 16, (1 << 22) - (1 << 16)
NUM_ROWS = 8
PAD = 8

# Registers in `control`.
LOW, HIGH, CODE, POSITION, FAILED, NUM_KNOWN, NUM_VALUES, PATCH, HISTORY, BUSY = range(10)
NUM_REGISTERS = 10
# Parts of `table`: slots, weights, then the values met in order, then the place of each value in that order or -1.
WEIGHTS = NUM_CONTEXTS << SLOT_BITS
KNOWN = WEIGHTS + NUM_WEIGHT_SETS * NUM_CONTEXTS

# Kinds of decision, and where the weight sets of each begin.
ROW, RUN, BUCKET, OFFSET, LEFT, OTHER, NOVEL, SYMBOL = range(8)
ROW_SET, RUN_SET, BUCKET_SET, OFFSET_SET, LEFT_SET, OTHER_SET, NOVEL_SET, SYMBOL_SET = (
    *(0, 1, 18, 36, 54, 310, 374, 392),
)
GOLDEN = 0x9E3779B1
FOLD_A, FOLD_B, FOLD_C = 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F
WORD = 0xFFFFFFFF

# 65536 / (1 + exp(-k / 2)) for k = -16..16, rounded; straight lines between them.
KNOTS = (
    *(22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768),
    *(40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500),
    65514,
)


def _squash_table() -> NDArray[np.uint16]:
    knots = np.array(KNOTS, dtype=np.int32)
    knot, rest = np.divmod(np.arange(4096, dtype=np.int32), 128)
    curve: NDArray[np.uint16] = ((knots[knot] * (128 - rest) + knots[knot + 1] * rest) >> 7).astype(np.uint16)
    return curve


# Logit (256ths, from -2048) to probability (65536ths), and the logit of each probability (4096ths).
SQUASH = _squash_table()
STRETCH = (np.minimum(np.searchsorted(SQUASH, np.arange(4096) * 16 + 8), 4095) - 2048).astype(np.int16)
RATE = np.array([655360 // (10 * count + 16) for count in range(COUNT_MAX + 1)], dtype=np.int64)


def new_state(data: Data, dtype: np.dtype[Any], *, patch: bool) -> Model:
    """(control, table, data) before the first decision of `data`."""
    num_values = 256 if dtype.itemsize == 1 else 65536
    control = np.zeros(NUM_REGISTERS, dtype=np.int64)
    control[HIGH] = WORD
    control[PATCH], control[NUM_VALUES] = patch, num_values
    control[CODE], control[POSITION] = int.from_bytes(data[:4].tobytes().ljust(4, b"\0"), "big"), 4
    table = np.empty(KNOWN + 2 * num_values, dtype=np.int32)
    table[:WEIGHTS] = START_SLOT
    table[WEIGHTS:KNOWN] = START_WEIGHT
    table[KNOWN:] = -1
    return control, table, data
