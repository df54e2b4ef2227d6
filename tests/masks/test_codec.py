"""The codec: lossless, self-describing, and calm about every kind of bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks import codec
from terrazzo_masks.codec import PROFILES, Profile, decode, encode
from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.labels import LabelMap

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
LABEL_MAPS = st.one_of(
    hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 4)),
    hnp.arrays(np.uint8, SHAPES),
    hnp.arrays(np.uint16, SHAPES),
)


@given(labels_HW=LABEL_MAPS, profile=st.sampled_from(PROFILES))
@settings(deadline=None, max_examples=80)
def test_what_was_encoded_comes_back_with_its_dtype(labels_HW: LabelMap, profile: Profile) -> None:
    decoded_HW = decode(encode(labels_HW, profile))
    assert decoded_HW.dtype == labels_HW.dtype
    np.testing.assert_array_equal(decoded_HW, labels_HW)
    assert decoded_HW.flags.writeable
    assert decoded_HW.flags.c_contiguous


def test_a_view_with_strides_is_encoded_like_its_copy() -> None:
    base_HW = np.arange(400, dtype=np.uint16).reshape(20, 20)
    assert encode(base_HW[::2, ::-3]) == encode(base_HW[::2, ::-3].copy())


def test_equal_pixels_give_equal_bytes() -> None:
    labels_HW = np.random.default_rng(0).integers(0, 5, (64, 64)).astype(np.uint8)
    assert encode(labels_HW) == encode(labels_HW.copy())


def test_the_small_profile_is_never_larger_on_a_scene(scenes) -> None:
    labels_HW = scenes.discs(256, 256)
    fast, small = encode(labels_HW, "fast"), encode(labels_HW, "small")
    assert len(small) < len(fast) < labels_HW.nbytes / 15


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_flipped_bit_is_detected(dtype: type) -> None:
    data = bytearray(encode(np.eye(9, dtype=dtype)))
    for position in range(len(data) * 8):
        data[position // 8] ^= 1 << position % 8
        with pytest.raises(CorruptMask):
            decode(bytes(data))
        data[position // 8] ^= 1 << position % 8
    np.testing.assert_array_equal(decode(bytes(data)), np.eye(9, dtype=dtype))


def test_every_truncation_and_every_extra_byte_is_detected() -> None:
    data = encode(np.eye(9, dtype=np.uint8))
    for cut in range(len(data)):
        with pytest.raises(CorruptMask):
            decode(data[:cut])
    with pytest.raises(CorruptMask):
        decode(data + b"\0")


def forged(height: int, width: int, frame: bytes, *, itemsize: int = 1, predictor: int = 1) -> bytes:
    """Bytes with a right checksum around whatever an attacker likes."""
    header = codec.HEADER.pack(codec.MAGIC, codec.VERSION, 0, itemsize, predictor, height, width)
    return header + codec.CHECKSUM.pack(zlib.crc32(frame, zlib.crc32(header))) + frame


@given(
    height=st.integers(0, 2**32 - 1),
    width=st.integers(0, 2**32 - 1),
    itemsize=st.integers(0, 255),
    predictor=st.integers(0, 255),
    frame=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(zstandard.compress)),
)
@settings(deadline=None, max_examples=150)
def test_forged_headers_end_in_a_label_map_or_corrupt_mask(
    height: int, width: int, itemsize: int, predictor: int, frame: bytes
) -> None:
    try:
        decoded_HW = decode(forged(height, width, frame, itemsize=itemsize, predictor=predictor))
    except CorruptMask:
        return
    assert decoded_HW.shape == (height, width)


@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", b"TZLM", b"TZLM\x01\x00\x01\x01"]))
@settings(deadline=None, max_examples=150)
def test_any_bytes_end_in_corrupt_mask(data: bytes, prefix: bytes) -> None:
    with pytest.raises(CorruptMask):
        decode(prefix + data)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.compress(bytes(2**24))
    with pytest.raises(CorruptMask, match="4096 x 4096 pixels: 1 to 65536"):
        decode(forged(4096, 4096, bomb), max_pixels=65536)
    # A small header before a large frame: the frame's own stated size must not be believed.
    with pytest.raises(CorruptMask, match="states 16777216 bytes"):
        decode(forged(16, 16, bomb), max_pixels=65536)


def test_a_frame_that_does_not_state_its_size_is_refused() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(CorruptMask):
        decode(forged(16, 16, compressor.compress(bytes(256))))


def test_a_newer_version_is_named_in_the_error() -> None:
    data = bytearray(encode(np.eye(3, dtype=np.uint8)))
    struct.pack_into("<B", data, 4, 9)
    with pytest.raises(CorruptMask, match="version 9"):
        decode(bytes(data))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 3), np.int32),
        np.zeros((3, 3), np.bool_),
        np.zeros((3, 3, 3), np.uint8),
        np.zeros((0, 3), np.uint8),
        np.zeros((3, 3), ">u2"),
    ],
)
def test_what_is_no_label_map_is_refused(array: np.ndarray) -> None:
    with pytest.raises(UnsupportedMask):
        encode(array)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UnsupportedMask, match="'tiny'"):
        encode(np.eye(3, dtype=np.uint8), "tiny")  # type: ignore[arg-type]


def test_the_bytes_of_a_released_version_decode_for_ever() -> None:
    written_by_version_1 = {
        np.uint8: "545a4c4d0100010103000000040000002fa1b7ff28b52ffd200c610000000000000064646464006464",
        np.uint16: "545a4c4d01000201030000000400000001134eee28b52ffd2018c1000000000000002c2c2c2c002c"
        "2c000000000001010101000101",
    }
    for dtype, hex_bytes in written_by_version_1.items():
        expected_HW = (np.arange(12, dtype=dtype).reshape(3, 4) // 5) * dtype(100 if dtype is np.uint8 else 300)
        np.testing.assert_array_equal(decode(bytes.fromhex(hex_bytes)), expected_HW)
