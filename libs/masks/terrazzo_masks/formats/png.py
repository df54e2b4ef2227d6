"""PNG (third edition, W3C 2025) as label maps need it: written flat and fast, and read fast where it is plain.

Written and read here because a label map is a special picture and its files come by the ten thousand. Rows less
the row above them, packed by a deflate that looks for runs alone, are smaller than Pillow's and far less work.
zlib-ng packs and unpacks label maps at five to ten times the speed of the zlib that Python comes with.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.labels import LabelMap

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE = 0, 2, 3
DEPTHS = {GRAY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}
HEADER = struct.Struct(">IIBBBBB")
HEADER_HEAD, HEADER_AT, HEADER_END = b"\0\0\0\x0dIHDR", 16, 33
CHUNK_HEAD, CRC = struct.Struct(">I4s"), struct.Struct(">I")
CHUNK_FRAME = 12
# Chunks that change no sample, with the least length that each may have. Others are Pillow's to judge.
IGNORED = {
    b"tEXt": 0,
    b"tIME": 7,
    b"pHYs": 9,
    b"gAMA": 4,
    b"cHRM": 32,
    b"sRGB": 1,
    b"sBIT": 1,
    b"bKGD": 1,
    b"tRNS": 2,
}
# Level 1 of zlib-ng is as small as level 9 here: a run is found or it isn't.
LEVEL, WINDOW_BITS, MEMORY_LEVEL = 1, 15, 8
BAND_BYTES = 2**20
# The last chunk: its name, and the CRC of that.
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def png_bytes(
    rows_HB: NDArray[np.uint8], width: int, depth: int, kind: int, colors: bytes | None = None, comment: str = ""
) -> bytes:
    """A PNG of rows of bytes as they are before filtering: `kind` is GRAY, RGB or PALETTE, `colors` its table."""
    return png_around(_deflated(rows_HB), len(rows_HB), width, depth, kind, colors, comment)


def png_around(
    image_data: bytes,
    height: int,
    width: int,
    depth: int = 8,
    kind: int = GRAY,
    colors: bytes | None = None,
    comment: str = "",
) -> bytes:
    """A PNG of image data, which are a zlib stream of filtered rows."""
    chunks = [_start(width, height, depth, kind)]
    if colors is not None:
        chunks.append(_chunk(b"PLTE", colors))
    if comment:
        chunks.append(_chunk(b"iTXt", b"Comment\0\0\0\0\0" + comment.encode()))
    chunks += [_chunk(b"IDAT", image_data), _END]
    return b"".join(chunks)


@lru_cache(maxsize=256)
def _start(width: int, height: int, depth: int, kind: int) -> bytes:
    """Up to the end of the header chunk: of a folder of label maps, most are of one size."""
    return PNG_MAGIC + _chunk(b"IHDR", HEADER.pack(width, height, depth, kind, 0, 0, 0))


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc32 = _crc32()
    return b"".join((CHUNK_HEAD.pack(len(body), kind), body, CRC.pack(crc32(body, crc32(kind)))))


@lru_cache(maxsize=1)
def _crc32() -> Callable[..., int]:
    from zlib_ng.zlib_ng import crc32

    return crc32


def _deflated(rows_HB: NDArray[np.uint8]) -> bytes:
    """The image data: every row by filter 2 ('up'), a band of rows at a time."""
    from zlib_ng import zlib_ng

    from terrazzo_masks.kernels.png import filter_up

    height, row_bytes = rows_HB.shape
    packer = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib_ng.Z_RLE)
    num_rows = max(1, BAND_BYTES // row_bytes)
    filtered_N = np.empty(min(num_rows, height) * (row_bytes + 1), np.uint8)
    packed = []
    for start in range(0, height, num_rows):
        num_bytes = filter_up(rows_HB, start, filtered_N)
        packed.append(packer.compress(filtered_N[:num_bytes]))
    packed.append(packer.flush())
    return b"".join(packed)


def plain_png_labels(data: bytes) -> LabelMap | None:
    """The samples of a plain and sound PNG: uint8, or uint16 where it is 16 bit. None for any other PNG.

    Plain: gray or indices of a palette, not interlaced, the chunks of `IGNORED` at most beside those that it must
    have. Sound: every chunk up to IEND has its CRC, and the image data are one deflate stream with its checksum
    that holds exactly the stated rows. Any other file is for a more patient reader, Pillow, to read or to refuse.
    The caller has seen a header chunk, and has checked the size that it states. Nothing is allocated by that size
    before as much has been unpacked. Raises CorruptMask for more image data than the size says.
    """
    from terrazzo_masks.kernels.png import split_bytes, unfilter

    width, height, depth, kind, packing, filtering, interlacing = HEADER.unpack_from(data, HEADER_AT)
    if depth not in DEPTHS.get(kind, ()) or packing or filtering or interlacing:
        return None
    packed = _image_data(data, has_palette=kind == PALETTE)
    row_bytes = (width * depth + 7) // 8
    raw = None if packed is None else _inflated(packed, height * (row_bytes + 1))
    if raw is None:
        return None
    rows_HB = np.empty((height, row_bytes), np.uint8)
    if unfilter(np.frombuffer(raw, np.uint8), rows_HB, 2 if depth == 16 else 1) < height:
        return None
    if depth == 8:
        return rows_HB
    if depth == 16:
        return rows_HB.view(">u2").astype(np.uint16)
    samples_HS = np.empty((height, 8 // depth * row_bytes), np.uint8)
    split_bytes(rows_HB, depth, samples_HS)
    return np.ascontiguousarray(samples_HS[:, :width])


def _image_data(data: bytes, has_palette: bool) -> bytes | memoryview | None:
    """The deflate stream of a PNG whose chunks are all known, in order and with their CRC; None for others."""
    from zlib_ng.zlib_ng import crc32

    view = memoryview(data)
    header_is_whole = data[8:HEADER_AT] == HEADER_HEAD and crc32(view[12:29]) == CRC.unpack_from(data, 29)[0]
    parts: list[memoryview] = []
    colors_missing, last = has_palette, b""
    at, end = HEADER_END, len(data) - CHUNK_FRAME
    while at <= end and header_is_whole:
        length, kind = CHUNK_HEAD.unpack_from(data, at)
        body_end = at + 8 + length
        if at + length > end or crc32(view[at + 4 : body_end]) != CRC.unpack_from(data, body_end)[0]:
            return None
        if kind == b"IDAT" and not colors_missing and (not parts or last == b"IDAT"):
            parts.append(view[at + 8 : body_end])
        elif kind == b"IEND" and length == 0 and parts:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        elif kind == b"PLTE" and colors_missing and length in range(3, 769, 3):
            colors_missing = False
        elif length < IGNORED.get(kind, length + 1) and not (kind == b"tRNS" and has_palette):
            return None
        at, last = body_end + 4, kind
    return None


def _inflated(packed: bytes | memoryview, num_bytes: int) -> bytes | None:
    """`num_bytes` bytes unpacked, or None if the stream is damaged, holds fewer or is followed by others.

    Never unpacks more than one byte over that. Raises CorruptMask if there is one.
    """
    from zlib_ng import zlib_ng

    unpacker = zlib_ng.decompressobj()
    try:
        raw = unpacker.decompress(packed, num_bytes + 1)
    except cast("type[Exception]", zlib_ng.error):
        return None
    if len(raw) > num_bytes:
        raise CorruptMask(f"the PNG holds more image data than the {num_bytes} bytes of the size that it states")
    return raw if len(raw) == num_bytes and unpacker.eof and not unpacker.unused_data else None
