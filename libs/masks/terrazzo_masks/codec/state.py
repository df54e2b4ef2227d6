"""State of the model behind the small profile and patches: constants, tables, and how it begins.

These are part of the format (docs/mask-format.md); the kernels of `terrazzo_masks.kernels.label_model` work on it.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.room import room

Control = NDArray[np.int64]
Table = NDArray[np.int32]
Data = NDArray[np.uint8]
Window = NDArray[np.uint16]
# (control, coarse, fine, data), the state of coder and model.
Model: TypeAlias = tuple[Control, Table, Table, Data]
# In a kernel every whole number is an int64; outside, mypy would see int here and np.int64 there.
Int: TypeAlias = Any

# A slot: 22 bits of probability over 8 bits of how often it was met.
START_SLOT = 1 << 29
COUNT_MAX = 127
SHARE_MIN, SHARE_MAX = 24, 65_512
# Fine slots in bits, for maps of at most so many pixels: few for few, so that they are soon made.
STAMP_PX, TILE_PX = 1 << 12, 1 << 16
FINE_BITS_STAMP, FINE_BITS_TILE, FINE_BITS_MAP = 12, 14, 16
CODER_BITS = 48
NUM_ROWS = 8
PAD = 8

# Registers in `control`.
LOW, RANGE, POSITION, FAILED, NUM_KNOWN, DECODING, NUM_VALUES, PATCH, HISTORY, BUSY, SHIFT = range(11)
NUM_REGISTERS = 11
# Parts of `table`: coarse slots, the values guessed, the fine slots, and at KNOWN the values met in order and
# (encoding) the place of each value in that order or -1.
COARSE_SLOTS = 1 << 13
GUESS_BITS = 10
GUESSES = COARSE_SLOTS
KNOWN = GUESSES + (1 << GUESS_BITS)

# Kinds of decision, and where the coarse slots of each begin.
ROW, RUN, BUCKET, OFFSET, LEFT, OTHER, SECOND, GUESS, NOVEL, NEW, SYMBOL = range(11)
LEFT_AT, SYMBOL_AT, ROW_AT, NOVEL_AT, GUESS_AT, NEW_AT, SECOND_AT, RUN_AT, BUCKET_AT, OFFSET_AT, OTHER_AT = (
    *(0, 2048, 3072, 3136, 3180, 3184, 3200, 3232, 3504, 3760, 4096),
)
GOLDEN = 0x9E3779B1
FOLD_A, FOLD_B, FOLD_C = 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F
WORD = 0xFFFFFFFF

# How far a slot moves towards a bit (65536ths), and how far a fine slot is trusted (256ths), by its count.
RATE = np.array([655360 // (10 * count + 16) for count in range(COUNT_MAX + 1)], dtype=np.int64)
TRUST = np.array([256 * count // (count + 4) for count in range(COUNT_MAX + 1)], dtype=np.int64)
# The binary logarithm, rounded down.
LOG2 = np.array([max(number.bit_length() - 1, 0) for number in range(256)], dtype=np.int64)


def new_state(data: Data, num_pixels: int, dtype: np.dtype[Any], *, decoding: bool, patch: bool) -> Model:
    """(control, coarse, fine, data) before the first decision; `data` is what is read, or where is written."""
    num_values = 256 if dtype.itemsize == 1 else 65536
    control = np.zeros(NUM_REGISTERS, dtype=np.int64)
    control[RANGE] = 1 << CODER_BITS
    fine_bits = (
        FINE_BITS_MAP if num_pixels > TILE_PX else FINE_BITS_TILE if num_pixels > STAMP_PX else FINE_BITS_STAMP
    )
    control[DECODING], control[PATCH], control[NUM_VALUES], control[SHIFT] = (
        decoding,
        patch,
        num_values,
        32 - fine_bits,
    )
    if decoding:
        num_bytes = CODER_BITS // 8
        control[LOW] = int.from_bytes(data[:num_bytes].tobytes().ljust(num_bytes, b"\0"), "big")
        control[POSITION] = num_bytes
    coarse = room("coarse", KNOWN + (num_values if decoding else 2 * num_values), np.int32)
    coarse[:COARSE_SLOTS] = START_SLOT
    coarse[COARSE_SLOTS:] = -1
    fine = room("fine", 1 << fine_bits, np.int32)
    fine[:] = 0
    return control, coarse, fine, data
