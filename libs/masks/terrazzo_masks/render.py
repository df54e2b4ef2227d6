"""Label maps for the eye: colours, and smaller versions that keep thin classes visible."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import LabelMap, class_pixels, require_labels

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
    from terrazzo_masks.kernels.modes import modes_of_pixels, show_thin

    ids_K, pixels_K = class_pixels(labels_HW)
    num_ids = 256 if labels_HW.dtype == np.uint8 else 65536
    rank_I = rarity(ids_K, pixels_K, num_ids)
    mode_HW, thin_N3 = modes_of_pixels(labels_HW.astype(np.uint16, order="C"), factor, rank_I, num_ids)
    out_HW = mode_HW.copy()
    show_thin(out_HW, mode_HW, thin_N3, rank_I)
    shown_HW: LabelMap = out_HW.astype(labels_HW.dtype)
    return shown_HW


def rarity(ids_K: NDArray[np.int32], pixels_K: NDArray[np.int64], num_ids: int) -> NDArray[np.int64]:
    """int64 (num_ids,): rank of each id that occurs, the rarer the higher, the lower id higher among equals.

    `pixels_K` are the pixels of each of `ids_K` in the whole map.
    """
    rank_I = np.zeros(num_ids, dtype=np.int64)
    rank_I[ids_K[np.lexsort((ids_K, pixels_K))]] = np.arange(ids_K.size)[::-1]
    return rank_I
