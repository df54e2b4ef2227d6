"""The label map: what it is, and the checks that every public function makes at its edge.

Axes used as suffixes in this library: H height, W width, R annotators (raters), K classes, N components, T
distinct vote tuples, C colour channels.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask

LabelMap: TypeAlias = NDArray[np.uint8 | np.uint16]
BoolMap: TypeAlias = NDArray[np.bool_]

UNLABELLED = 0
CLASS_ID_MAX = 65534
_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


def require_labels(array: NDArray[Any], name: str = "label map") -> LabelMap:
    """Return `array` itself if it is a label map.

    Raises UnsupportedMask when it is not a uint8 or uint16 array (H, W) with at least one pixel.
    """
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        shape = getattr(array, "shape", type(array).__name__)
        raise UnsupportedMask(f"{name} has shape {shape}: a label map has two axes (H, W)")
    if array.dtype not in _DTYPES:
        raise UnsupportedMask(f"{name} has dtype {array.dtype}: a label map is uint8 or uint16")
    if array.size == 0:
        raise UnsupportedMask(f"{name} has shape {array.shape}: a label map has at least one pixel")
    return array


def require_mask(mask_HW: NDArray[Any], name: str = "mask") -> BoolMap:
    """Return `mask_HW` itself if it is a bool array (H, W). Raises UnsupportedMask otherwise."""
    if mask_HW.ndim != 2 or mask_HW.dtype != np.dtype(np.bool_):
        raise UnsupportedMask(f"{name} is {mask_HW.dtype} {mask_HW.shape}: a bool array (H, W) is wanted")
    return mask_HW


def require_same_shape(first_HW: NDArray[Any], second_HW: NDArray[Any], names: str) -> None:
    """Raise ShapeMismatch when the two arrays differ in size; `names` says which two they are."""
    if first_HW.shape != second_HW.shape:
        raise ShapeMismatch(f"{names} differ in size: {first_HW.shape} and {second_HW.shape}")


def dtype_for(class_id_max: int) -> np.dtype[np.uint8 | np.uint16]:
    """The narrowest label map dtype that holds ids up to `class_id_max` (0..65535)."""
    if not 0 <= class_id_max <= 65535:
        raise UnsupportedMask(f"class id {class_id_max} is outside 0..{CLASS_ID_MAX}")
    narrow: np.dtype[np.uint8 | np.uint16] = np.dtype(np.uint8) if class_id_max <= 255 else np.dtype(np.uint16)
    return narrow


def count_classes(labels_HW: LabelMap) -> dict[int, int]:
    """Pixels of each class id that occurs, by rising id; 0 (unlabelled) is counted too."""
    ids_K, pixels_K = class_pixels(labels_HW)
    return dict(zip(ids_K.tolist(), pixels_K.tolist(), strict=True))


def class_pixels(labels_HW: LabelMap) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(ids, pixels) of the classes that occur, by rising id."""
    from terrazzo_masks.kernels import counting

    wide = labels_HW.dtype.itemsize == 2
    words_W, rest_P = as_words(labels_HW, _DTYPES[wide])
    counts_K = np.zeros(65536 if wide else 256, np.int64)
    count = counting.count_pairs_of_bytes if wide else counting.count_bytes
    count(words_W, rest_P, counts_K)
    (ids_K,) = counts_K.nonzero()
    return ids_K.astype(np.int32), counts_K[ids_K]


def as_words(labels_HW: LabelMap, dtype: np.dtype[Any]) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """The pixels in row-major order as 64-bit words of `dtype`, and those left over; views where they can be."""
    flat: NDArray[Any] = np.ascontiguousarray(labels_HW, dtype=dtype).reshape(-1)
    num_in_words = flat.size & (-8 // dtype.itemsize)
    words_W = flat[:num_in_words].view(np.uint64)
    if not words_W.flags.aligned or not words_W.flags.writeable:
        flat = flat.copy()  # a word begins where the machine reads one; kernels are compiled for writable arrays
        words_W = flat[:num_in_words].view(np.uint64)
    return words_W, flat[num_in_words:]


def index_table(class_ids: Sequence[int], absent: int) -> NDArray[np.int64]:
    """Table of 65536 entries: class id -> its position in `class_ids`, `absent` for every other id.

    Measures are taken of many maps with one list of classes, so the last tables are kept: not to be written to.
    Raises UnsupportedMask for an id outside 0..65535 or one that is given twice.
    """
    return _index_table(tuple(class_ids), absent)


@lru_cache(maxsize=8)
def _index_table(class_ids: tuple[int, ...], absent: int) -> NDArray[np.int64]:
    table = np.full(65536, absent, dtype=np.int64)
    for position, class_id in enumerate(class_ids):
        if not 0 <= class_id <= 65535:
            raise UnsupportedMask(f"class id {class_id} is outside 0..{CLASS_ID_MAX}")
        if table[class_id] != absent:
            raise UnsupportedMask(f"class id {class_id} is given twice")
        table[class_id] = position
    return table
