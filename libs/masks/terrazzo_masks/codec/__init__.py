"""Lossless bytes for one label map: format version 3, ruled by `docs/mask-format.md`; 1 and 2 are read for ever.

Layout, little endian; 24 bytes of header, then the payload of the method:

    offset  size  field
    0       4     magic b"TZLM"
    4       1     version, 3
    5       1     profile: 0 fast, 1 small, 2 patch (what was asked for; decoding does not depend on it)
    6       1     bytes per pixel: 1 (uint8) or 2 (uint16)
    7       1     method: 0 stored, 1 borders, 2 model, 3 patch, 4 runs
    8       4     height_px, 1..2**32-1
    12      4     width_px
    16      4     checksum of the pixels (sum of value + 1 times an odd factor of the place)
    20      4     CRC-32 of bytes 0..19 and of everything from byte 24 on

`fast` tells where the borders of a row lie from those of the row above, a byte each, and lets zstd pack them.
`small` codes the few pixels at which neighbours disagree under adaptive contexts by a range coder; where they
agree, a whole run takes one decision. A *patch* holds only what differs from a base of the same shape: a stroke as
runs of one value, about a byte a row; more than that by the same model. Where that does not pay, a map is stored
as it is, packed by zstd: no map grows by more than 0.1 % and 64 bytes.

The CRC-32 detects each single flipped bit with certainty, the checksum each single wrong pixel: a patch that is
applied to another base than its own is found out. Both guard against damage, not against an adversary: content
addresses do that (see `tiles`). Every size is checked before memory is taken.
"""

import struct
import zlib
from typing import Literal, NamedTuple

import numpy as np

from terrazzo_masks.boxes import Box
from terrazzo_masks.changes import change_between
from terrazzo_masks.codec import v1, v2
from terrazzo_masks.codec.borders import (
    STRIP_PX,
    decode_borders,
    decode_stored,
    encode_borders,
    encode_stored,
    read_tokens,
)
from terrazzo_masks.codec.model import decode_model, encode_model
from terrazzo_masks.codec.patches import decode_changes, encode_changes
from terrazzo_masks.codec.runs import decode_runs, encode_runs
from terrazzo_masks.errors import CorruptMask, ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap, require_labels

Profile = Literal["fast", "small"]
StoredProfile = Literal["fast", "small", "patch"]

MAGIC = b"TZLM"
VERSION = 3
HEADER = struct.Struct("<4sBBBBIII")
CHECKSUM = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CHECKSUM.size
PROFILES: tuple[Profile, ...] = ("fast", "small")
STORED_PROFILES: tuple[StoredProfile, ...] = ("fast", "small", "patch")
STORED, BORDERS, MODEL, PATCH, RUNS = range(5)
PATCHES = (PATCH, RUNS)
UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)


class Header(NamedTuple):
    """What the first bytes of versions 2 and 3 say."""

    version: int
    profile: int
    itemsize: int
    method: int
    height: int
    width: int
    pixel_sum: int


class BorderTokens(NamedTuple):
    """A map as `kernels.border_tokens` tells it: behind the counts in `content` the tokens, then the extras."""

    height: int
    width: int
    pixel_sum: int
    content: bytes
    num_tokens: int


def encode(labels_HW: LabelMap, profile: Profile = "small") -> bytes:
    """Pack a label map; the same pixels, dtype and profile give the same bytes (`fast`: for one zstd release).

    `small` is for keeping, `fast` for interactive saves, live tiles and training. Raises UnsupportedMask when
    `labels_HW` is not a label map or the profile is unknown.
    """
    require_labels(labels_HW)
    if profile not in PROFILES:
        raise UnsupportedMask(f"unknown codec profile {profile!r}: it is one of {', '.join(PROFILES)}")
    plain_HW = _plain(labels_HW)
    method, payload = (
        (BORDERS, encode_borders(plain_HW))
        if profile == "fast"
        else (MODEL, encode_model(plain_HW, plain_HW.dtype))
    )
    if payload is None:
        method, payload = STORED, encode_stored(plain_HW)
    return _seal(plain_HW, PROFILES.index(profile), method, payload)


