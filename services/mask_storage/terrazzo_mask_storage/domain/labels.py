"""Rules for incoming label maps: every id is a class of the ontology, or 0 for unlabelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALUE_MAX = 65_535


@dataclass(frozen=True)
class StrayValue:
    """A value that means nothing here, and the first pixel (row-major) that has it."""

    value: int
    y: int
    x: int
    num_pixels: int


def first_stray(values_HW: NDArray[Any], allowed: Iterable[int], counts: Mapping[int, int]) -> StrayValue | None:
    """The smallest value of a uint8/uint16 map (H, W) that is not in `allowed`, or None.

    `counts` is value -> pixels of the map: whoever asks has counted them already.
    """
    stray = set(counts) - set(allowed)
    if not stray:
        return None
    value = min(stray)
    y, x = np.unravel_index(int(np.argmax(values_HW == value)), values_HW.shape)
    return StrayValue(value, int(y), int(x), counts[value])


def translate(values_HW: NDArray[Any], value_to_id: Mapping[int, int]) -> NDArray[np.uint16]:
    """Pixel values (H, W) of a foreign mask -> class ids; values that are not in the mapping become 0."""
    table = np.zeros(VALUE_MAX + 1, dtype=np.uint16)
    for value, class_id in value_to_id.items():
        table[value] = class_id
    labels_HW: NDArray[np.uint16] = table[values_HW]
    return labels_HW
