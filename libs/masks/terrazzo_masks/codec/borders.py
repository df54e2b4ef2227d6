"""Payloads of the methods `borders` and `stored`: one zstd frame each."""

import struct
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import room

STRIP_PX = 1 << 16
COUNTS = struct.Struct("<II")
# Level 1 packs tokens nearly as tightly as level 9, and is measured to be a tenth of the work of finding them.
ZSTD_LEVEL = 1
LEAST_ROOM_BYTES = 4096


def encode_borders(labels_HW: LabelMap) -> bytes | None:
    """Tokens of a C-contiguous, writable map as a zstd frame; None when they would not pay."""
    from terrazzo_masks.kernels.border_tokens import encode

    bytes_max = min(labels_HW.nbytes // 2 + LEAST_ROOM_BYTES, 2**32 - 1)
    tokens, extras = room("tokens", bytes_max, np.uint8), room("extras", bytes_max, np.uint8)
    used = np.zeros(2, dtype=np.int64)
    for strip_HW in _strips(labels_HW):
        if not encode(strip_HW, tokens, extras, used, *_rows(strip_HW.shape[1])):
            return None
    num_tokens, num_extras = used.tolist()
    content = COUNTS.pack(num_tokens, num_extras) + tokens[:num_tokens].tobytes() + extras[:num_extras].tobytes()
    return pack(content) if len(content) <= content_max(labels_HW.nbytes) else None


def decode_borders(payload: bytes, labels_HW: LabelMap) -> LabelMap:
    """Fill `labels_HW` with the map of `encode_borders`; returns it. Raises CorruptMask for any other payload."""
    from terrazzo_masks.kernels.border_tokens import decode

    content = unpack(payload, content_max(labels_HW.nbytes))
    if len(content) < COUNTS.size:
        raise CorruptMask("the tokens of the label map are cut short")
    num_tokens, num_extras = COUNTS.unpack_from(content)
    if COUNTS.size + num_tokens + num_extras != len(content):
        raise CorruptMask(f"{num_tokens} tokens and {num_extras} extra bytes are not {len(content)} bytes")
    told = np.frombuffer(bytearray(content), dtype=np.uint8)  # kernels are compiled for writable arrays
    tokens, extras = told[COUNTS.size : COUNTS.size + num_tokens], told[COUNTS.size + num_tokens :]
    used, width = np.zeros(2, dtype=np.int64), labels_HW.shape[1]
    sound = True
    if width <= STRIP_PX:
        sound = decode(tokens, extras, used, labels_HW, *_rows(width))
    else:
        for first in range(0, width, STRIP_PX):
            strip_HW = labels_HW[:, first : first + STRIP_PX].copy()
            sound = sound and decode(tokens, extras, used, strip_HW, *_rows(strip_HW.shape[1]))
            labels_HW[:, first : first + STRIP_PX] = strip_HW
    if not sound or (int(used[0]), int(used[1])) != (num_tokens, num_extras):
        raise CorruptMask(f"the tokens do not describe a label map of {labels_HW.shape}")
    return labels_HW


def encode_stored(labels_HW: LabelMap) -> bytes:
    """Pixels as they are, row after row, little endian, as a zstd frame: for maps that nothing predicts."""
    return pack(labels_HW.astype(labels_HW.dtype.newbyteorder("<"), copy=False).tobytes())


def decode_stored(payload: bytes, labels_HW: LabelMap) -> LabelMap:
    """Fill `labels_HW` with the map of `encode_stored`; returns it. Raises CorruptMask for every other payload."""
    content = unpack(payload, labels_HW.nbytes)
    if len(content) != labels_HW.nbytes:
        raise CorruptMask(
            f"{len(content)} bytes of pixels where a label map of {labels_HW.shape} has {labels_HW.nbytes}"
        )
    pixels: NDArray[Any] = np.frombuffer(content, dtype=labels_HW.dtype.newbyteorder("<"))
    labels_HW[:] = pixels.reshape(labels_HW.shape)
    return labels_HW


def content_max(raw_bytes: int) -> int:
    """Most bytes that tokens and extras of a map of `raw_bytes` may take."""
    return raw_bytes + LEAST_ROOM_BYTES


class _Zstd(threading.local):
    """A compressor and a decompressor for each thread: to make one takes longer than to pack a tile."""

    def __init__(self) -> None:
        import zstandard

        self.compress = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True).compress
        self.decompress = zstandard.ZstdDecompressor().decompress
        self.content_size = zstandard.frame_content_size


@lru_cache(maxsize=1)
def _zstd() -> _Zstd:
    return _Zstd()


def pack(content: bytes) -> bytes:
    """One zstd frame (RFC 8878) that states its content's size."""
    return _zstd().compress(content)


def unpack(frame: bytes, max_bytes: int) -> bytes:
    """Content of a frame of at most `max_bytes`. Raises CorruptMask when it is damaged, larger or does not say."""
    import zstandard

    zstd = _zstd()
    try:
        # A frame may state any size, and zstandard allocates what it states.
        stated = zstd.content_size(frame)
        if not 0 <= stated <= max_bytes:
            raise CorruptMask(f"the zstd frame states {stated} bytes where {max_bytes} are allowed")
        content: bytes = zstd.decompress(frame, max_output_size=max_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptMask(f"the zstd frame of the label map cannot be read: {error}") from error
    return content


def _rows(width: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Room for the columns and values of the borders of two rows."""
    num = 2 * (width + 1)
    return room("columns", num, np.int32).reshape(2, -1), room("values", num, np.uint16).reshape(2, -1)


def _strips(labels_HW: LabelMap) -> list[LabelMap]:
    width = labels_HW.shape[1]
    if width <= STRIP_PX:
        return [labels_HW]
    return [labels_HW[:, first : first + STRIP_PX].copy() for first in range(0, width, STRIP_PX)]
