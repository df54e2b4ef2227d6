"""What is fuzzed: the decoders, on any bytes. Checksums are set right first, or nothing would get past them.

`decode_any(data)` raises only when a decoder breaks its promise: a label map of the size that the header says, or
CorruptMask; no other error, no more pixels than were allowed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from terrazzo_masks import codec
from terrazzo_masks.codec import decode, decode_patch, profile_of, v1
from terrazzo_masks.errors import CorruptMask

MAX_PIXELS = 1 << 14
BASE_HW = (np.add.outer(np.arange(24), np.arange(40)) // 9 % 5).astype(np.uint8)


def sealed(data: bytes) -> bytes:
    """The bytes with the CRC that their version wants, so that the decoder reads on."""
    start = v1.HEADER_BYTES if data[4:5] == b"\x01" else codec.HEADER_BYTES
    if len(data) < start:
        return data
    crc = zlib.crc32(data[start:], zlib.crc32(data[: start - 4]))
    return data[: start - 4] + struct.pack("<I", crc) + data[start:]


def decode_any(data: bytes) -> bool:
    """Decode bytes as they are, and with their CRC set right; True when one of these was a label map."""
    found = False
    for candidate in (data, sealed(data)):
        for read in (
            lambda candidate=candidate: decode(candidate, max_pixels=MAX_PIXELS),
            lambda candidate=candidate: decode_patch(candidate, BASE_HW, max_pixels=MAX_PIXELS),
        ):
            try:
                labels_HW = read()
            except CorruptMask:
                continue
            assert labels_HW.dtype in (np.uint8, np.uint16)
            assert 0 < labels_HW.size <= MAX_PIXELS
            assert labels_HW.shape == struct.unpack_from("<II", candidate, 8)
            assert profile_of(candidate) in codec.STORED_PROFILES
            found = True
    return found


def mutants(data: bytes, rng: np.random.Generator, num: int) -> Iterator[bytes]:
    """Seeded mutations of an encoding: bits flipped, bytes set, cut, doubled and spliced, sizes changed."""
    for _ in range(num):
        mutant = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            place = int(rng.integers(0, max(1, len(mutant))))
            match int(rng.integers(0, 6)):
                case 0 if mutant:
                    mutant[place] ^= 1 << int(rng.integers(0, 8))
                case 1 if mutant:
                    mutant[place] = int(rng.choice([0, 1, 127, 128, 255]))
                case 2:
                    del mutant[place : place + int(rng.integers(1, 9))]
                case 3:
                    mutant[place:place] = rng.bytes(int(rng.integers(1, 9)))
                case 4:
                    mutant[place:place] = mutant[place : place + int(rng.integers(1, 17))]
                case _ if len(mutant) >= 16:
                    struct.pack_into("<I", mutant, int(rng.choice([8, 12])), int(rng.integers(0, 200)))
        yield bytes(mutant)
