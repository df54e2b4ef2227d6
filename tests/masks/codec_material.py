"""What tests of the codec share: label maps, forged bytes, patches by either method."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks import codec
from terrazzo_masks.codec import encode_patch
from terrazzo_masks.labels import LabelMap

SHAPES = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
    st.tuples(st.just(1), st.integers(1, 300)),
    st.tuples(st.integers(1, 300), st.just(1)),
)
LABEL_MAPS = st.one_of(
    hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 4)),
    hnp.arrays(np.uint8, SHAPES),
    hnp.arrays(np.uint16, SHAPES, elements=st.integers(65530, 65535)),
    hnp.arrays(np.uint16, SHAPES),
)


def patch_by_the_model(labels_HW: LabelMap, base_HW: LabelMap) -> bytes:
    """As releases before the method `runs` wrote every patch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codec, "encode_runs", lambda *_: (None, 0))
        return encode_patch(labels_HW, base_HW)


def forged(
    height: int,
    width: int,
    payload: bytes,
    *,
    itemsize: int = 1,
    method: int = codec.MODEL,
    pixel_sum: int = 0,
    version: int = codec.VERSION,
) -> bytes:
    """Bytes with a right CRC around whatever an attacker likes."""
    header = codec.HEADER.pack(codec.MAGIC, version, 1, itemsize, method, height, width, pixel_sum)
    return header + codec.CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(header))) + payload


# Payloads of the method `runs` that describe nothing in a map of 4 x 9 pixels.
RUNS_OF_4_BY_9 = {
    "no box": b"\x00\x00\x01",
    "a number that does not end": b"\x80\x80\x80\x80\x80\x80\x00\x00\x00",
    "a box below the map": b"\x03\x00\x02\x01" + b"\x00\x00" * 2,
    "a box beside the map": b"\x00\x08\x01\x02" + b"\x00\x00",
    "no height": b"\x00\x00\x00\x01",
    "no width": b"\x00\x00\x01\x00\x00\x00",
    "left over behind nothing": b"\x00\x00\x00\x00\x00",
    "a row that is missing": b"\x00\x00\x02\x04\x00\x00",
    "moved before there is a run": b"\x00\x00\x01\x04\x88",
    "moved out to the left": b"\x00\x00\x02\x04\x00\x01\x00\x00\x07\x78",
    "moved out to the right": b"\x00\x00\x02\x04\x00\x01\x00\x03\x07\x89",
    "moved to nothing": b"\x00\x00\x02\x04\x00\x01\x00\x00\x07\x98",
    "a run beyond the box": b"\x00\x00\x01\x04\x00\x01\x02\x02\x07",
    "a second run beyond the box": b"\x00\x00\x01\x04\x00\x02\x00\x01\x07\x02\x00\x08",
    "a gap cut short": b"\x00\x00\x01\x04\x00\x01",
    "a length cut short": b"\x00\x00\x01\x04\x00\x01\x00",
    "a value cut short": b"\x00\x00\x01\x04\x00\x01\x00\x00",
    "fewer runs than it says": b"\x00\x00\x01\x04\x00\x7f\x00\x00\x07",
    "more runs than can be": b"\x00\x00\x01\x04\x00\xff\xff\xff\xff\x7f\x00\x00\x07",
    "a number in more bytes than it needs": b"\x80\x00\x00\x01\x04\x00\x01\x00\x00\x07",
    "a number of 2**32": b"\x00\x00\x01\x04\x00\x01\x80\x80\x80\x80\x10\x00\x07",
    "bytes left over": b"\x00\x00\x01\x04\x00\x01\x00\x00\x07\x00",
}
