"""How the bytes of nodes and other small things are stored: raw, compressed, or as a patch on an older version.

Where some hashes are others, a patch is a *splice*: what is new, and where it goes in the older version's bytes.
Else it is a zstd frame whose dictionary is that version's bytes (zstd calls that `--patch-from`): what is the same
in both costs next to nothing. Frames have no magic number, and their length stands before them (varint), so that a
reader allocates what was said and no more. Tiles have encodings of their own (`terrazzo_masks.codec`).
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from terrazzo_mask_storage.domain.packs import Encoding, read_varint, varint

if TYPE_CHECKING:
    import zstandard

DATA_BYTES_MAX = 2**28
# Up to this nothing is gained: half of it is hashes, and a patch names its base, 32 bytes more.
SMALL_BYTES_MAX = 128
# A patch of less than this share is taken without trying what plain compression gives.
_GOOD_SHARE = 0.5
# So many bytes between two pieces that are new are written with them: each piece costs two numbers.
_JOINED_BYTES = 3
_STATES_A_SIZE = 0b1110_0000
_local = threading.local()


class DamagedData(ValueError):
    """These bytes can't be what the table says that they are."""


def compress(data: bytes, base: bytes | None = None) -> tuple[Encoding, bytes]:
    """Raw, zstd or (given the older version's bytes) a patch: a splice where that is short, else the least.

    A splice takes a quarter of the time of a frame with a dictionary, and is as short.
    """
    if len(data) <= SMALL_BYTES_MAX:
        return "raw", data
    if base is not None and len(base) == len(data):
        splice = _splice(data, base, int(len(data) * _GOOD_SHARE))
        if splice is not None:
            return "splice", splice
    best: tuple[Encoding, bytes] = "raw", data
    if base:
        patch = varint(len(data)) + _with_base(data, base)
        if len(patch) < len(data) * _GOOD_SHARE:
            return "zstd_patch", patch
        best = min(best, ("zstd_patch", patch), key=lambda found: len(found[1]))
    packed = varint(len(data)) + _plain_compressor().compress(data)
    return min(best, ("zstd", packed), key=lambda found: len(found[1]))


def decompress(encoding: Encoding, data: bytes, base: bytes | None = None) -> bytes:
    """What `compress` was given. Raises DamagedData."""
    import zstandard

    if encoding == "raw":
        return data
    if encoding == "splice":
        return _spliced(data, base)
    try:
        size_bytes, start = read_varint(data, 0)
    except ValueError as error:
        raise DamagedData(str(error)) from error
    if size_bytes > DATA_BYTES_MAX:
        raise DamagedData(f"it says that it unpacks to {size_bytes} bytes: {DATA_BYTES_MAX} are allowed")
    # RFC 8878, 3.1.1.1.1: a frame that states a size of its own would be believed before ours.
    if not data[start:] or data[start] & _STATES_A_SIZE:
        raise DamagedData("it is no frame as they are written here")
    dictionary = None
    if encoding == "zstd_patch":
        if base is None:
            raise DamagedData("a patch without its base")
        dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    reader = zstandard.ZstdDecompressor(
        dict_data=dictionary, max_window_size=DATA_BYTES_MAX, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    try:
        out = reader.decompress(data[start:], max_output_size=max(1, size_bytes))
    except zstandard.ZstdError as error:
        raise DamagedData(f"it can't be unpacked: {error}") from error
    if len(out) != size_bytes:
        raise DamagedData(f"it unpacks to {len(out)} bytes instead of {size_bytes}")
    return out


@lru_cache(maxsize=64)
def _parameters(level: int, size_class: int) -> zstandard.ZstdCompressionParameters:
    import zstandard

    return zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=1 << size_class,
        dict_size=1 << size_class,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=0,
        write_checksum=0,
        write_dict_id=0,
    )


def _plain_compressor() -> zstandard.ZstdCompressor:
    import zstandard

    found: zstandard.ZstdCompressor | None = getattr(_local, "plain", None)
    if found is None:
        found = _local.plain = zstandard.ZstdCompressor(compression_params=_parameters(3, 16))
    return found


def _with_base(data: bytes, base: bytes) -> bytes:
    import zstandard

    size_class = min(max(len(data) + len(base), 2**10).bit_length(), 27)
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(compression_params=_parameters(3, size_class), dict_data=dictionary).compress(
        data
    )


def _splice(data: bytes, base: bytes, most: int) -> bytes | None:
    """Where bytes of one length differ: pieces of (bytes since the last, length, bytes); None if that is much."""
    places = np.flatnonzero(np.frombuffer(data, np.uint8) != np.frombuffer(base, np.uint8))
    if places.size >= most:
        return None
    last = np.flatnonzero(np.diff(places, append=len(data) + _JOINED_BYTES + 1) > _JOINED_BYTES + 1)
    ends = places[last] + 1
    starts = places[np.concatenate(([0], last[:-1] + 1))] if places.size else ends
    out, at = bytearray(), 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        out += varint(start - at) + varint(end - start) + data[start:end]
        at = end
    return bytes(out) if len(out) < most else None


def _spliced(pieces: bytes, base: bytes | None) -> bytes:
    """What `_splice` was given. Raises DamagedData."""
    if base is None:
        raise DamagedData("a splice without its base")
    out, at, place = bytearray(base), 0, 0
    try:
        while at < len(pieces):
            gap, at = read_varint(pieces, at)
            num, at = read_varint(pieces, at)
            place += gap
            if at + num > len(pieces) or place + num > len(out):
                raise DamagedData(f"a piece of {num} bytes at {place} of {len(out)} does not fit")
            out[place : place + num] = pieces[at : at + num]
            at, place = at + num, place + num
    except ValueError as error:
        raise DamagedData(str(error)) from error
    return bytes(out)
