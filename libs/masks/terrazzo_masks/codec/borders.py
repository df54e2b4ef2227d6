"""Payloads of the methods `borders` and `stored`: one zstd frame each."""

import struct
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.room import KEPT_BYTES_MAX, room

STRIP_PX = 1 << 16
COUNTS = struct.Struct("<II")
# Level 1 packs tokens nearly as tightly as level 9, and is measured to be a tenth of the work of finding them.
ZSTD_LEVEL = 1
LEAST_ROOM_BYTES = 4096
WORD = 8
# Bands of so many pixels stay near the processor.
BAND_PX = 1 << 16
# Arguments by their place: by name they cost half a microsecond.
READ_ACROSS_FRAMES, ALLOW_EXTRA_DATA = False, False
UINT8, INT64, UINT64 = np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.uint64)


def encode_borders(labels_HW: LabelMap) -> bytes | None:
    """Tokens of a C-contiguous, writable map as a zstd frame; None when they would not pay."""
    encode, itemsize = _kernels().encode, labels_HW.itemsize
    bytes_max = min(labels_HW.nbytes // 2 + LEAST_ROOM_BYTES, 2**32 - 1)
    used = np.zeros(2, INT64)
    tokens, extras, border_2B, room_2W = _room_to_encode(bytes_max, min(labels_HW.shape[1], STRIP_PX))
    for strip_HW in _strips(labels_HW):
        for words_HW, num_told in _words(strip_HW):
            if not encode(words_HW, num_told, itemsize, used, tokens, extras, border_2B, room_2W):
                return None
    num_tokens, num_extras = used.tolist()
    if COUNTS.size + num_tokens + num_extras > content_max(labels_HW.nbytes):
        return None
    counts = COUNTS.pack(num_tokens, num_extras)
    return pack(b"".join((counts, tokens[:num_tokens], extras[:num_extras])))


def decode_borders(payload: bytes, labels_HW: LabelMap) -> LabelMap:
    """Fill `labels_HW` with the map of `encode_borders`; returns it. Raises CorruptMask for any other payload."""
    content, num_tokens, num_extras = read_tokens(payload, labels_HW.nbytes)
    decode, width = _kernels().decode, labels_HW.shape[1]
    told, used, border_2B = np.frombuffer(content, UINT8), np.zeros(2, INT64), _borders(min(width, STRIP_PX))
    sound = True
    if width <= STRIP_PX:
        sound = decode(told, num_tokens, used, labels_HW, border_2B)
    else:
        for first in range(0, width, STRIP_PX):
            strip_HW = labels_HW[:, first : first + STRIP_PX].copy()
            sound = sound and decode(told, num_tokens, used, strip_HW, border_2B)
            labels_HW[:, first : first + STRIP_PX] = strip_HW
    if not sound or used.tolist() != [num_tokens, num_extras]:
        raise CorruptMask(f"the tokens do not describe a label map of {labels_HW.shape}")
    return labels_HW


def read_tokens(payload: bytes, raw_bytes: int) -> tuple[bytes, int, int]:
    """(counts, tokens and extras; number of tokens; of extras) of a map of `raw_bytes`. Raises CorruptMask."""
    content = unpack(payload, content_max(raw_bytes))
    if len(content) < COUNTS.size:
        raise CorruptMask("the tokens of the label map are cut short")
    num_tokens, num_extras = COUNTS.unpack_from(content)
    if COUNTS.size + num_tokens + num_extras != len(content):
        raise CorruptMask(f"{num_tokens} tokens and {num_extras} extra bytes are not {len(content)} bytes")
    return content, num_tokens, num_extras


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
        self.error = zstandard.ZstdError


@lru_cache(maxsize=1)
def _zstd() -> _Zstd:
    return _Zstd()


def pack(content: bytes) -> bytes:
    """One zstd frame (RFC 8878) that states its content's size."""
    return _zstd().compress(content)


def unpack(frame: bytes, max_bytes: int) -> bytes:
    """Content of a frame of at most `max_bytes`. Raises CorruptMask when it is damaged, larger or does not say."""
    zstd = _zstd()
    try:
        # A frame may state any size, and zstandard allocates what it states.
        stated = zstd.content_size(frame)
        if not 0 <= stated <= max_bytes:
            raise CorruptMask(f"the zstd frame states {stated} bytes where {max_bytes} are allowed")
        content: bytes = zstd.decompress(frame, max_bytes, READ_ACROSS_FRAMES, ALLOW_EXTRA_DATA)
    except zstd.error as error:
        raise CorruptMask(f"the zstd frame of the label map cannot be read: {error}") from error
    return content


@lru_cache(maxsize=1)
def _kernels() -> Any:
    from terrazzo_masks.kernels import border_tokens

    return border_tokens


class _Kept(threading.local):
    """What was room for the last map of the thread: to look for it by name and size takes longer than to ask here.

    Most maps of a thread are tiles of one size.
    """

    def __init__(self) -> None:
        self.sizes = (0, 0)
        self.to_encode: tuple[Any, ...] = ()
        self.border_2B: NDArray[np.int64] = np.empty((2, 0), INT64)


_kept = _Kept()


def _room_to_encode(bytes_max: int, width: int) -> tuple[Any, ...]:
    """Room for tokens, extras, the borders of two rows, and two rows of words."""
    sizes = bytes_max, width
    if _kept.sizes == sizes:
        return _kept.to_encode
    outputs = room("tokens", bytes_max, np.uint8), room("extras", bytes_max, np.uint8)
    arrays = *outputs, _borders(width), room("words", 2 * width, np.uint64).reshape(2, -1)
    if bytes_max <= KEPT_BYTES_MAX:
        _kept.sizes, _kept.to_encode = sizes, arrays
    return arrays


def _borders(width: int) -> NDArray[np.int64]:
    """Room for the borders of two rows."""
    if _kept.border_2B.shape[1] != width + 2:
        _kept.border_2B = room("borders", 2 * (width + 2), np.int64).reshape(2, -1)
    return _kept.border_2B


def _words(labels_HW: LabelMap) -> Iterable[tuple[NDArray[np.uint64], int]]:
    """Rows as words of 8 bytes, and how many of them came before: all at once, or a band after the other."""
    if labels_HW.shape[1] * labels_HW.itemsize % WORD == 0:
        words_HW = labels_HW.view(UINT64)
        if words_HW.flags.aligned:
            return ((words_HW, 0),)
    return _bands(labels_HW)


def _bands(labels_HW: LabelMap) -> Iterator[tuple[NDArray[np.uint64], int]]:
    """Copies of some rows at a time, each after the first with the last row of the one before.

    The last pixel fills up a row's last word: there is no border in that.
    """
    height, width = labels_HW.shape
    per_word = WORD // labels_HW.itemsize
    filled = -(-width // per_word) * per_word
    num_rows = max(1, BAND_PX // filled)
    for top in range(0, height, num_rows):
        num_told = min(top, 1)
        part_HW = labels_HW[top - num_told : top + num_rows]
        band_HW = room("band", (num_rows + 1) * filled, labels_HW.dtype)[: len(part_HW) * filled].reshape(
            -1, filled
        )
        band_HW[:, :width], band_HW[:, width:] = part_HW, part_HW[:, -1:]
        yield band_HW.view(UINT64), num_told


def _strips(labels_HW: LabelMap) -> list[LabelMap]:
    width = labels_HW.shape[1]
    if width <= STRIP_PX:
        return [labels_HW]
    return [labels_HW[:, first : first + STRIP_PX].copy() for first in range(0, width, STRIP_PX)]
