"""Reading label maps of format version 1, as released with 0.1.0.

Layout, little endian; 20 bytes of header, then one zstd frame:

    offset  size  field
    0       4     magic b"TZLM"
    4       1     version, 1
    5       1     profile: 0 fast, 1 small (how it was packed; decoding does not depend on it)
    6       1     bytes per pixel: 1 (uint8) or 2 (uint16)
    7       1     predictor: 0 none, 1 up, 2 up then left
    8       4     height_px, 1..2**32-1
    12      4     width_px
    16      4     CRC-32 of bytes 0..15 and of everything from byte 20 on
    20      ...   zstd frame (RFC 8878) that states its content size, height * width * bytes per pixel

The predictor turns a label map into residuals modulo 2**bits: `up` subtracts the pixel above, `up then left`
subtracts the left neighbour of that residual as well. Inside a region both are 0, so that what remains are long
zero runs. uint16 residuals are stored as two planes (all low bytes, then all high bytes): the high plane is
mostly zero.

A CRC-32 detects each single flipped bit, and each burst of up to 32, with certainty. It guards against damage, not
against an adversary: content addresses do that (see `tiles`). Every size is checked before memory is taken.
"""

import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.labels import LabelMap, require_labels

Profile = Literal["fast", "small"]

MAGIC = b"TZLM"
VERSION = 1
HEADER = struct.Struct("<4sBBBBII")
CHECKSUM = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CHECKSUM.size

NO_PREDICTOR, UP, UP_THEN_LEFT = 0, 1, 2
PROFILES: tuple[Profile, ...] = ("fast", "small")
ZSTD_LEVEL: dict[Profile, int] = {"fast": 1, "small": 15}
# The fast profile does not try alternatives: `up` wins or nearly wins on label maps of every kind we measured.
PREDICTORS: dict[Profile, tuple[int, ...]] = {"fast": (UP,), "small": (NO_PREDICTOR, UP, UP_THEN_LEFT)}


def encode(labels_HW: LabelMap, profile: Profile = "fast") -> bytes:
    """Pack a label map; the same pixels, dtype and profile always give the same bytes (for one zstd release).

    `fast` (zstd level 1, one predictor) is for interactive saves; `small` tries each predictor at zstd level 15.
    Raises UnsupportedMask when `labels_HW` is not a label map or the profile is unknown.
    """
    import zstandard

    require_labels(labels_HW)
    if profile not in PROFILES:
        raise UnsupportedMask(f"unknown codec profile {profile!r}: it is one of {', '.join(PROFILES)}")
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL[profile], write_checksum=False, write_content_size=True)
    packed = [(p, compressor.compress(_planes(_residual(labels_HW, p)))) for p in PREDICTORS[profile]]
    predictor, frame = min(packed, key=lambda candidate: len(candidate[1]))
    height, width = labels_HW.shape
    header = HEADER.pack(
        MAGIC, VERSION, PROFILES.index(profile), labels_HW.dtype.itemsize, predictor, height, width
    )
    return header + CHECKSUM.pack(zlib.crc32(frame, zlib.crc32(header))) + frame


def decode(data: bytes, *, max_pixels: int = 2**31) -> LabelMap:
    """Unpack the bytes of `encode`: a fresh, writable, C-contiguous label map (H, W).

    Raises CorruptMask for anything else: another format, a newer version, a flipped bit, bytes missing or left
    over, a size that is 0 or above `max_pixels`.
    """
    itemsize, predictor, height, width = _read_header(data, max_pixels)
    residual_bytes = _decompress(data[HEADER_BYTES:], height * width * itemsize)
    residual_HW = _join_planes(residual_bytes, height, width, itemsize)
    # In place is safe: accumulate reads an element before it writes it.
    if predictor == UP_THEN_LEFT:
        np.add.accumulate(residual_HW, axis=1, out=residual_HW)
    if predictor != NO_PREDICTOR:
        np.add.accumulate(residual_HW, axis=0, out=residual_HW)
    return residual_HW


def _read_header(data: bytes, max_pixels: int) -> tuple[int, int, int, int]:
    """(bytes per pixel, predictor, height, width) of sound bytes; raises CorruptMask."""
    if len(data) < HEADER_BYTES:
        raise CorruptMask(f"an encoded label map has at least {HEADER_BYTES} bytes, not {len(data)}")
    magic, version, profile, itemsize, predictor, height, width = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CorruptMask(f"an encoded label map starts with {MAGIC!r}, not {bytes(magic)!r}")
    if version != VERSION:
        raise CorruptMask(f"label map format version {version} is unknown: this release reads version {VERSION}")
    (checksum,) = CHECKSUM.unpack_from(data, HEADER.size)
    if checksum != zlib.crc32(data[HEADER_BYTES:], zlib.crc32(data[: HEADER.size])):
        raise CorruptMask("the checksum of the encoded label map does not match: its bytes are damaged")
    if profile >= len(PROFILES) or itemsize not in (1, 2) or predictor > UP_THEN_LEFT:
        raise CorruptMask(
            f"impossible header: profile {profile}, {itemsize} bytes per pixel, predictor {predictor}"
        )
    if height == 0 or width == 0 or height * width > max_pixels:
        raise CorruptMask(f"an encoded label map of {height} x {width} pixels: 1 to {max_pixels} are allowed")
    return itemsize, predictor, height, width


def _decompress(frame: bytes, num_bytes: int) -> bytes:
    import zstandard

    try:
        # A frame may state another size than the header: zstandard would allocate what the frame states.
        stated = zstandard.frame_content_size(frame)
        if stated != num_bytes:
            raise CorruptMask(f"the zstd frame states {stated} bytes where the header needs {num_bytes}")
        content = zstandard.ZstdDecompressor().decompress(frame, max_output_size=num_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptMask(f"the zstd frame of the label map cannot be read: {error}") from error
    if len(content) != num_bytes:
        raise CorruptMask(f"the zstd frame holds {len(content)} bytes where the header needs {num_bytes}")
    return bytes(content)


def _residual(labels_HW: LabelMap, predictor: int) -> NDArray[Any]:
    if predictor == NO_PREDICTOR:
        return np.ascontiguousarray(labels_HW)
    residual_HW: NDArray[Any] = np.empty(labels_HW.shape, dtype=labels_HW.dtype)
    residual_HW[0] = labels_HW[0]
    np.subtract(labels_HW[1:], labels_HW[:-1], out=residual_HW[1:])
    if predictor == UP_THEN_LEFT:
        residual_HW[:, 1:] = residual_HW[:, 1:] - residual_HW[:, :-1]
    return residual_HW


def _planes(residual_HW: NDArray[Any]) -> bytes:
    if residual_HW.dtype.itemsize == 1:
        return residual_HW.tobytes()
    # Byte order is fixed by arithmetic, not by the machine.
    return (residual_HW & 0xFF).astype(np.uint8).tobytes() + (residual_HW >> 8).astype(np.uint8).tobytes()


def _join_planes(data: bytes, height: int, width: int, itemsize: int) -> NDArray[Any]:
    planes = np.frombuffer(data, dtype=np.uint8).reshape(itemsize, height, width)
    joined_HW: NDArray[Any] = planes[itemsize - 1].astype(np.uint8 if itemsize == 1 else np.uint16)
    if itemsize == 1:
        return joined_HW
    joined_HW <<= 8
    joined_HW |= planes[0]
    return joined_HW
