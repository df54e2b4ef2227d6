"""Index PNGs from the codec's bytes: the pixels that decoding gives, read by Pillow; damage is refused."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from terrazzo_masks import codec
from terrazzo_masks.codec.borders import pack, unpack
from terrazzo_masks.errors import CorruptMask
from terrazzo_masks.formats import encoded_to_png, read_label_image, to_png
from terrazzo_masks.kernels import deflate
from terrazzo_masks.labels import LabelMap

from ..codec_material import LABEL_MAPS, forged

GOLDEN = Path(__file__).parents[1] / "golden"


def by_pillow(png: bytes) -> NDArray[np.uint8]:
    """Pillow checks the CRC of each chunk, and zlib the checksum of the image data."""
    image = Image.open(io.BytesIO(png))
    image.load()
    return np.asarray(image)


def blobby(height: int, width: int, seed: int = 0, num_classes: int = 7) -> LabelMap:
    """Rectangles on one another."""
    rng = np.random.default_rng(seed)
    labels_HW: LabelMap = np.zeros((height, width), np.uint8)
    for _ in range(12):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        tall, wide = (int(side) for side in rng.integers(1, (height + 1, width + 1)))
        labels_HW[y : y + tall, x : x + wide] = rng.integers(num_classes)
    return labels_HW


@given(labels_HW=LABEL_MAPS, profile=st.sampled_from(codec.PROFILES))
@settings(max_examples=300, deadline=None)
def test_a_file_has_the_pixels_of_the_map(labels_HW: LabelMap, profile: codec.Profile) -> None:
    png = encoded_to_png(codec.encode(labels_HW, profile))
    np.testing.assert_array_equal(read_label_image(png), labels_HW)
    np.testing.assert_array_equal(by_pillow(png), labels_HW)


@pytest.mark.parametrize("width", [*range(1, 10), *range(255, 265), *range(513, 523), 774, 775, 65536])
def test_runs_of_every_length_come_out(width: int) -> None:
    """A copy in deflate has 3 to 258 bytes: runs near multiples of that, and a byte of the filter between them."""
    for class_id in (0, 1, 2, 255):
        labels_HW = np.full((3, width), class_id, np.uint8)
        labels_HW[1, width // 2 :] = 9
        png = encoded_to_png(codec.encode(labels_HW, "fast"), labels_HW.shape)
        np.testing.assert_array_equal(by_pillow(png), labels_HW)


@pytest.mark.parametrize("shape_HW", [(1, 1), (256, 256), (31, 500), (768, 1024), (5000, 3), (2, 65537)])
def test_maps_of_many_shapes_come_out_no_larger_than_the_other_writer_makes_them(
    shape_HW: tuple[int, int],
) -> None:
    for seed in range(4):
        labels_HW = blobby(*shape_HW, seed)
        png = encoded_to_png(codec.encode(labels_HW, "fast"), shape_HW)
        np.testing.assert_array_equal(by_pillow(png), labels_HW)
        assert len(png) <= 1.1 * len(to_png(labels_HW)) + 60


def test_a_map_of_more_symbols_than_one_block_takes_is_written_in_several() -> None:
    # A new border every 8 columns, each row moved by one: few tokens a row, and a symbol for each pixel or two.
    rows, cols = np.mgrid[:1600, :1600]
    labels_HW: LabelMap = ((cols + rows) // 8 * 37 % 251).astype(np.uint8)
    data = codec.encode(labels_HW, "fast")
    assert codec.border_tokens(data) is not None
    np.testing.assert_array_equal(by_pillow(encoded_to_png(data, labels_HW.shape)), labels_HW)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.fast.tzlm")), ids=lambda path: path.stem)
def test_files_of_every_release_are_read(path: Path) -> None:
    labels_HW = np.load(path.with_name(f"{path.name.partition('.')[0]}.npy"))
    np.testing.assert_array_equal(read_label_image(encoded_to_png(path.read_bytes(), labels_HW.shape)), labels_HW)


def test_a_map_of_another_shape_and_a_patch_are_refused() -> None:
    labels_HW = blobby(20, 30)
    for profile in codec.PROFILES:
        with pytest.raises(CorruptMask, match=r"\(20, 30\) where one of \(30, 20\)"):
            encoded_to_png(codec.encode(labels_HW, profile), (30, 20))
    with pytest.raises(CorruptMask, match="patch"):
        encoded_to_png(codec.encode_patch(labels_HW, labels_HW), (20, 30))
    with pytest.raises(CorruptMask, match="are allowed"):
        encoded_to_png(codec.encode(labels_HW, "fast"), (20, 30), max_pixels=599)


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_tokens_are_refused_where_the_decoder_refuses_them(data: st.DataObject) -> None:
    """Tokens changed at will, under a right CRC: both readers see the same, or both raise CorruptMask."""
    labels_HW = blobby(12, 40, data.draw(st.integers(0, 30)))
    encoded = codec.encode(labels_HW, "fast")
    header = codec._read_header(encoded, 2**31)
    content = bytearray(unpack(encoded[codec.HEADER_BYTES :], 10_000))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(8, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255) | st.integers(0, 4))
    if data.draw(st.integers(0, 9)) == 0:
        num_tokens = int.from_bytes(content[:4], "little")
        moved = data.draw(st.integers(0, len(content) - 8))
        content[:8] = moved.to_bytes(4, "little") + (len(content) - 8 - moved).to_bytes(4, "little")
        assert num_tokens <= len(content)
    wrong = forged(12, 40, pack(bytes(content)), method=codec.BORDERS, pixel_sum=header.pixel_sum)
    try:
        decoded_HW = codec.decode(wrong)
    except CorruptMask:
        with pytest.raises(CorruptMask):
            encoded_to_png(wrong, (12, 40))
        return
    np.testing.assert_array_equal(by_pillow(encoded_to_png(wrong, (12, 40))), decoded_HW)


def test_other_pixels_than_the_checksum_says_are_refused() -> None:
    labels_HW = blobby(12, 40)
    payload = codec.encode(labels_HW, "fast")[codec.HEADER_BYTES :]
    wrong = forged(12, 40, payload, method=codec.BORDERS, pixel_sum=1)
    with pytest.raises(CorruptMask, match="checksum"):
        encoded_to_png(wrong, (12, 40))


def inflated(symbols: list[int]) -> bytes:
    """What zlib reads of a block of these symbols."""
    count_5S = np.zeros((5, deflate.NUM_SYMBOLS), np.int64)
    np.add.at(count_5S[0], symbols, 1)
    out_W = np.zeros(len(symbols) * deflate.SYMBOL_BYTES // 4 + deflate.HEAD_WORDS, np.uint32)
    stream = np.zeros(3, np.int64)
    deflate.put_block(np.array(symbols, np.uint16), len(symbols), 1, out_W, stream, count_5S)
    deflate.put(out_W, stream, 0, 31 & -int(stream[2]) % 32)
    reader = zlib.decompressobj(-15)
    data = reader.decompress(out_W.tobytes())
    assert reader.eof
    return data


def expanded(symbols: list[int]) -> bytes:
    out = bytearray()
    for symbol in symbols:
        out += bytes([symbol]) if symbol < deflate.COPY else out[-1:] * (symbol - deflate.COPY)
    return bytes(out)


COPIES = st.integers(deflate.COPY + deflate.COPY_MIN, deflate.COPY + deflate.COPY_MAX)


@given(symbols=st.lists(st.integers(0, 255) | st.sampled_from([0, 2]) | COPIES, max_size=300))
@settings(max_examples=300, deadline=None)
def test_a_block_of_any_symbols_is_read_by_zlib(symbols: list[int]) -> None:
    whole = [7, *symbols]
    assert inflated(whole) == expanded(whole)


def test_a_block_of_all_symbols_is_read_by_zlib() -> None:
    whole = [*range(256), *range(deflate.COPY + deflate.COPY_MIN, deflate.NUM_SYMBOLS)]
    assert inflated(whole) == expanded(whole)


@pytest.mark.parametrize("num_symbols", [15, 16, 17, 18, 20, 22, 23])
def test_codes_that_would_be_longer_than_15_bits_are_shortened(num_symbols: int) -> None:
    """Counts like Fibonacci's numbers make the deepest tree there is."""
    counts = [1, 1]
    while len(counts) < num_symbols:
        counts.append(counts[-1] + counts[-2])
    for spread in (1, 3):
        whole = [symbol for number, count in enumerate(counts) for symbol in [number * spread] * count]
        assert inflated(whole) == expanded(whole)
