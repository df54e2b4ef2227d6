"""The codec: lossless, self-describing, and calm about every kind of bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.codec_material import LABEL_MAPS, forged, patch_by_the_model

from terrazzo_masks import codec
from terrazzo_masks.codec import PROFILES, Profile, decode, decode_patch, encode, encode_patch, profile_of, v1
from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.labels import LabelMap

GOLDEN = Path(__file__).parent / "golden"


@given(labels_HW=LABEL_MAPS, profile=st.sampled_from(PROFILES))
@settings(deadline=None, max_examples=120)
def test_what_was_encoded_comes_back_with_its_dtype(labels_HW: LabelMap, profile: Profile) -> None:
    data = encode(labels_HW, profile)
    decoded_HW = decode(data)
    assert decoded_HW.dtype == labels_HW.dtype
    np.testing.assert_array_equal(decoded_HW, labels_HW)
    assert decoded_HW.flags.writeable
    assert decoded_HW.flags.c_contiguous
    assert profile_of(data) == profile


def stripes(height: int, width: int) -> LabelMap:
    return (np.arange(width)[None, :] // 5 % 7 + np.zeros((height, 1), int)).astype(np.uint8)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("labels_HW", "bytes_max"),
    [
        (np.full((500, 700), 9, np.uint8), 60),
        (np.full((500, 700), 65535, np.uint16), 64),
        (stripes(300, 400), 200),
        (np.ascontiguousarray(stripes(300, 400).T), 500),
        (np.arange(70_000 * 3).reshape(3, 70_000).astype(np.uint16) // 500, 1_300),  # more than one strip wide
    ],
)
def test_plain_maps_cost_next_to_nothing(labels_HW: LabelMap, bytes_max: int, profile: Profile) -> None:
    data = encode(labels_HW, profile)
    np.testing.assert_array_equal(decode(data), labels_HW)
    assert len(data) <= bytes_max


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_grows_by_next_to_nothing(dtype: type, profile: Profile) -> None:
    noise_HW = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (211, 317)).astype(dtype)
    data = encode(noise_HW, profile)
    np.testing.assert_array_equal(decode(data), noise_HW)
    assert len(data) < noise_HW.nbytes * 1.001 + 64


@pytest.mark.parametrize("profile", PROFILES)
def test_every_one_of_65536_ids_survives(profile: Profile) -> None:
    ids_HW = np.random.default_rng(1).permutation(65536).astype(np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(decode(encode(ids_HW, profile)), ids_HW)
    blocks_HW = np.repeat(np.repeat(ids_HW[:60, :60], 6, axis=0), 6, axis=1)
    data = encode(blocks_HW, profile)
    np.testing.assert_array_equal(decode(data), blocks_HW)
    assert len(data) < 3600 * 6


def test_a_view_with_strides_is_encoded_like_its_copy() -> None:
    base_HW = np.arange(400, dtype=np.uint16).reshape(20, 20)
    view_HW = base_HW[::2, ::-3]
    frozen_HW = view_HW.copy()
    frozen_HW.flags.writeable = False
    assert encode(view_HW) == encode(view_HW.copy()) == encode(frozen_HW)


def test_small_is_smaller_than_fast_and_far_smaller_than_version_1(scenes) -> None:
    labels_HW = scenes.discs(512, 512)
    small, fast, before = encode(labels_HW), encode(labels_HW, "fast"), v1.encode(labels_HW, "small")
    assert len(small) < 0.65 * len(fast)
    assert len(small) < 0.4 * len(before)


ENCODERS: dict[str, Callable[[LabelMap], bytes]] = {
    "fast": lambda labels_HW: encode(labels_HW, "fast"),
    "small": encode,
    "runs": lambda labels_HW: encode_patch(labels_HW, np.zeros_like(labels_HW)),
    "patch": lambda labels_HW: patch_by_the_model(labels_HW, np.zeros_like(labels_HW)),
    "v1 fast": lambda labels_HW: v1.encode(labels_HW, "fast"),
    "v1 small": lambda labels_HW: v1.encode(labels_HW, "small"),
}


def decode_any(data: bytes, base_HW: LabelMap) -> LabelMap:
    return decode_patch(data, base_HW)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_flipped_bit_is_detected(dtype: type, name: str) -> None:
    eye_HW = np.eye(9, dtype=dtype)
    base_HW = np.zeros_like(eye_HW)
    data = bytearray(ENCODERS[name](eye_HW))
    for position in range(len(data) * 8):
        data[position // 8] ^= 1 << position % 8
        with pytest.raises(CorruptMask):
            decode_any(bytes(data), base_HW)
        data[position // 8] ^= 1 << position % 8
    np.testing.assert_array_equal(decode_any(bytes(data), base_HW), eye_HW)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_truncation_and_every_extra_byte_is_detected(name: str) -> None:
    base_HW = np.zeros((9, 9), np.uint8)
    data = ENCODERS[name](np.eye(9, dtype=np.uint8))
    for cut in range(len(data)):
        with pytest.raises(CorruptMask):
            decode_any(data[:cut], base_HW)
    with pytest.raises(CorruptMask):
        decode_any(data + b"\0", base_HW)


@given(
    height=st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
    width=st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
    itemsize=st.integers(0, 3),
    method=st.integers(0, 5),
    version=st.sampled_from([2, 3]),
    payload=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(zstandard.compress)),
)
@settings(deadline=None, max_examples=250)
def test_forged_headers_end_in_a_label_map_or_corrupt_mask(
    height: int, width: int, itemsize: int, method: int, version: int, payload: bytes
) -> None:
    data = forged(height, width, payload, itemsize=itemsize, method=method, version=version)
    base_HW = np.zeros((min(max(height, 1), 40), min(max(width, 1), 40)), np.uint8)
    for read in (lambda: decode(data, max_pixels=10_000), lambda: decode_patch(data, base_HW, max_pixels=10_000)):
        try:
            decoded_HW = read()
        except CorruptMask:
            continue
        assert decoded_HW.shape == (height, width)


@given(
    data=st.binary(max_size=200),
    prefix=st.sampled_from([b"", b"TZLM", b"TZLM\x01\x00\x01\x01", b"TZLM\x02\x01", b"TZLM\x03\x01"]),
)
@settings(deadline=None, max_examples=150)
def test_any_bytes_end_in_corrupt_mask(data: bytes, prefix: bytes) -> None:
    with pytest.raises(CorruptMask):
        decode(prefix + data)
    with pytest.raises(CorruptMask):
        decode_patch(prefix + data, np.zeros((3, 3), np.uint8))


@pytest.mark.parametrize("method", [codec.STORED, codec.BORDERS])
def test_a_bomb_is_refused_before_it_is_unpacked(method: int) -> None:
    bomb = zstandard.compress(bytes(2**24))
    with pytest.raises(CorruptMask, match="4096 x 4096 pixels: 1 to 65536"):
        decode(forged(4096, 4096, bomb, method=method), max_pixels=65536)
    # A small header before a large frame: the frame's own stated size must not be believed.
    with pytest.raises(CorruptMask, match="states 16777216 bytes"):
        decode(forged(16, 16, bomb, method=method), max_pixels=65536)
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(256))
    with pytest.raises(CorruptMask):
        decode(forged(16, 16, silent, method=method))


def test_decisions_that_end_too_early_do_not_run_on() -> None:
    for payload in (b"", b"\xff" * 40, b"\x00" * 40, bytes(range(200))):
        for version in (2, 3):
            with pytest.raises(CorruptMask):
                decode(forged(2000, 2000, payload, pixel_sum=1, version=version))


def test_rooms_kept_between_calls_do_not_leak_from_map_to_map() -> None:
    rng = np.random.default_rng(4)
    maps: list[LabelMap] = [
        rng.integers(0, 5, shape).astype(dtype)
        for dtype in (np.uint8, np.uint16)
        for shape in ((300, 260), (3, 5), (64, 64), (90, 30))
    ]
    alone = [(encode(m), encode(m, "fast"), encode_patch(m, np.zeros_like(m))) for m in maps]
    for labels_HW, before in reversed(list(zip(maps, alone, strict=True))):
        assert (
            encode(labels_HW),
            encode(labels_HW, "fast"),
            encode_patch(labels_HW, np.zeros_like(labels_HW)),
        ) == before
        for data in before:
            np.testing.assert_array_equal(decode_patch(data, np.zeros_like(labels_HW)), labels_HW)


def test_threads_code_side_by_side(scenes) -> None:
    maps = [scenes.discs(120, 120, num_classes=n) for n in range(2, 10)]
    expected = [(encode(m), encode(m, "fast")) for m in maps]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(lambda m: (encode(m), encode(m, "fast")), maps)) == expected
            found = list(pool.map(decode, [data for pair in expected for data in pair]))
            for labels_HW, decoded_HW in zip([m for m in maps for _ in range(2)], found, strict=True):
                np.testing.assert_array_equal(decoded_HW, labels_HW)


def test_a_newer_version_is_named_in_the_error() -> None:
    data = bytearray(encode(np.eye(3, dtype=np.uint8)))
    struct.pack_into("<B", data, 4, 9)
    with pytest.raises(CorruptMask, match="version 9"):
        decode(bytes(data))
    with pytest.raises(CorruptMask, match="version 9"):
        profile_of(bytes(data))


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
    with pytest.raises(UnsupportedMask):
        encode_patch(np.zeros((3, 3), np.uint8), array)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UnsupportedMask, match="'tiny'"):
        encode(np.eye(3, dtype=np.uint8), "tiny")  # type: ignore[arg-type]


def golden_maps() -> list[str]:
    return sorted(path.stem for path in GOLDEN.glob("*.npy") if not path.stem.endswith(".base"))


@pytest.mark.parametrize("name", golden_maps())
def test_golden_bytes_of_every_version_decode_for_ever(name: str) -> None:
    expected_HW = np.load(GOLDEN / f"{name}.npy")
    files = sorted(GOLDEN.glob(f"{name}.v*.tzlm"))
    assert len(files) >= 2
    newer = name == "dense" or name.startswith("strokes")
    assert {path.name.split(".")[1] for path in files} == ({"v3"} if newer else {"v1", "v2", "v3"})
    for path in files:
        data = path.read_bytes()
        patch = profile_of(data) == "patch"
        decoded_HW = decode_patch(data, np.load(GOLDEN / f"{name}.base.npy")) if patch else decode(data)
        assert decoded_HW.dtype == expected_HW.dtype
        np.testing.assert_array_equal(decoded_HW, expected_HW, path.name)
        packed = "runs" if data[7] == codec.RUNS else profile_of(data)
        assert path.name == f"{name}.v{data[4]}.{packed}.tzlm"


@pytest.mark.parametrize("name", golden_maps())
def test_the_model_writes_the_golden_bytes_again(name: str) -> None:
    """`small` and patches are the format's own: the same pixels have the same bytes in every release."""
    labels_HW = np.load(GOLDEN / f"{name}.npy")
    assert encode(labels_HW, "small") == (GOLDEN / f"{name}.v3.small.tzlm").read_bytes()
    if (GOLDEN / f"{name}.base.npy").exists():
        base_HW = np.load(GOLDEN / f"{name}.base.npy")
        data = encode_patch(labels_HW, base_HW)
        packed = "runs" if data[7] == codec.RUNS else "patch"
        assert data == (GOLDEN / f"{name}.v3.{packed}.tzlm").read_bytes()
