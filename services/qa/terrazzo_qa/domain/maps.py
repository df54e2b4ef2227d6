"""Maps of one byte per pixel as PNG, the form in which they are kept and sent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import BoolMap


def to_png(map_HW: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W) as a gray PNG; lossless, and the same bytes for the same map."""
    import cv2

    done, encoded = cv2.imencode(".png", np.ascontiguousarray(map_HW))
    if not done:
        raise ValueError(f"a map of shape {map_HW.shape} can't be written as PNG")
    data: bytes = encoded.tobytes()
    return data


def from_png(data: bytes) -> NDArray[np.uint8]:
    """uint8 (H, W) from `to_png`. Raises ValueError for other bytes."""
    import cv2

    map_HW = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if map_HW is None or map_HW.ndim != 2 or map_HW.dtype != np.uint8:
        raise ValueError("the bytes are no gray PNG of 8 bits")
    return np.asarray(map_HW, dtype=np.uint8)


def flags_to_png(flags_HW: BoolMap) -> bytes:
    """bool (H, W) as a PNG of 0 and 255."""
    return to_png(flags_HW.astype(np.uint8) * np.uint8(255))


def flags_from_png(data: bytes) -> BoolMap:
    flags_HW: BoolMap = from_png(data) > 0
    return flags_HW