def decode(data: bytes, *, max_pixels: int = 2**31) -> LabelMap:
    """Unpack the bytes of `encode`, of this or an older version: a fresh, writable, C-contiguous label map (H, W).

    Raises CorruptMask for anything else: another format, a newer version, a flipped bit, bytes missing or left
    over, a size that is 0 or above `max_pixels`, a patch (`decode_patch` reads those).
    """
    if _version(data) == v1.VERSION:
        return v1.decode(data, max_pixels=max_pixels)
    header = _read_header(data, max_pixels)
    if header.method in PATCHES:
        raise CorruptMask(
            "these bytes are a patch: they are decoded with the label map that they were made against"
        )
    return _checked(_decode_whole(data, header), header)


def encode_patch(labels_HW: LabelMap, base_HW: LabelMap, box: Box | None = None) -> bytes:
    """Pack a label map as what differs from `base_HW`, an older version of it (same shape, dtype may differ).

    `box`, where it is known already, is the smallest that holds all that differs; bytes that were made with a
    smaller one are refused when they are decoded. A brush stroke takes some tens of bytes. When most of the map
    differs, all of it is packed if that is shorter. Raises UnsupportedMask when one of the two is not a label map,
    ShapeMismatch when their shapes differ.
    """
    require_labels(labels_HW)
    require_labels(base_HW, "base")
    if labels_HW.shape != base_HW.shape:
        raise ShapeMismatch(f"a patch from {base_HW.shape} to {labels_HW.shape}: a patch keeps the shape")
    plain_HW = _plain(labels_HW)
    box = box or _differing_box(plain_HW, base_HW)
    runs, num_changed = encode_runs(plain_HW, base_HW, box)
    if runs is not None and num_changed * 4 <= plain_HW.size:
        return _seal(plain_HW, STORED_PROFILES.index("patch"), RUNS, runs)
    packed, num_changed = encode_changes(plain_HW, base_HW, box)
    if packed is not None and num_changed * 4 <= plain_HW.size:
        return _seal(plain_HW, STORED_PROFILES.index("patch"), PATCH, packed)
    whole = encode_model(plain_HW, plain_HW.dtype)
    method, payload = (MODEL, whole) if whole is not None else (STORED, encode_stored(plain_HW))
    if packed is not None and len(packed) <= len(payload):
        method, payload = PATCH, packed
    return _seal(plain_HW, STORED_PROFILES.index("patch"), method, payload)


def decode_patch(data: bytes, base_HW: LabelMap, *, max_pixels: int = 2**31) -> LabelMap:
    """Unpack the bytes of `encode_patch` with the base that they were made against.

    Raises CorruptMask for anything but those bytes, and for another base. Bytes of `encode` are read too.
    """
    require_labels(base_HW, "base")
    if _version(data) == v1.VERSION:
        return v1.decode(data, max_pixels=max_pixels)
    header = _read_header(data, max_pixels)
    if header.method not in PATCHES:
        return _checked(_decode_whole(data, header), header)
    if base_HW.shape != (header.height, header.width):
        raise CorruptMask(
            f"a patch of {header.height} x {header.width} pixels does not fit a base {base_HW.shape}"
        )
    labels_HW: LabelMap = np.empty(base_HW.shape, dtype=_dtype(header))
    payload = data[HEADER_BYTES:]
    if header.method == RUNS:
        return _checked(decode_runs(payload, labels_HW, base_HW), header)
    return _checked(decode_changes(payload, header.version, labels_HW, base_HW), header)


def border_tokens(data: bytes, *, max_pixels: int = 2**31) -> BorderTokens | None:
    """What `encode(labels, "fast")` packed of a map of 8 bits and at most STRIP_PX columns; None for other bytes.

    Who reads them must check what `decode` does: that they are read to their end, and `pixel_sum`. Raises
    CorruptMask for what is seen to be damaged already.
    """
    if _version(data) == v1.VERSION:
        return None
    header = _read_header(data, max_pixels)
    if header.method != BORDERS or header.itemsize != 1 or header.width > STRIP_PX:
        return None
    content, num_tokens, _ = read_tokens(data[HEADER_BYTES:], header.height * header.width)
    return BorderTokens(header.height, header.width, header.pixel_sum, content, num_tokens)


