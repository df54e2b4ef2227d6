"""Payloads of the method `patch`: where a map differs from its base, and what it has there.

A marker (2 bytes), the box of all differences (top, left, height, width: 7 bits a byte, lowest first, the highest
bit saying that another follows), then the decisions of the model on that box. In version 2 the box was the map.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.boxes import Box
from terrazzo_masks.codec import v2
from terrazzo_masks.codec.model import decode_model, encode_model
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import room, widened

MARKER_BYTES = 2
NUMBER_BYTES_MAX = 5


def encode_changes(labels_HW: LabelMap, base_HW: LabelMap, box: Box) -> tuple[bytes | None, int]:
    """(payload, pixels that differ) of a map; None where values leave no marker.

    `box` is the smallest that holds all pixels that differ from the base; of no height when there are none.
    """
    from terrazzo_masks.kernels.pixel_sums import changes

    top, left, height, width = box
    if height == 0:
        return bytes(MARKER_BYTES + 4), 0
    part = np.s_[top : top + height, left : left + width]
    here_HW, there_HW = widened("labels", labels_HW[part]), widened("base", base_HW[part])
    written = np.zeros(256**labels_HW.itemsize, dtype=np.bool_)
    changes_HW = room("changes", here_HW.size, np.uint16).reshape(here_HW.shape)
    num_changed, marker = changes(here_HW, there_HW, written, changes_HW)
    packed = encode_model(changes_HW, labels_HW.dtype, there_HW) if marker >= 0 else None
    if packed is None:
        return None, num_changed
    head = marker.to_bytes(MARKER_BYTES, "little") + b"".join(map(_number, (top, left, height, width)))
    return head + packed, num_changed


def decode_changes(payload: bytes, version: int, labels_HW: LabelMap, base_HW: LabelMap) -> LabelMap:
    """Fill `labels_HW` from the payload of that version and the base of the same shape; returns it.

    Raises CorruptMask for every other payload.
    """
    labels_HW[:] = base_HW
    marker, at = int.from_bytes(payload[:MARKER_BYTES], "little"), MARKER_BYTES
    (top, left), (height, width) = (0, 0), labels_HW.shape
    read = v2.decode_model
    if version != v2.VERSION:
        read = decode_model
        top, at = _read_number(payload, at)
        left, at = _read_number(payload, at)
        height, at = _read_number(payload, at)
        width, at = _read_number(payload, at)
    if top + height > labels_HW.shape[0] or left + width > labels_HW.shape[1] or (height == 0) != (width == 0):
        raise CorruptMask(f"a patch of {height} x {width} pixels at {top}, {left} of a map {labels_HW.shape}")
    if height == 0:
        if at != len(payload):
            raise CorruptMask(f"{len(payload) - at} bytes are left over behind a patch that changes nothing")
        return labels_HW
    part = np.s_[top : top + height, left : left + width]
    there_HW = widened("base", base_HW[part])
    changes_HW: NDArray[np.uint16] = room("changes", there_HW.size, np.uint16).reshape(there_HW.shape)
    read(payload[at:], changes_HW, labels_HW.dtype, there_HW)
    np.copyto(labels_HW[part], changes_HW, casting="unsafe", where=changes_HW != marker)
    return labels_HW


def _number(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_number(payload: bytes, at: int) -> tuple[int, int]:
    """(number, place behind it). Raises CorruptMask when it does not end in time."""
    number = 0
    for place, byte in enumerate(payload[at : at + NUMBER_BYTES_MAX]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, at + place + 1
    raise CorruptMask("the box of a patch is cut short")
