"""The adaptive model of label maps behind the small profile and patches, and the range coder that it drives.

One function walks a map in raster order and makes each of its decisions by `decide`, which either writes the bit
that it is told or reads the bit and tells it: encoder and decoder are the same lines and cannot drift apart. Where
the neighbourhood agrees, a whole run takes one decision. Each decision has a coarse slot, soon learnt, and a fine
one, believed the more the more often it was met. `docs/mask-format.md` says it all in words.

Arrays are the state: `control` int64 (the registers of coder and map), `coarse` int32 (coarse slots, values
guessed, values met), `fine` int32 (fine slots) and `data` uint8 (the coded bytes). `window` holds eight padded
rows of the map one after another; `at0` is where the current row starts in it, `at1` the one above, and so on.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.codec import state
from terrazzo_masks.codec.state import Control, Data, Int, Model, Window, new_state
from terrazzo_masks.native import inlined, lean

# A place in an array after `& PLACE` is known not to be negative: numba then need not look whether it counts from
# the end, which is a quarter of the work of reading a neighbourhood.
PLACE = (1 << 46) - 1
REACH = 4


@lean
def shift_bytes(control: Control, data: Data) -> None:
    """Move two bytes out to, or in from, `data`; the range grows by as much."""
    low, position = control[state.LOW], control[state.POSITION]
    if control[state.DECODING]:
        low <<= 16
        if position < data.size:
            low |= np.int64(data[position]) << 8
        if position + 1 < data.size:
            low |= np.int64(data[position + 1])
        elif position > data.size + 4:
            control[state.FAILED] = 1
    else:
        if position + 1 < data.size:
            data[position], data[position + 1] = low >> 40, low >> 32 & 255
        else:
            control[state.FAILED] = 1
        low = (low & state.WORD) << 16
    control[state.LOW], control[state.POSITION] = low, position + 2
    control[state.RANGE] <<= 16


@lean
def carry(control: Control, data: Data) -> None:
    """Add what does not fit into LOW to the bytes written."""
    control[state.LOW] &= (1 << state.CODER_BITS) - 1
    place = min(control[state.POSITION], data.size) - 1
    while place >= 0 and data[place] == 255:
        data[place] = 0
        place -= 1
    if place >= 0:
        data[place] += 1


def _decide(model: Model, at: Int, context: Int, bit: Int) -> Int:
    """Code one decision under the coarse slot `at` and the fine one of `context`; returns the bit.

    `bit` is that bit when encoding. Contexts of different kinds of decision differ in their lowest four bits.
    """
    control, coarse, fine, data = model
    place = (context * state.GOLDEN & state.WORD) >> control[state.SHIFT]
    slot, fine_slot = np.int64(coarse[at]), np.int64(fine[place])
    count, fine_count = slot & 255, fine_slot & 255
    probability, fine_probability = slot >> 8, fine_slot >> 8
    if fine_count == 0:
        fine_probability = probability
    share = (probability + ((fine_probability - probability) * state.TRUST[fine_count] >> 8)) >> 6
    share = min(max(share, state.SHARE_MIN), state.SHARE_MAX)
    whole = control[state.RANGE]
    part = (whole >> 16) * share
    if control[state.DECODING]:
        bit = 1 if control[state.LOW] < part else 0
    if bit:
        whole = part
        probability += (4194303 - probability) * state.RATE[count] >> 16
        fine_probability += (4194303 - fine_probability) * state.RATE[fine_count] >> 16
    else:
        whole -= part
        probability -= probability * state.RATE[count] >> 16
        fine_probability -= fine_probability * state.RATE[fine_count] >> 16
        if control[state.DECODING]:
            control[state.LOW] -= part
        else:
            control[state.LOW] += part
            if control[state.LOW] >> state.CODER_BITS:
                carry(control, data)
    control[state.RANGE] = whole
    coarse[at] = probability << 8 | (count + (count < state.COUNT_MAX))
    fine[place] = fine_probability << 8 | (fine_count + (fine_count < state.COUNT_MAX))
    if whole >> 32 == 0:
        shift_bytes(control, data)
    return bit


# One body: called where decisions are rare, and compiled into the loop where they are not.
decide = lean(_decide)
decide_here = inlined(_decide)


@lean
def log2(number: Int) -> Int:
    """Floor of the binary logarithm of a number from 1 to 2 ** 24 - 1; 0 for 0."""
    if number < 256:
        return state.LOG2[number & 255]
    if number < 65536:
        return 8 + state.LOG2[number >> 8 & 255]
    return 16 + state.LOG2[number >> 16 & 255]


@lean
def new_value(model: Model, value: Int) -> Int:
    """Code a value that did not occur so far, bit by bit, and note it."""
    control, coarse, _, _ = model
    num_known, num_values = control[state.NUM_KNOWN], control[state.NUM_VALUES]
    if num_known >= num_values:
        control[state.FAILED] = 1
        return 0
    num_bits = 8 if num_values == 256 else 16
    node = 1
    for i in range(num_bits - 1, -1, -1):
        bit = (value >> i) & 1
        node = node << 1 | decide(model, state.NEW_AT + i, node << 4 | state.NEW, bit)
    value = node - num_values
    coarse[state.KNOWN + num_known] = value
    if control[state.DECODING] == 0:
        coarse[state.KNOWN + num_values + value] = num_known
    control[state.NUM_KNOWN] = num_known + 1
    return value


@lean
def symbol(model: Model, west: Int, other: Int, value: Int) -> Int:
    """Code a value that no neighbour predicts: what followed the same two before, a new one, or one met before."""
    control, coarse, _, _ = model
    pair = west * state.FOLD_A + other * state.FOLD_B
    place = state.GUESSES + ((pair * state.GOLDEN & state.WORD) >> (32 - state.GUESS_BITS))
    guess = np.int64(coarse[place])
    if guess >= 0:
        hit = 1 if value == guess else 0
        if decide(model, state.GUESS_AT, pair << 4 | state.GUESS, hit):
            return guess
    num_known = control[state.NUM_KNOWN]
    known = 0 if control[state.DECODING] else np.int64(coarse[state.KNOWN + control[state.NUM_VALUES] + value])
    novel = 1 if known < 0 else 0
    if decide(model, state.NOVEL_AT + min(num_known, 40), west << 4 | state.NOVEL, novel):
        value = new_value(model, value)
    elif num_known == 0:
        control[state.FAILED] = 1
        return 0
    else:
        num_bits = log2(num_known - 1) + 1 if num_known > 1 else 0
        node = 1
        for i in range(num_bits - 1, -1, -1):
            at, context = state.SYMBOL_AT + min(node, 1023), (node + pair) << 4 | state.SYMBOL
            node = node << 1 | decide(model, at, context, (known >> i) & 1)
        known = node - (1 << num_bits)
        if known >= num_known:
            control[state.FAILED] = 1
            return 0
        value = np.int64(coarse[state.KNOWN + known])
    coarse[place] = value
    return value


@lean
def drift(window: Window, at2: Int, border: Int, end: Int, west: Int) -> Int:
    """How the border at column `border` of the row above had moved there from the row above that: 0..12."""
    moved = 0
    if window[at2 + border] == west:
        while moved < 33 and border + moved < end and window[at2 + border + moved] == west:
            moved += 1
        return moved if moved < 4 else 4 if moved < 6 else 5 if moved < 11 else 6 if moved < 33 else 7
    while moved < 10 and border - 1 - moved >= state.PAD and window[at2 + border - 1 - moved] != west:
        moved += 1
    return 0 if moved == 0 else 8 if moved == 1 else 9 if moved < 4 else 10 if moved < 10 else 11


@inlined
def same_until(window: Window, at: Int, stop: Int, value: Int) -> Int:
    """The first place from `at` on that has another value, or `stop`."""
    part = window[at:stop]  # places counted from 0: the compiler sees that none is negative, and takes 16 a step
    place = 0
    while place < 8:  # most runs of a busy map end here
        if place >= part.size or part[place] != value:
            return at + place
        place += 1
    while place + 16 <= part.size:
        differ = False
        for k in range(16):
            differ |= part[place + k] != value
        if differ:
            break
        place += 16
    while place < part.size and part[place] == value:
        place += 1
    return at + place


@lean
def run(model: Model, window: Window, at0: Int, at1: Int, at2: Int, x: Int, end: Int) -> Int:
    """Code the run from `x` on in which everything around agrees; returns the column to go on at.

    The run goes on to the column before the next border of the row above. One decision says whether it all is as
    the pixel to its left; when not, where the first other pixel is, and which value it has.
    """
    control = model[0]
    west = np.int64(window[at0 + x - 1])
    stop = same_until(window, at1 + x + 1, at1 + end + 1, window[at0 + x - 1]) - at1 - 1
    broken = x
    if not control[state.DECODING]:
        broken = same_until(window, at0 + x, at0 + stop, window[at0 + x - 1]) - at0
    size = log2(stop - x)
    moved: Int = 12
    right: Int = 65536
    if stop < end:
        moved = drift(window, at2, stop + 1, end, west)
        right = np.int64(window[at1 + stop + 1])
    context = (west * state.FOLD_A + right * state.FOLD_B + moved) << 4 | state.RUN
    hit = decide(model, state.RUN_AT + (size << 4 | moved), context, 1 if broken < stop else 0)
    if hit:
        broken = stop - distance(model, size, moved, stop - broken)
        if broken < x:
            control[state.FAILED] = 1
            broken = x
    else:
        broken = stop
    if control[state.DECODING]:
        part = window[at0 + x : at0 + broken]
        for place in range(part.size):
            part[place] = west
    if hit:
        value = np.int64(window[at0 + broken])
        window[at0 + broken] = symbol(model, west, right, value)
        return broken + 1
    return stop


@lean
def distance(model: Model, size: Int, moved: Int, value: Int) -> Int:
    """Code a distance from 1 to below 2 ** (size + 1): its bits by number in unary, then the bits themselves."""
    num_bits = 0
    want = log2(value)
    while num_bits < size:
        near = num_bits << 4 | moved
        context = (near << 5 | size) << 4 | state.BUCKET
        if not decide(model, state.BUCKET_AT + near, context, 1 if num_bits < want else 0):
            break
        num_bits += 1
    node = 1
    for i in range(num_bits - 1, -1, -1):
        lead = num_bits << 3 | (node if num_bits - i < 4 else 0)
        context = ((lead << 5 | i) << 4 | moved) << 4 | state.OFFSET
        node = node << 1 | decide(model, state.OFFSET_AT + lead, context, (value >> i) & 1)
    return node


@lean
def base_bits(base_HW: NDArray[np.uint16], y: Int, x: Int) -> Int:
    """Does the base change between this pixel and its western, northern, eastern, southern neighbour."""
    here = base_HW[y, x]
    bits = (base_HW[y, max(x - 1, 0)] != here) | (base_HW[max(y - 1, 0), x] != here) << 1
    bits |= (base_HW[y, min(x + 1, base_HW.shape[1] - 1)] != here) << 2
    return bits | (base_HW[min(y + 1, base_HW.shape[0] - 1), x] != here) << 3


@inlined
def place(y: Int, x: Int, stride: Int) -> Int:
    """Where a pixel is in the window; what lies up to REACH before it is known to have no negative place."""
    return ((y & 7) * stride + x - REACH & PLACE) + REACH


@inlined
def three(window: Window, at: Int, west: Int) -> Int:
    """Bits: is the value at `at`, before it, behind it that of the western neighbour."""
    return (window[at] == west) | (window[at - 1] == west) << 1 | (window[at + 1] == west) << 2


@inlined
def wide(window: Window, at0: Int, at1: Int, at2: Int, west: Int) -> Int:
    """Eleven bits for the wider neighbourhood: which of it has the value of the western neighbour."""
    bits = (window[at1 + 3] == west) | (window[at1 + 4] == west) << 1 | (window[at1 + 5] == west) << 2
    bits |= (window[at1 - 2] == west) << 3 | (window[at1 - 3] == west) << 4 | (window[at1 - 4] == west) << 5
    bits |= (window[at2 + 2] == west) << 6 | (window[at2 + 3] == west) << 7 | (window[at2 + 4] == west) << 8
    return bits | (window[at2 - 2] == west) << 9 | (window[at0 - 3] == west) << 10


@inlined
def pixel(model: Model, window: Window, base_HW: NDArray[np.uint16], y: Int, x: Int, stride: Int) -> None:
    """Code a pixel around which something differs: is it as its western neighbour, another one, or which."""
    control = model[0]
    at0, at1, at2 = place(y, x, stride), place(y - 1, x, stride), place(y - 2, x, stride)
    at3, at4 = place(y - 3, x, stride), place(y - 4, x, stride)
    value, west = np.int64(window[at0]), np.int64(window[at0 - 1])
    north, north_east = np.int64(window[at1]), np.int64(window[at1 + 1])
    north_west, far_east = np.int64(window[at1 - 1]), np.int64(window[at1 + 2])
    far_west, far_north = np.int64(window[at0 - 2]), np.int64(window[at2])
    like = (north == west) | (north_east == west) << 1 | (north_west == west) << 2
    like |= (far_east == west) << 3 | (far_west == west) << 4 | (far_north == west) << 5
    pairs = (north_east == north) | (north_west == north) << 1 | (far_north == north) << 2
    pairs |= (far_east == north) << 3 | (far_west == north) << 4
    near = like | pairs << 6
    around = wide(window, at0, at1, at2, west) | three(window, at2, west) << 11
    around |= three(window, at3, west) << 14 | three(window, at4, west) << 17
    context = around + near * state.FOLD_A
    if control[state.PATCH]:
        context += base_bits(base_HW, y, x - state.PAD) * state.FOLD_B
    bit = 1 if value == west else 0
    if decide_here(model, state.LEFT_AT + near, context << 4 | state.LEFT, bit):
        window[at0] = west
        return
    other = north
    if north == west:
        other = north_west if north_east == west else north_east
    same = (north_east == other) | (north_west == other) << 1 | (north == other) << 2
    same |= (far_east == other) << 3 | (far_north == other) << 4 | (far_west == other) << 5
    context = west * state.FOLD_A + other * state.FOLD_B + like * state.FOLD_C + same
    bit = 1 if value == other else 0
    if decide_here(model, state.OTHER_AT + (same | like << 6), context << 4 | state.OTHER, bit):
        window[at0] = other
        return
    window[at0] = rest(model, window, at0, at1, at2, other)


@lean
def rest(model: Model, window: Window, at0: Int, at1: Int, at2: Int, other: Int) -> Int:
    """Code a pixel that is neither as its western neighbour nor as `other`: a third neighbour, or a symbol."""
    value, west = np.int64(window[at0]), np.int64(window[at0 - 1])
    north_east, north_west = np.int64(window[at1 + 1]), np.int64(window[at1 - 1])
    far_east, far_north, far_west = np.int64(window[at1 + 2]), np.int64(window[at2]), np.int64(window[at0 - 2])
    third = north_east
    for neighbour in (north_west, far_east, far_north, far_west):
        if third in (west, other):
            third = neighbour
    if third != west and third != other:
        same = (north_east == third) | (north_west == third) << 1 | (far_east == third) << 2
        same |= (far_north == third) << 3 | (far_west == third) << 4
        context = (west * state.FOLD_A + third * state.FOLD_B + same) << 4 | state.SECOND
        if decide(model, state.SECOND_AT + same, context, 1 if value == third else 0):
            return third
    return symbol(model, west, other, value)


@inlined
def repeats(here: Window, above: Window) -> Int:
    """1 when both rows are equal."""
    width = here.size
    for start in range(0, width, 256):
        differ = False
        for x in range(start, min(start + 256, width)):
            differ |= here[x] != above[x]
        if differ:
            return 0
    return 1


@inlined
def copy(source: Window, target: Window) -> None:
    """Copy a row: a loop that the compiler sees through, where a slice assignment checks for overlaps."""
    for x in range(source.size):
        target[x] = source[x]


@lean
def row(model: Model, window: Window, base_HW: NDArray[np.uint16], y: Int, stride: Int) -> Int:
    """Code one row that does not repeat the one above; returns how many pixels took decisions of their own."""
    at0, at1, at2 = (y & 7) * stride, (y - 1 & 7) * stride, (y - 2 & 7) * stride
    end = stride - state.PAD
    num_pixels = 0
    x = state.PAD
    while x < end:
        west = window[at0 + x - 1]
        if window[at1 + x - 1] == west and window[at1 + x] == west and window[at1 + x + 1] == west:
            x = run(model, window, at0, at1, at2, x, end)
        else:
            pixel(model, window, base_HW, y, x, stride)
            x += 1
            num_pixels += 1
    return num_pixels


@lean
def walk(
    model: Model, labels_HW: NDArray[np.uint16], base_HW: NDArray[np.uint16], window: Window, first_row: Int
) -> None:
    """Code some rows of a map, from `first_row` on: read from, or when decoding written to, `labels_HW`.

    `window` is all 0 before row 0. Stops early when control[state.FAILED] is set.
    """
    control = model[0]
    height, width = labels_HW.shape
    stride = width + 2 * state.PAD
    end = state.PAD + width
    history, busy = control[state.HISTORY], control[state.BUSY]
    for y in range(first_row, first_row + height):
        at0, at1 = (y & 7) * stride, (y - 1 & 7) * stride
        here, above = window[at0 + state.PAD : at0 + end], window[at1 + state.PAD : at1 + end]
        same = 0
        if not control[state.DECODING]:
            copy(labels_HW[y - first_row], here)
            same = repeats(here, above)
        context = (log2(busy) << 1 | history & 1) << 4 | state.ROW
        same = decide(model, state.ROW_AT + history, context, same)
        history = history << 1 & 63 | same
        for k in range(state.PAD):
            window[at0 + k] = above[0]
        if not same:
            busy = row(model, window, base_HW, y, stride)
        elif control[state.DECODING]:
            copy(above, here)
        for k in range(state.PAD):
            window[at0 + end + k] = here[width - 1]
        if control[state.DECODING]:
            copy(here, labels_HW[y - first_row])
        if control[state.FAILED]:
            return
    control[state.HISTORY], control[state.BUSY] = history, busy


def warm() -> None:
    """Compile: one kind of array does for both dtypes and both ways."""
    labels_HW, data = np.eye(9, dtype=np.uint16), np.zeros(256, dtype=np.uint8)
    model = new_state(data, 81, np.dtype(np.uint8), decoding=False, patch=False)
    window = np.zeros(state.NUM_ROWS * (9 + 2 * state.PAD), dtype=np.uint16)
    walk(model, labels_HW, labels_HW, window, 0)