def profile_of(data: bytes) -> StoredProfile:
    """How these bytes were packed: 'fast', 'small' or 'patch'. Raises CorruptMask when their header is none."""
    version = _version(data)
    profiles = PROFILES if version == v1.VERSION else STORED_PROFILES
    if version not in (v1.VERSION, v2.VERSION, VERSION) or data[5] >= len(profiles):
        raise CorruptMask(f"version {version}, profile {data[5]} is no label map that this release reads")
    return profiles[data[5]]


def _version(data: bytes) -> int:
    if len(data) < v1.HEADER_BYTES:
        raise CorruptMask(f"an encoded label map has at least {v1.HEADER_BYTES} bytes, not {len(data)}")
    if data[:4] != MAGIC:
        raise CorruptMask(f"an encoded label map starts with {MAGIC!r}, not {bytes(data[:4])!r}")
    return data[4]


def _read_header(data: bytes, max_pixels: int) -> Header:
    """The header of sound bytes of version 2 or 3. Raises CorruptMask."""
    version = _version(data)
    if version not in (v2.VERSION, VERSION):
        raise CorruptMask(f"label map format version {version} is unknown: this release reads up to {VERSION}")
    if len(data) < HEADER_BYTES:
        raise CorruptMask(
            f"an encoded label map of version {version} has at least {HEADER_BYTES} bytes, not {len(data)}"
        )
    (stated,) = CHECKSUM.unpack_from(data, HEADER.size)
    if stated != _crc(data[: HEADER.size], data[HEADER_BYTES:]):
        raise CorruptMask("the checksum of the encoded label map does not match: its bytes are damaged")
    header = Header(*HEADER.unpack_from(data)[1:])
    last_method = RUNS if version == VERSION else PATCH
    if header.profile >= len(STORED_PROFILES) or header.itemsize not in (1, 2) or header.method > last_method:
        raise CorruptMask(f"impossible header: {header}")
    if header.height == 0 or header.width == 0 or header.height * header.width > max_pixels:
        raise CorruptMask(
            f"an encoded label map of {header.height} x {header.width} pixels: 1 to {max_pixels} are allowed"
        )
    return header


def _decode_whole(data: bytes, header: Header) -> LabelMap:
    payload, dtype = data[HEADER_BYTES:], _dtype(header)
    labels_HW: LabelMap = np.empty((header.height, header.width), dtype=dtype)
    if header.method == STORED:
        return decode_stored(payload, labels_HW)
    if header.method == BORDERS:
        return decode_borders(payload, labels_HW)
    read = v2.decode_model if header.version == v2.VERSION else decode_model
    return read(payload, labels_HW, dtype)


def _checked(labels_HW: LabelMap, header: Header) -> LabelMap:
    from terrazzo_masks.kernels.pixel_sums import checksum

    if checksum(labels_HW) != header.pixel_sum:
        raise CorruptMask("the decoded pixels do not have the checksum of the label map: wrong base, or damage")
    return labels_HW


def _seal(labels_HW: LabelMap, profile: int, method: int, payload: bytes) -> bytes:
    from terrazzo_masks.kernels.pixel_sums import checksum

    height, width = labels_HW.shape
    header = HEADER.pack(MAGIC, VERSION, profile, labels_HW.itemsize, method, height, width, checksum(labels_HW))
    return header + CHECKSUM.pack(_crc(header, payload)) + payload


def _crc(header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header))


def _dtype(header: Header) -> np.dtype[np.uint8 | np.uint16]:
    return UINT8 if header.itemsize == 1 else UINT16


def _differing_box(labels_HW: LabelMap, base_HW: LabelMap) -> Box:
    change = change_between(base_HW, labels_HW, 0, 0)
    return Box(0, 0, 0, 0) if change is None else change.box


def _plain(labels_HW: LabelMap) -> LabelMap:
    """C-contiguous and writable: the one kind of array that the kernels are compiled for."""
    if labels_HW.flags.c_contiguous and labels_HW.flags.writeable:
        return labels_HW
    return labels_HW.copy(order="C")
