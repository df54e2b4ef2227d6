"""Index PNGs straight from the codec's bytes: of what was packed `fast`, no pixel is made on the way.

The borders that its tokens tell are runs of filtered rows already (kernels/png_rows.py): a file takes half the
time of decoding a map and packing its rows. A version of very many label files is checked out so.
"""

import threading
from functools import lru_cache

import numpy as np

from terrazzo_masks import codec
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats.label_files import to_png
from terrazzo_masks.formats.png import png_around

# Symbols of one block of the stream; a row of the widest map has half as many at most.
_SYMBOLS = 1 << 17
_UINT8 = np.dtype(np.uint8)


def encoded_to_png(data: bytes, shape_HW: tuple[int, int] | None = None, *, max_pixels: int = 2**31) -> bytes:
    """An index PNG of the pixels of `codec.decode(data)`, of that shape if one is given.

    Raises CorruptMask where `decode` does, and for another shape.
    """
    tokens = codec.border_tokens(data, max_pixels=max_pixels)
    if tokens is None:
        labels_HW = codec.decode(data, max_pixels=max_pixels)
        _require_shape(labels_HW.shape, shape_HW)
        return to_png(labels_HW)
    _require_shape((tokens.height, tokens.width), shape_HW)
    return png_around(_image_data(tokens), tokens.height, tokens.width)


def _require_shape(found_HW: tuple[int, ...], shape_HW: tuple[int, int] | None) -> None:
    if shape_HW is not None and found_HW != shape_HW:
        raise CorruptMask(f"a label map of {found_HW} where one of {shape_HW} belongs")


class _Rooms(threading.local):
    """Arrays to work in, for each thread: to make them takes longer than a tile."""

    def __init__(self) -> None:
        from terrazzo_masks.kernels import deflate, png_rows

        self.kernels = png_rows
        self.state = np.empty(png_rows.STATE_SIZE, np.int64)
        self.border_2B = np.empty((2, 0), np.int64)
        self.symbol_S = np.empty(_SYMBOLS, np.uint16)
        self.count_5S = np.empty((5, deflate.NUM_SYMBOLS), np.int64)
        self.out_W = np.empty(deflate.SYMBOL_BYTES * _SYMBOLS // 4 + deflate.HEAD_WORDS, np.uint32)
        self.out_N = self.out_W.view(np.uint8)


@lru_cache(maxsize=1)
def _rooms() -> _Rooms:
    return _Rooms()


def _image_data(tokens: codec.BorderTokens) -> bytes:
    """A zlib stream (RFC 1950) of the rows, each less the one above it. Raises CorruptMask."""
    rooms = _rooms()
    kernels, state = rooms.kernels, rooms.state
    height, width, pixel_sum, told, num_tokens = tokens
    if rooms.border_2B.shape[1] < width + 2:
        rooms.border_2B = np.empty((2, width + 2), np.int64)
    content = np.frombuffer(told, _UINT8)
    state.fill(0)
    bands: list[bytes] = []
    while state[kernels.ROW] < height:
        num_bytes = kernels.png_band(
            content,
            num_tokens,
            height,
            width,
            pixel_sum,
            state,
            rooms.border_2B,
            rooms.symbol_S,
            rooms.count_5S,
            rooms.out_W,
        )
        if num_bytes == kernels.OTHER_PIXELS:
            raise CorruptMask(
                "the decoded pixels do not have the checksum of the label map: its bytes are damaged"
            )
        if num_bytes < 0:
            raise CorruptMask(f"the tokens do not describe a label map of {(height, width)}")
        bands.append(rooms.out_N[:num_bytes].tobytes())
    return b"".join(bands)
