"""The adaptive model of label maps behind the small profile and patches, and the range coder that it drives.

One function walks a map in raster order and makes each of its decisions by `decide`, which either writes the bit
that it is told or reads the bit and tells it: encoder and decoder are the same lines and cannot drift apart. Where
the neighbourhood agrees, a whole run takes one decision; the mixture of four contexts is spent on the few pixels
at borders. `docs/mask-format.md` says it all in words; the names here are those of that page.

Three arrays are the state, so that a call passes little: `control` int64 (the registers of coder and map), `table`
int32 (slots, weights, values met so far) and `data` uint8 (the coded bytes). `window` holds eight padded rows of
the map one after another; `at0` is where the current row starts in it, `at1` the one above, and so on.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.codec.state import (
    BUCKET,
    BUCKET_SET,
    BUSY,
    CODE,
    COUNT_MAX,
    DECODING,
    FAILED,
    FOLD_A,
    FOLD_B,
    FOLD_C,
    GOLDEN,
    HIGH,
    HISTORY,
    KNOWN,
    LEARNING,
    LEFT,
    LEFT_SET,
    LOW,
    NOVEL,
    NOVEL_SET,
    NUM_CONTEXTS,
    NUM_KNOWN,
    NUM_ROWS,
    NUM_VALUES,
    OFFSET,
    OFFSET_SET,
    OTHER,
    OTHER_SET,
    PAD,
    PATCH,
    POSITION,
    RATE,
    ROW,
    ROW_SET,
    RUN,
    RUN_SET,
    SLOT_BITS,
    SQUASH,
    STRETCH,
    SURE_COUNT,
    SURE_FROM,
    SURE_TO,
    SYMBOL,
    SYMBOL_SET,
    WEIGHTS,
    WORD,
    Control,
    Data,
    Int,
    Starts,
    Table,
    Window,
    new_state,
)
from terrazzo_masks.native import lean


@lean
def shift_bytes(control: Control, data: Data) -> None:
    """Move the leading bytes on which both ends of the interval agree out to, or new ones in from, `data`."""
    low, high, code, position = control[LOW], control[HIGH], control[CODE], control[POSITION]
    while (low ^ high) & 0xFF000000 == 0:
        if control[DECODING]:
            byte = np.int64(0)
            if position < data.size:
                byte = np.int64(data[position])
            elif position >= data.size + 4:
                control[FAILED] = 1
            code = (code << 8 & WORD) | byte
        elif position < data.size:
            data[position] = high >> 24
        else:
            control[FAILED] = 1
        position += 1
        low = low << 8 & WORD
        high = (high << 8 & WORD) | 255
    control[LOW], control[HIGH], control[CODE], control[POSITION] = low, high, code, position


@lean
def code(control: Control, data: Data, share: Int, bit: Int) -> Int:
    """Write, or read, one bit that is 1 with a probability of `share` 65536ths."""
    low, high = control[LOW], control[HIGH]
    width = high - low
    middle = low + (width >> 16) * share + ((width & 0xFFFF) * share >> 16)
    if control[DECODING]:
        bit = 1 if control[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    control[LOW], control[HIGH] = low, high
    if (low ^ high) & 0xFF000000 == 0:
        shift_bytes(control, data)
    return bit


@lean
def find(table: Table, number: Int, kind: Int, context: Int) -> Int:
    """Place in `table` of the slot of the context of that number."""
    return (number << SLOT_BITS) + (((context * 8 + kind) * GOLDEN & WORD) >> (32 - SLOT_BITS))


@lean
def learn(table: Table, place: Int, bit: Int) -> None:
    """Move the probability in a slot towards the bit, the less the more often it was moved."""
    slot = np.int64(table[place])
    count = slot & 255
    probability = slot >> 8
    if bit:
        probability += (4194303 - probability) * RATE[count] >> 16
    else:
        probability -= probability * RATE[count] >> 16
    table[place] = probability << 8 | (count + (count < COUNT_MAX))


@lean
def decide(
    control: Control,
    table: Table,
    data: Data,
    kind: Int,
    weight_set: Int,
    bit: Int,
    c0: Int,
    c1: Int,
    c2: Int,
    c3: Int,
) -> Int:
    """Code one decision under four contexts; returns the bit, which is `bit` when encoding.

    The four are written out, not looped over: in registers this is twice as fast.
    """
    first = WEIGHTS + weight_set * NUM_CONTEXTS
    p0, p1 = find(table, 0, kind, c0), find(table, 1, kind, c1)
    p2, p3 = find(table, 2, kind, c2), find(table, 3, kind, c3)
    t0, t1 = np.int64(STRETCH[table[p0] >> 18]), np.int64(STRETCH[table[p1] >> 18])
    t2, t3 = np.int64(STRETCH[table[p2] >> 18]), np.int64(STRETCH[table[p3] >> 18])
    w0, w1 = np.int64(table[first]), np.int64(table[first + 1])
    w2, w3 = np.int64(table[first + 2]), np.int64(table[first + 3])
    total: Int = (t0 * w0 + t1 * w1 + t2 * w2 + t3 * w3) >> 16
    share = np.int64(SQUASH[min(max(total, -2047), 2047) + 2048])
    bit = code(control, data, share, bit)
    error = ((bit << 16) - share) * LEARNING
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
def new_value(control: Control, table: Table, data: Data, value: Int) -> Int:
    """Code a value that did not occur so far, bit by bit, and note it."""
    num_bits = 8 if control[NUM_VALUES] == 256 else 16
    node = 1
    for place in range(num_bits - 1, -1, -1):
        node = node << 1 | decide(
            control,
            table,
            data,
            NOVEL,
            NOVEL_SET + 1 + place,
            (value >> place) & 1,
            node << 1 | 1,
            place << 1 | 1,
            1,
            node << 1 | 1,
        )
    value = node - (1 << num_bits)
    num_known = control[NUM_KNOWN]
    if table[KNOWN + control[NUM_VALUES] + value] >= 0:
        control[FAILED] = 1
    else:
        table[KNOWN + num_known] = value
        table[KNOWN + control[NUM_VALUES] + value] = num_known
        control[NUM_KNOWN] = num_known + 1
    return value


@lean
def symbol(
    control: Control,
    table: Table,
    data: Data,
    west: Int,
    other: Int,
    value: Int,
) -> Int:
    """Code a value that no neighbour predicts: new, or one of those met so far by its place among them."""
    num_known = control[NUM_KNOWN]
    place_of = KNOWN + control[NUM_VALUES]
    known = 0 if control[DECODING] else np.int64(table[place_of + value])
    if decide(
        control,
        table,
        data,
        NOVEL,
        NOVEL_SET,
        1 if known < 0 else 0,
        min(num_known, 40) << 1,
        0,
        west << 1,
        min(num_known, 40) << 1,
    ):
        return new_value(control, table, data, value)
    if num_known == 0:
        control[FAILED] = 1
        return 0
    num_bits = log2(num_known - 1) + 1 if num_known > 1 else 0
    node = 1
    for place in range(num_bits - 1, -1, -1):
        node = node << 1 | decide(
            control,
            table,
            data,
            SYMBOL,
            SYMBOL_SET + place,
            (known >> place) & 1,
            node,
            node + west * FOLD_A,
            node + west * FOLD_A + other * FOLD_B,
            node + other * FOLD_B,
        )
    known = node - (1 << num_bits)
    if known >= num_known:
        control[FAILED] = 1
        return 0
    return np.int64(table[KNOWN + known])


@lean
def drift(window: Window, at2: Int, border: Int, end: Int, west: Int) -> Int:
    """How the border at column `border` of the row above had moved there from the row above that: 0..12."""
    moved = 0
    if window[at2 + border] == west:
        while moved < 33 and border + moved < end and window[at2 + border + moved] == west:
            moved += 1
        return moved if moved < 4 else 4 if moved < 6 else 5 if moved < 11 else 6 if moved < 33 else 7
    while moved < 10 and border - 1 - moved >= PAD and window[at2 + border - 1 - moved] != west:
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
def run(
    control: Control,
    table: Table,
    data: Data,
    window: Window,
    at0: Int,
    at1: Int,
    at2: Int,
    x: Int,
    end: Int,
    num_broken: Int,
) -> Int:
    """Code the run from `x` on in which everything around agrees; returns the column to go on at.

    The run goes on to the column before the next border of the row above. One decision says whether it all is as
    the pixel to its left; when not, where the first other pixel is, and which value it has.
    """
    west = np.int64(window[at0 + x - 1])
    stop = same_until(window, at1 + x + 1, at1 + end + 1, window[at0 + x - 1]) - at1 - 1
    broken = x
    if not control[DECODING]:
        broken = same_until(window, at0 + x, at0 + stop, window[at0 + x - 1]) - at0
    size = log2(stop - x)
    moved: Int = 12
    right: Int = 65536
    if stop < end:
        moved = drift(window, at2, stop + 1, end, west)
        right = np.int64(window[at1 + stop + 1])
    num_broken = min(num_broken, 7)
    pair = west * FOLD_A + right * FOLD_B
    hit = decide(
        control,
        table,
        data,
        RUN,
        RUN_SET + min(size, 16),
        1 if broken < stop else 0,
        size << 4 | moved,
        moved << 3 | num_broken,
        west << 5 | size,
        pair + moved,
    )
    if hit:
        broken = stop - distance(control, table, data, size, moved, num_broken, pair, stop - broken)
        if broken < x:
            control[FAILED] = 1
            broken = x
    else:
        broken = stop
    if control[DECODING]:
        part = window[at0 + x : at0 + broken]
        for place in range(part.size):
            part[place] = west
    if hit:
        value = symbol(control, table, data, west, right, np.int64(window[at0 + broken]))
        window[at0 + broken] = value
        return broken + 1
    return stop


@lean
def distance(
    control: Control,
    table: Table,
    data: Data,
    size: Int,
    moved: Int,
    num_broken: Int,
    pair: Int,
    value: Int,
) -> Int:
    """Code a distance from 1 to below 2 ** (size + 1): its bits by number in unary, then the bits themselves."""
    num_bits = 0
    want = log2(value)
    while num_bits < size:
        near = num_bits << 4 | moved
        if not decide(
            control,
            table,
            data,
            BUCKET,
            BUCKET_SET + num_bits,
            1 if num_bits < want else 0,
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
            control,
            table,
            data,
            OFFSET,
            OFFSET_SET + place,
            (value >> place) & 1,
            lead,
            lead << 4 | moved,
            lead << 5 | size,
            place,
        )
    return node


@lean
def pixel(
    control: Control,
    table: Table,
    data: Data,
    window: Window,
    base_HW: NDArray[np.uint16],
    y: Int,
    starts: Starts,
    x: Int,
) -> None:
    """Code a pixel around which something differs: is it as its western neighbour, the other one, or which."""
    at0, at1, at2 = starts[0] + x, starts[1] + x, starts[2] + x
    value, west = np.int64(window[at0]), np.int64(window[at0 - 1])
    north, north_east = np.int64(window[at1]), np.int64(window[at1 + 1])
    north_west, far_east = np.int64(window[at1 - 1]), np.int64(window[at1 + 2])
    far_west, far_north = np.int64(window[at0 - 2]), np.int64(window[at2])
    like = (north == west) | (north_east == west) << 1 | (north_west == west) << 2
    like |= (far_east == west) << 3 | (far_west == west) << 4 | (far_north == west) << 5
    pairs = (north_east == north) | (north_west == north) << 1 | (far_north == north) << 2
    pairs |= (far_east == north) << 3 | (far_west == north) << 4
    near = like | pairs << 6
    place = find(table, 0, LEFT, near)
    slot = np.int64(table[place])
    bit = 1 if value == west else 0
    if (slot & 255) >= SURE_COUNT and not SURE_FROM <= slot >> 8 <= SURE_TO:
        bit = code(control, data, min(max(slot >> 14, 32), 65504), bit)
        learn(table, place, bit)
    else:
        classes = west * FOLD_A + north * FOLD_B + north_east * FOLD_C + like
        above = three(window, at2, west)
        column = above << 9 | three(window, starts[3] + x, west) << 6
        column |= three(window, starts[4] + x, west) << 3 | three(window, starts[5] + x, west)
        around = wide(window, at0, at1, at2, west) | ((like & 31) << 3 | above) << 11
        if control[PATCH]:
            around = around << 4 | base_bits(base_HW, y, x - PAD)
        weights = LEFT_SET + ((like & 31) | (pairs & 7) << 5)
        bit = decide(control, table, data, LEFT, weights, bit, near, classes, column << 3 | (like & 7), around)
    if bit:
        window[at0] = west
        return
    other = north
    if north == west:
        other = north_west if north_east == west else north_east
    same = (other == north) | (north_east == other) << 1 | (north_west == other) << 2
    same |= (far_east == other) << 3 | (far_north == other) << 4 | (far_west == other) << 5
    pair = west * FOLD_A + other * FOLD_B
    bit = 1 if value == other else 0
    bit = decide(control, table, data, OTHER, OTHER_SET + same, bit, same | like << 6, same, pair, pair + same)
    window[at0] = other if bit else symbol(control, table, data, west, other, value)


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
def repeats(here: Window, above: Window) -> Int:
    """1 when both rows are equal."""
    width = here.size
    for start in range(0, width, 256):
        differ = 0
        for x in range(start, min(start + 256, width)):
            differ |= here[x] ^ above[x]
        if differ:
            return 0
    return 1


@lean
def copy(source: Window, target: Window) -> None:
    """Copy a row: a loop that the compiler sees through, where a slice assignment checks for overlaps."""
    for x in range(source.size):
        target[x] = source[x]


@lean
def walk(
    control: Control,
    table: Table,
    data: Data,
    labels_HW: NDArray[np.uint16],
    base_HW: NDArray[np.uint16],
    window: Window,
    first_row: Int,
) -> None:
    """Code some rows of a map, from `first_row` on: read from, or when decoding written to, `labels_HW`.

    `window` is all 0 before row 0. Stops early when control[FAILED] is set.
    """
    height, width = labels_HW.shape
    stride = width + 2 * PAD
    end = PAD + width
    history, busy = control[HISTORY], control[BUSY]
    for y in range(first_row, first_row + height):
        at0, at1, at2 = (y & 7) * stride, (y - 1 & 7) * stride, (y - 2 & 7) * stride
        starts = (at0, at1, at2, (y - 3 & 7) * stride, (y - 4 & 7) * stride, (y - 5 & 7) * stride)
        here, above = window[at0 + PAD : at0 + end], window[at1 + PAD : at1 + end]
        same = 0
        if not control[DECODING]:
            copy(labels_HW[y - first_row], here)
            same = repeats(here, above)
        size = log2(busy + 1)
        both = size << 1 | history & 1
        same = decide(control, table, data, ROW, ROW_SET, same, history & 7, size, both, history)
        history = history << 1 & 63 | same
        window[at0 : at0 + PAD] = window[at1 + PAD]
        if same:
            copy(above, here)
        else:
            busy = row(control, table, data, window, base_HW, y, starts, end)
        window[at0 + end : at0 + end + PAD] = window[at0 + end - 1]
        if control[DECODING]:
            copy(here, labels_HW[y - first_row])
        if control[FAILED]:
            return
    control[HISTORY], control[BUSY] = history, busy


@lean
def row(
    control: Control,
    table: Table,
    data: Data,
    window: Window,
    base_HW: NDArray[np.uint16],
    y: Int,
    starts: Starts,
    end: Int,
) -> Int:
    """Code one row that does not repeat the one above; returns how many pixels took decisions of their own."""
    at0, at1, at2 = starts[0], starts[1], starts[2]
    num_pixels, num_broken = 0, 0
    x = PAD
    while x < end:
        west = window[at0 + x - 1]
        if window[at1 + x - 1] == west and window[at1 + x] == west and window[at1 + x + 1] == west:
            x = run(control, table, data, window, at0, at1, at2, x, end, num_broken)
            num_broken += window[at0 + x - 1] != west
        else:
            pixel(control, table, data, window, base_HW, y, starts, x)
            x += 1
            num_pixels += 1
    return num_pixels


def warm() -> None:
    """Compile: one kind of array does for both dtypes and both ways."""
    labels_HW, data = np.eye(9, dtype=np.uint16), np.zeros(256, dtype=np.uint8)
    control, table = new_state(data, np.dtype(np.uint8), decoding=False, patch=False)
    walk(control, table, data, labels_HW, labels_HW, np.zeros(NUM_ROWS * (9 + 2 * PAD), dtype=np.uint16), 0)
