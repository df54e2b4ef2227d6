"""Reading the decisions of format version 2: its adaptive model and range coder (docs/mask-format.md).

Nothing writes them any more. `control` int64 (the registers of coder and map), `table` int32 (slots, weights,
values met so far) and `data` uint8 (the coded bytes) are the state. `window` holds eight padded rows of the map
one after another; `at0` is where the current row starts in it, `at1` the one above, and so on.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.codec import v2_state as state
from terrazzo_masks.codec.v2_state import Control, Data, Int, Model, Starts, Table, Window, new_state
from terrazzo_masks.native import lean


@lean
def shift_bytes(control: Control, data: Data) -> None:
    """Replace the leading bytes on which both ends of the interval agree by new ones from `data`."""
    low, high, code, position = (
        control[state.LOW],
        control[state.HIGH],
        control[state.CODE],
        control[state.POSITION],
    )
    while (low ^ high) & 0xFF000000 == 0:
        byte = np.int64(0)
        if position < data.size:
            byte = np.int64(data[position])
        elif position >= data.size + 4:
            control[state.FAILED] = 1
        code = (code << 8 & state.WORD) | byte
        position += 1
        low = low << 8 & state.WORD
        high = (high << 8 & state.WORD) | 255
    control[state.LOW], control[state.HIGH], control[state.CODE], control[state.POSITION] = (
        low,
        high,
        code,
        position,
    )


@lean
def code(control: Control, data: Data, share: Int) -> Int:
    """Read one bit that is 1 with a probability of `share` 65536ths."""
    low, high = control[state.LOW], control[state.HIGH]
    width = high - low
    middle = low + (width >> 16) * share + ((width & 0xFFFF) * share >> 16)
    bit = 1 if control[state.CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    control[state.LOW], control[state.HIGH] = low, high
    if (low ^ high) & 0xFF000000 == 0:
        shift_bytes(control, data)
    return bit


@lean
def find(table: Table, number: Int, kind: Int, context: Int) -> Int:
    """Place in `table` of the slot of the context of that number."""
    return (number << state.SLOT_BITS) + (
        ((context * 8 + kind) * state.GOLDEN & state.WORD) >> (32 - state.SLOT_BITS)
    )


@lean
def learn(table: Table, place: Int, bit: Int) -> None:
    """Move the probability in a slot towards the bit, the less the more often it was moved."""
    slot = np.int64(table[place])
    count = slot & 255
    probability = slot >> 8
    if bit:
        probability += (4194303 - probability) * state.RATE[count] >> 16
    else:
        probability -= probability * state.RATE[count] >> 16
    table[place] = probability << 8 | (count + (count < state.COUNT_MAX))


@lean
def decide(model: Model, kind: Int, weight_set: Int, c0: Int, c1: Int, c2: Int, c3: Int) -> Int:
    """The bit of one decision under four contexts.

    The four are written out, not looped over: in registers this is twice as fast.
    """
    control, table, data = model
    first = state.WEIGHTS + weight_set * state.NUM_CONTEXTS
    p0, p1 = find(table, 0, kind, c0), find(table, 1, kind, c1)
    p2, p3 = find(table, 2, kind, c2), find(table, 3, kind, c3)
    t0, t1 = np.int64(state.STRETCH[table[p0] >> 18]), np.int64(state.STRETCH[table[p1] >> 18])
    t2, t3 = np.int64(state.STRETCH[table[p2] >> 18]), np.int64(state.STRETCH[table[p3] >> 18])
    w0, w1 = np.int64(table[first]), np.int64(table[first + 1])
    w2, w3 = np.int64(table[first + 2]), np.int64(table[first + 3])
    total: Int = (t0 * w0 + t1 * w1 + t2 * w2 + t3 * w3) >> 16
    share = np.int64(state.SQUASH[min(max(total, -2047), 2047) + 2048])
    bit = code(control, data, share)
    error = ((bit << 16) - share) * state.LEARNING
    table[first] = w0 + ((t0 * error + 32768) >> 16)
    table[first + 1] = w1 + ((t1 * error + 32768) >> 16)
    table[first + 2] = w2 + ((t2 * error + 32768) >> 16)
    table[first + 3] = w3 + ((t3 * error + 32768) >> 16)
    learn(table, p0, bit)
    learn(table, p1, bit)
    learn(table, p2, bit)
    learn(table, p3, bit)
    return bit


@lean
def log2(number: Int) -> Int:
    """Floor of the binary logarithm of a number >= 1; 0 for 0."""
    bits = 0
    while number >> (bits + 1):
        bits += 1
    return bits


@lean
def new_value(model: Model) -> Int:
    """A value that did not occur so far, bit by bit; notes it."""
    control, table, _ = model
    num_bits = 8 if control[state.NUM_VALUES] == 256 else 16
    node = 1
    for place in range(num_bits - 1, -1, -1):
        node = node << 1 | decide(
            model, state.NOVEL, state.NOVEL_SET + 1 + place, node << 1 | 1, place << 1 | 1, 1, node << 1 | 1
        )
    value = node - (1 << num_bits)
    num_known = control[state.NUM_KNOWN]
    if table[state.KNOWN + control[state.NUM_VALUES] + value] >= 0:
        control[state.FAILED] = 1
    else:
        table[state.KNOWN + num_known] = value
        table[state.KNOWN + control[state.NUM_VALUES] + value] = num_known
        control[state.NUM_KNOWN] = num_known + 1
    return value


@lean
def symbol(model: Model, west: Int, other: Int) -> Int:
    """A value that no neighbour predicts: new, or one of those met so far by its place among them."""
    control, table, _ = model
    num_known = control[state.NUM_KNOWN]
    if decide(model, state.NOVEL, state.NOVEL_SET, min(num_known, 40) << 1, 0, west << 1, min(num_known, 40) << 1):
        return new_value(model)
    if num_known == 0:
        control[state.FAILED] = 1
        return 0
    num_bits = log2(num_known - 1) + 1 if num_known > 1 else 0
    node = 1
    for place in range(num_bits - 1, -1, -1):
        node = node << 1 | decide(
            model,
            state.SYMBOL,
            state.SYMBOL_SET + place,
            node,
            node + west * state.FOLD_A,
            node + west * state.FOLD_A + other * state.FOLD_B,
            node + other * state.FOLD_B,
        )
    known = node - (1 << num_bits)
    if known >= num_known:
        control[state.FAILED] = 1
        return 0
    return np.int64(table[state.KNOWN + known])


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


@lean
def same_until(window: Window, at: Int, stop: Int, value: Int) -> Int:
    """The first place from `at` on that has another value, or `stop`."""
    part = window[at:stop]  # places counted from 0: the compiler sees that none is negative, and takes 16 a step
    place = 0
    while place + 16 <= part.size:
        differ = 0
        for k in range(16):
            differ |= part[place + k] ^ value
        if differ:
            break
        place += 16
    while place < part.size and part[place] == value:
        place += 1
    return at + place


@lean
def run(model: Model, window: Window, at0: Int, at1: Int, at2: Int, x: Int, end: Int, num_broken: Int) -> Int:
    """Read the run from `x` on in which everything around agrees; returns the column to go on at.

    The run goes on to the column before the next border of the row above. One decision says whether it all is as
    the pixel to its left; when not, where the first other pixel is, and which value it has.
    """
    control = model[0]
    west = np.int64(window[at0 + x - 1])
    stop = same_until(window, at1 + x + 1, at1 + end + 1, window[at0 + x - 1]) - at1 - 1
    broken = stop
    size = log2(stop - x)
    moved: Int = 12
    right: Int = 65536
    if stop < end:
        moved = drift(window, at2, stop + 1, end, west)
        right = np.int64(window[at1 + stop + 1])
    num_broken = min(num_broken, 7)
    pair = west * state.FOLD_A + right * state.FOLD_B
    hit = decide(
        model,
        state.RUN,
        state.RUN_SET + min(size, 16),
        size << 4 | moved,
        moved << 3 | num_broken,
        west << 5 | size,
        pair + moved,
    )
    if hit:
        broken = stop - distance(model, size, moved, num_broken, pair)
        if broken < x:
            control[state.FAILED] = 1
            broken = x
    part = window[at0 + x : at0 + broken]
    for place in range(part.size):
        part[place] = west
    if hit:
        window[at0 + broken] = symbol(model, west, right)
        return broken + 1
    return stop


@lean
def distance(model: Model, size: Int, moved: Int, num_broken: Int, pair: Int) -> Int:
    """A distance from 1 to below 2 ** (size + 1): its bits by number in unary, then the bits themselves."""
    num_bits = 0
    while num_bits < size:
        near = num_bits << 4 | moved
        if not decide(
            model,
            state.BUCKET,
            state.BUCKET_SET + num_bits,
            near,
            near << 5 | size,
            num_bits << 3 | num_broken,
            pair + num_bits,
        ):
            break
        num_bits += 1
    node = 1
    for place in range(num_bits - 1, -1, -1):
        lead = (num_bits << 5 | place) << 4 | (node if num_bits - place < 4 else 0)
        node = node << 1 | decide(
            model, state.OFFSET, state.OFFSET_SET + place, lead, lead << 4 | moved, lead << 5 | size, place
        )
    return node


@lean
def pixel(model: Model, window: Window, base_HW: NDArray[np.uint16], y: Int, starts: Starts, x: Int) -> None:
    """Read a pixel around which something differs: is it as its western neighbour, the other one, or which."""
    control, table, data = model
    at0, at1, at2 = starts[0] + x, starts[1] + x, starts[2] + x
    west = np.int64(window[at0 - 1])
    north, north_east = np.int64(window[at1]), np.int64(window[at1 + 1])
    north_west, far_east = np.int64(window[at1 - 1]), np.int64(window[at1 + 2])
    far_west, far_north = np.int64(window[at0 - 2]), np.int64(window[at2])
    like = (north == west) | (north_east == west) << 1 | (north_west == west) << 2
    like |= (far_east == west) << 3 | (far_west == west) << 4 | (far_north == west) << 5
    pairs = (north_east == north) | (north_west == north) << 1 | (far_north == north) << 2
    pairs |= (far_east == north) << 3 | (far_west == north) << 4
    near = like | pairs << 6
    place = find(table, 0, state.LEFT, near)
    slot = np.int64(table[place])
    if (slot & 255) >= state.SURE_COUNT and not state.SURE_FROM <= slot >> 8 <= state.SURE_TO:
        bit = code(control, data, min(max(slot >> 14, 32), 65504))
        learn(table, place, bit)
    else:
        classes = west * state.FOLD_A + north * state.FOLD_B + north_east * state.FOLD_C + like
        above = three(window, at2, west)
        column = above << 9 | three(window, starts[3] + x, west) << 6
        column |= three(window, starts[4] + x, west) << 3 | three(window, starts[5] + x, west)
        around = wide(window, at0, at1, at2, west) | ((like & 31) << 3 | above) << 11
        if control[state.PATCH]:
            around = around << 4 | base_bits(base_HW, y, x - state.PAD)
        weights = state.LEFT_SET + ((like & 31) | (pairs & 7) << 5)
        bit = decide(model, state.LEFT, weights, near, classes, column << 3 | (like & 7), around)
    if bit:
        window[at0] = west
        return
    other = north
    if north == west:
        other = north_west if north_east == west else north_east
    same = (other == north) | (north_east == other) << 1 | (north_west == other) << 2
    same |= (far_east == other) << 3 | (far_north == other) << 4 | (far_west == other) << 5
    pair = west * state.FOLD_A + other * state.FOLD_B
    bit = decide(model, state.OTHER, state.OTHER_SET + same, same | like << 6, same, pair, pair + same)
    window[at0] = other if bit else symbol(model, west, other)


@lean
def three(window: Window, at: Int, west: Int) -> Int:
    """Bits: is the value at `at`, before it, behind it that of the western neighbour."""
    return (window[at] == west) | (window[at - 1] == west) << 1 | (window[at + 1] == west) << 2


@lean
def wide(window: Window, at0: Int, at1: Int, at2: Int, west: Int) -> Int:
    """Eleven bits for the wider neighbourhood: which of it has the value of the western neighbour."""
    bits = 0
    for k in range(3, 6):
        bits = bits << 1 | (window[at1 + k] == west)
    for k in range(2, 5):
        bits = bits << 1 | (window[at1 - k] == west)
    for k in range(2, 5):
        bits = bits << 1 | (window[at2 + k] == west)
    bits = bits << 1 | (window[at2 - 2] == west)
    return bits << 1 | (window[at0 - 3] == west)


@lean
def base_bits(base_HW: NDArray[np.uint16], y: Int, x: Int) -> Int:
    """Does the base change between this pixel and its western, northern, eastern, southern neighbour."""
    here = base_HW[y, x]
    bits = (base_HW[y, max(x - 1, 0)] != here) | (base_HW[max(y - 1, 0), x] != here) << 1
    bits |= (base_HW[y, min(x + 1, base_HW.shape[1] - 1)] != here) << 2
    return bits | (base_HW[min(y + 1, base_HW.shape[0] - 1), x] != here) << 3


@lean
def copy(source: Window, target: Window) -> None:
    """Copy a row: a loop that the compiler sees through, where a slice assignment checks for overlaps."""
    for x in range(source.size):
        target[x] = source[x]


@lean
def walk(
    model: Model, labels_HW: NDArray[np.uint16], base_HW: NDArray[np.uint16], window: Window, first_row: Int
) -> None:
    """Read some rows of a map, from `first_row` on, into `labels_HW`.

    `window` is all 0 before row 0. Stops early when control[state.FAILED] is set.
    """
    control = model[0]
    height, width = labels_HW.shape
    stride = width + 2 * state.PAD
    end = state.PAD + width
    history, busy = control[state.HISTORY], control[state.BUSY]
    for y in range(first_row, first_row + height):
        at0, at1, at2 = (y & 7) * stride, (y - 1 & 7) * stride, (y - 2 & 7) * stride
        starts = (at0, at1, at2, (y - 3 & 7) * stride, (y - 4 & 7) * stride, (y - 5 & 7) * stride)
        here, above = window[at0 + state.PAD : at0 + end], window[at1 + state.PAD : at1 + end]
        size = log2(busy + 1)
        both = size << 1 | history & 1
        same = decide(model, state.ROW, state.ROW_SET, history & 7, size, both, history)
        history = history << 1 & 63 | same
        window[at0 : at0 + state.PAD] = window[at1 + state.PAD]
        if same:
            copy(above, here)
        else:
            busy = row(model, window, base_HW, y, starts, end)
        window[at0 + end : at0 + end + state.PAD] = window[at0 + end - 1]
        copy(here, labels_HW[y - first_row])
        if control[state.FAILED]:
            return
    control[state.HISTORY], control[state.BUSY] = history, busy


@lean
def row(model: Model, window: Window, base_HW: NDArray[np.uint16], y: Int, starts: Starts, end: Int) -> Int:
    """Read one row that does not repeat the one above; returns how many pixels took decisions of their own."""
    at0, at1, at2 = starts[0], starts[1], starts[2]
    num_pixels, num_broken = 0, 0
    x = state.PAD
    while x < end:
        west = window[at0 + x - 1]
        if window[at1 + x - 1] == west and window[at1 + x] == west and window[at1 + x + 1] == west:
            x = run(model, window, at0, at1, at2, x, end, num_broken)
            num_broken += window[at0 + x - 1] != west
        else:
            pixel(model, window, base_HW, y, starts, x)
            x += 1
            num_pixels += 1
    return num_pixels


def warm() -> None:
    """Compile: one kind of array does for both dtypes."""
    labels_HW, data = np.zeros((9, 9), dtype=np.uint16), np.zeros(256, dtype=np.uint8)
    model = new_state(data, np.dtype(np.uint8), patch=False)
    walk(model, labels_HW, labels_HW, np.zeros(state.NUM_ROWS * (9 + 2 * state.PAD), dtype=np.uint16), 0)
