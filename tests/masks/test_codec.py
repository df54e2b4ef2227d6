"""The codec: lossless, self-describing, and calm about every kind of bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks import codec
from terrazzo_masks.codec import PROFILES, Profile, decode, decode_patch, encode, encode_patch, profile_of, v1
from terrazzo_masks.errors import CorruptMask, ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap

GOLDEN = Path(__file__).parent / "golden"
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


@given(labels_HW=LABEL_MAPS, seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1), wide_base=st.booleans())
@settings(deadline=None, max_examples=80)
def test_a_patch_gives_the_map_back_on_its_base(
    labels_HW: LabelMap, seed: int, share: float, wide_base: bool
) -> None:
    rng = np.random.default_rng(seed)
    other_HW = rng.integers(0, 256, labels_HW.shape)
    base_HW = np.where(rng.random(labels_HW.shape) < share, other_HW, labels_HW).astype(labels_HW.dtype)
    if wide_base:
        base_HW = base_HW.astype(np.uint16)
    data = encode_patch(labels_HW, base_HW)
    decoded_HW = decode_patch(data, base_HW)
    assert decoded_HW.dtype == labels_HW.dtype
    np.testing.assert_array_equal(decoded_HW, labels_HW)
    assert profile_of(data) == "patch"


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


def test_a_map_wider_than_a_strip_takes_patches() -> None:
    base_HW = np.zeros((4, 140_000), np.uint8)
    labels_HW = base_HW.copy()
    labels_HW[1:3, 65_500:65_600] = 3
    data = encode_patch(labels_HW, base_HW)
    np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)
    assert len(data) < 80


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


def stroke(labels_HW: LabelMap, class_id: int) -> LabelMap:
    """A brush of radius 6 px drawn along a curve."""
    painted_HW = labels_HW.copy()
    y_HW, x_HW = np.mgrid[: labels_HW.shape[0], : labels_HW.shape[1]]
    for t in np.linspace(0, 1, 40):
        centre_y, centre_x = 60 + 90 * t, 50 + 120 * t + 15 * np.sin(5 * t)
        painted_HW[(y_HW - centre_y) ** 2 + (x_HW - centre_x) ** 2 < 36] = class_id
    return painted_HW


def test_a_brush_stroke_takes_a_few_bytes(scenes) -> None:
    base_HW = scenes.discs(256, 256)
    stroke_HW = stroke(base_HW, class_id=3)
    assert (stroke_HW != base_HW).sum() > 500
    assert len(encode_patch(stroke_HW, base_HW)) < 160
    assert len(encode_patch(base_HW, base_HW)) <= 32


def test_relabelling_a_region_hardly_costs_its_outline(scenes) -> None:
    base_HW = scenes.discs(256, 256)
    labels_HW = np.where(base_HW == 2, 9, base_HW).astype(np.uint8)
    assert (labels_HW != base_HW).sum() > 500
    assert len(encode_patch(labels_HW, base_HW)) < 0.45 * len(encode(labels_HW))


def test_another_base_is_found_out() -> None:
    base_HW = np.zeros((40, 40), np.uint8)
    labels_HW = base_HW.copy()
    labels_HW[5:9, 5:9] = 2
    data = encode_patch(labels_HW, base_HW)
    other_HW = base_HW.copy()
    other_HW[30, 30] = 1
    with pytest.raises(CorruptMask, match="wrong base"):
        decode_patch(data, other_HW)
    with pytest.raises(CorruptMask, match="does not fit a base"):
        decode_patch(data, base_HW[:39])
    with pytest.raises(CorruptMask, match="are a patch"):
        decode(data)
    with pytest.raises(ShapeMismatch):
        encode_patch(labels_HW, base_HW[:39])


def patch_by_the_model(labels_HW: LabelMap, base_HW: LabelMap) -> bytes:
    """As releases before the method `runs` wrote every patch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codec, "encode_runs", lambda *_: (None, 0))
        return encode_patch(labels_HW, base_HW)


@given(labels_HW=LABEL_MAPS, seed=st.integers(0, 2**32 - 1), num_boxes=st.integers(0, 4))
@settings(deadline=None, max_examples=80)
def test_patches_of_a_few_boxes_come_back_by_either_method(labels_HW: LabelMap, seed: int, num_boxes: int) -> None:
    rng = np.random.default_rng(seed)
    base_HW = labels_HW.copy()
    for _ in range(num_boxes):
        y, x = rng.integers(0, labels_HW.shape[0]), rng.integers(0, labels_HW.shape[1])
        value = int(rng.integers(0, np.iinfo(labels_HW.dtype).max + 1))
        base_HW[y : y + rng.integers(1, 6), x : x + rng.integers(1, 30)] = value
    for data in (encode_patch(labels_HW, base_HW), patch_by_the_model(labels_HW, base_HW)):
        np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)


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


def test_a_patch_says_where_it_applies_and_no_more() -> None:
    base_HW = np.zeros((40, 50), np.uint8)
    for box in (
        b"\x00\x00\x00\x01",
        b"\x27\x00\x02\x01",
        b"\x00\x32\x01\x01",
        b"\x00\xff\xff\xff\xff\xff",
        b"\x00",
    ):
        payload = b"\x01\x00" + box
        with pytest.raises(CorruptMask):
            decode_patch(forged(40, 50, payload, method=codec.PATCH, pixel_sum=1), base_HW)
    with pytest.raises(CorruptMask, match="left over"):
        decode_patch(forged(40, 50, bytes(7), method=codec.PATCH), base_HW)


def test_a_stroke_is_runs_and_what_they_do_not_tell_shortly_is_left_to_the_model() -> None:
    base_HW = np.zeros((300, 300), np.uint16)
    labels_HW = base_HW.copy()
    labels_HW[100:130, 40:60] = 700
    assert encode_patch(labels_HW, base_HW)[7] == codec.RUNS
    labels_HW[100:200, 40:60] = 700
    data = encode_patch(labels_HW, base_HW)
    assert data[7] == codec.PATCH
    np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)
    # A run reaches over pixels that had its value before, and one byte tells of a row of it.
    base_HW[110:120, 50:55] = 700
    labels_HW = base_HW.copy()
    labels_HW[100:130, 40:60] = 700
    data = encode_patch(labels_HW, base_HW)
    assert len(data) <= codec.HEADER_BYTES + 5 + 5 + 29
    np.testing.assert_array_equal(decode_patch(data, base_HW), labels_HW)


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
    "bytes left over": b"\x00\x00\x01\x04\x00\x01\x00\x00\x07\x00",
}


@pytest.mark.parametrize("what", RUNS_OF_4_BY_9)
def test_runs_that_do_not_fit_are_refused(what: str) -> None:
    base_HW = np.zeros((4, 9), np.uint8)
    with pytest.raises(CorruptMask, match="are no runs in a map"):
        decode_patch(forged(4, 9, RUNS_OF_4_BY_9[what], method=codec.RUNS), base_HW)


def test_runs_are_of_version_3_alone() -> None:
    base_HW = np.zeros((40, 50), np.uint8)
    with pytest.raises(CorruptMask, match="impossible header"):
        decode_patch(forged(40, 50, bytes(4), method=codec.RUNS, version=2), base_HW)


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
