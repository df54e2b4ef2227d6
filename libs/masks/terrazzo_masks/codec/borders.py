"""Payloads of the methods `borders` and `stored`: one zstd frame each."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap

STRIP_PX = 1 << 16
COUNTS = struct.Struct("<II")
# Level 1 packs tokens nearly as tightly as level 9, and is measured to be a tenth of the work of finding them.
ZSTD_LEVEL = 1
LEAST_ROOM_BYTES = 4096


def encode_borders(labels_HW: LabelMap) -> bytes | None:
    """Tokens of a C-contiguous, writable map as a zstd frame; None when they would not pay."""
    from terrazzo_masks.kernels.border_tokens import encode

    room = min(labels_HW.nbytes // 2 + LEAST_ROOM_BYTES, 2**32 - 1)
    tokens, extras = np.empty(room, dtype=np.uint8), np.empty(room, dtype=np.uint8)
    used = np.zeros(2, dtype=np.int64)
    for strip_HW in _strips(labels_HW):
        if not encode(strip_HW, tokens, extras, used):
            return None
    content = COUNTS.pack(*used.tolist()) + tokens[: used[0]].tobytes() + extras[: used[1]].tobytes()
    return pack(content) if len(content) <= content_max(labels_HW.nbytes) else None


def decode_borders(payload: bytes, shape: tuple[int, int], dtype: np.dtype[Any]) -> LabelMap:
    """The map of `encode_borders`. Raises CorruptMask for every other payload."""
    from terrazzo_masks.kernels.border_tokens import decode

    content = np.frombuffer(unpack(payload, content_max(shape[0] * shape[1] * dtype.itemsize)), dtype=np.uint8)
    if content.size < COUNTS.size:
        raise CorruptMask("the tokens of the label map are cut short")
    num_tokens, num_extras = COUNTS.unpack(content[: COUNTS.size].tobytes())
    if COUNTS.size + num_tokens + num_extras != content.size:
        raise CorruptMask(f"{num_tokens} tokens and {num_extras} extra bytes are not {content.size} bytes")
    tokens, extras = content[COUNTS.size : COUNTS.size + num_tokens], content[COUNTS.size + num_tokens :]
    labels_HW: LabelMap = np.empty(shape, dtype=dtype)
    used = np.zeros(2, dtype=np.int64)
    sound = True
    if shape[1] <= STRIP_PX:
        sound = decode(tokens, extras, used, labels_HW)
    else:
        for first in range(0, shape[1], STRIP_PX):
            strip_HW = labels_HW[:, first : first + STRIP_PX].copy()
            sound = sound and decode(tokens, extras, used, strip_HW)
            labels_HW[:, first : first + STRIP_PX] = strip_HW
    if not sound or (int(used[0]), int(used[1])) != (num_tokens, num_extras):
        raise CorruptMask(f"the tokens do not describe a label map of {shape}")
    return labels_HW


def encode_stored(labels_HW: LabelMap) -> bytes:
    """Pixels as they are, row after row, little endian, as a zstd frame: for maps that nothing predicts."""
    return pack(labels_HW.astype(labels_HW.dtype.newbyteorder("<"), copy=False).tobytes())


def decode_stored(payload: bytes, shape: tuple[int, int], dtype: np.dtype[Any]) -> LabelMap:
    """The map of `encode_stored`. Raises CorruptMask for every other payload."""
    num_bytes = shape[0] * shape[1] * dtype.itemsize
    content = unpack(payload, num_bytes)
    if len(content) != num_bytes:
        raise CorruptMask(f"{len(content)} bytes of pixels where a label map of {shape} has {num_bytes}")
    pixels: NDArray[Any] = np.frombuffer(content, dtype=dtype.newbyteorder("<")).astype(dtype)
    return pixels.reshape(shape)


def content_max(raw_bytes: int) -> int:
    """Most bytes that tokens and extras of a map of `raw_bytes` may take."""
    return raw_bytes + LEAST_ROOM_BYTES


def pack(content: bytes) -> bytes:
    """One zstd frame (RFC 8878) that states its content's size."""
    import zstandard

    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True).compress(content)


def unpack(frame: bytes, max_bytes: int) -> bytes:
    """Content of a frame of at most `max_bytes`. Raises CorruptMask when it is damaged, larger or does not say."""
    import zstandard

    try:
        # A frame may state any size, and zstandard allocates what it states.
        stated = zstandard.frame_content_size(frame)
        if not 0 <= stated <= max_bytes:
            raise CorruptMask(f"the zstd frame states {stated} bytes where {max_bytes} are allowed")
        content = zstandard.ZstdDecompressor().decompress(frame, max_output_size=max_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptMask(f"the zstd frame of the label map cannot be read: {error}") from error
    return bytes(content)


def _strips(labels_HW: LabelMap) -> list[LabelMap]:
    width = labels_HW.shape[1]
    if width <= STRIP_PX:
        return [labels_HW]
    return [labels_HW[:, first : first + STRIP_PX].copy() for first in range(0, width, STRIP_PX)]
