"""Label maps for the eye: colours, and smaller versions that keep thin classes visible."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import LabelMap, require_labels

Color = tuple[int, int, int]
Palette = Mapping[int, Color]

UNLABELLED_COLOR: Color = (0, 0, 0)
# An id without a colour must be seen, not guessed.
NO_COLOR: Color = (255, 0, 255)


def colorize(labels_HW: LabelMap, palette: Palette) -> NDArray[np.uint8]:
    """Colours of a label map: uint8 (H, W, 3), RGB.

    `palette`: class id -> (r, g, b), each 0..255. Unlabelled is black unless the palette says otherwise, an id
    without a colour is magenta. Raises UnsupportedMask for a colour or id out of range.
    """
    require_labels(labels_HW)
    colors: NDArray[np.uint8] = palette_table(palette, 256 if labels_HW.dtype == np.uint8 else 65536)[labels_HW]
    return colors


def palette_table(palette: Palette, num_ids: int) -> NDArray[np.uint8]:
    """uint8 (num_ids, 3): the colour of each id; ids of the palette at or above `num_ids` are left out.

    Raises UnsupportedMask for a colour or id out of range.
    """
    table = np.full((num_ids, 3), NO_COLOR, dtype=np.uint8)
    table[0] = UNLABELLED_COLOR
    for class_id, color in palette.items():
        if not 0 <= class_id <= 65535 or len(color) != 3 or not all(0 <= part <= 255 for part in color):
            raise UnsupportedMask(f"palette entry {class_id}: {color} is not id 0..65534: (r, g, b) of 0..255")
        if class_id < num_ids:
            table[class_id] = color
    return table


def downsample_mode(labels_HW: LabelMap, factor: int) -> LabelMap:
    """A label map `factor` times smaller, for a pyramid: (ceil(H / factor), ceil(W / factor)), same dtype.

    A block takes its most frequent class; of equally frequent ones that which is rarer in the whole map, then
    the lower id. Thin classes stay visible: a class that covers at least 1 / factor of a block (a line of one
    pixel straight across it) and is the most frequent one in none of the 3 x 3 blocks around takes the block;
    where several would, the rarest. A class that is not thin is found in some block beside, so that large
    regions do not grow. Raises UnsupportedMask when `factor` is below 1.
    """
    require_labels(labels_HW)
    if factor < 1:
        raise UnsupportedMask(f"factor is {factor}: 1 or more is wanted")
    if factor == 1:
        return labels_HW.copy()
    rarity = _rarity(labels_HW)
    rows, cols = -(-labels_HW.shape[0] // factor), -(-labels_HW.shape[1] // factor)
    out_HW: LabelMap = np.ascontiguousarray(labels_HW[::factor, ::factor])
    block, class_id, pixels = _mixed_blocks(labels_HW, factor)
    if block.size == 0:
        return out_HW
    rare = rarity[class_id]

    # Last of each block after sorting by (block, pixels, rarity) is its mode.
    order = np.lexsort((rare, pixels, block))
    last = np.append(block[order][1:] != block[order][:-1], True)
    out_flat = out_HW.ravel()
    out_flat[block[order][last]] = class_id[order][last]

    area = _block_areas(labels_HW.shape, factor)[block]
    thin = (pixels * factor >= area) & (class_id != 0) & ~_nearby(out_HW, rows, cols, block, class_id)
    block, class_id, rare = block[thin], class_id[thin], rare[thin]
    order = np.lexsort((rare, block))
    out_flat[block[order]] = class_id[order]  # written by rising rarity: the rarest stays
    return out_HW


def _rarity(labels_HW: LabelMap) -> NDArray[np.int64]:
    """Rank of each id 0..65535: the rarer in this map the higher, the lower id higher among equals."""
    counts = np.bincount(labels_HW.ravel(), minlength=65536)
    rank = np.empty(65536, dtype=np.int64)
    rank[np.lexsort((np.arange(65536), counts))] = np.arange(65536)[::-1]
    return rank


def _mixed_blocks(
    labels_HW: LabelMap, factor: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(block, class id, pixels) for each class of each block that has more than one; blocks in row-major order."""
    height, width = labels_HW.shape
    starts = np.arange(0, height, factor), np.arange(0, width, factor)
    low = np.minimum.reduceat(np.minimum.reduceat(labels_HW, starts[0], axis=0), starts[1], axis=1)
    high = np.maximum.reduceat(np.maximum.reduceat(labels_HW, starts[0], axis=0), starts[1], axis=1)
    block_row, block_col = np.nonzero(low != high)
    offset = np.arange(factor)
    y = (block_row * factor)[:, None, None] + offset[None, :, None]
    x = (block_col * factor)[:, None, None] + offset[None, None, :]
    inside = (y < height) & (x < width)
    values = labels_HW[np.minimum(y, height - 1), np.minimum(x, width - 1)].astype(np.int64)
    block = np.broadcast_to((block_row * starts[1].size + block_col)[:, None, None], inside.shape)
    key, pixels = np.unique(block[inside] << 16 | values[inside], return_counts=True)
    return key >> 16, key & 0xFFFF, pixels


def _block_areas(shape: tuple[int, ...], factor: int) -> NDArray[np.int64]:
    """Pixels of each block in row-major order: the last row and column may be smaller."""
    rows, cols = (np.minimum(factor, size - np.arange(0, size, factor)) for size in shape)
    areas: NDArray[np.int64] = np.outer(rows, cols).ravel()
    return areas


def _nearby(
    mode_HW: LabelMap, rows: int, cols: int, block: NDArray[np.int64], class_id: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether the class is the mode of a block in the 3 x 3 around (the block itself counts)."""
    row, col = block // cols, block % cols
    found = np.zeros(block.size, dtype=np.bool_)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = np.clip(row + dy, 0, rows - 1), np.clip(col + dx, 0, cols - 1)
            found |= mode_HW[y, x] == class_id
    return found
