"""Label maps in files: what is taken, what is refused, and that no bytes crash the reader."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats import read_label_image, to_npy, to_png
from terrazzo_masks.labels import LabelMap

# Pillow warns about damaged TIFF tags before it fails or copes.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
LABEL_MAPS = st.one_of(hnp.arrays(np.uint8, SHAPES), hnp.arrays(np.uint16, SHAPES))
PALETTE = {1: (10, 20, 30), 7: (200, 100, 0), 255: (1, 2, 3), 300: (9, 9, 9)}
MAP_HW = (np.arange(35 * 21).reshape(35, 21) % 16).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


@given(labels_HW=LABEL_MAPS, palette=st.sampled_from([None, PALETTE]))
@settings(deadline=None, max_examples=60)
def test_a_png_is_read_back_identical(labels_HW: LabelMap, palette: dict | None) -> None:
    again_HW = read_label_image(to_png(labels_HW, palette))
    np.testing.assert_array_equal(again_HW, labels_HW)
    if palette is None:
        assert again_HW.dtype == labels_HW.dtype


@given(labels_HW=LABEL_MAPS)
@settings(deadline=None, max_examples=60)
def test_a_npy_is_read_back_identical(labels_HW: LabelMap) -> None:
    again_HW = read_label_image(to_npy(labels_HW))
    np.testing.assert_array_equal(again_HW, labels_HW)
    assert again_HW.dtype == labels_HW.dtype
    np.testing.assert_array_equal(np.load(io.BytesIO(to_npy(labels_HW)), allow_pickle=False), labels_HW)


def test_a_palette_png_carries_indices_and_colours() -> None:
    labels_HW = np.array([[0, 1, 7], [255, 9, 1]], np.uint16)
    image = Image.open(io.BytesIO(to_png(labels_HW, PALETTE)))
    assert image.mode == "P"
    colors = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colors[0], [(0, 0, 0), (10, 20, 30), (200, 100, 0)])
    np.testing.assert_array_equal(colors[1, 0], (1, 2, 3))
    deep = Image.open(io.BytesIO(to_png(labels_HW * 2, PALETTE)))
    assert deep.mode == "I;16"


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(MAP_HW), "PNG"),
        saved(Image.fromarray(MAP_HW.astype(np.uint16)), "PNG"),
        saved(Image.fromarray(MAP_HW), "TIFF"),
        saved(Image.fromarray(MAP_HW), "TIFF", compression="tiff_lzw"),
        saved(Image.fromarray(MAP_HW), "TIFF", compression="tiff_deflate"),
        saved(Image.fromarray(MAP_HW.astype(np.uint16)), "TIFF"),
        saved(Image.fromarray(MAP_HW.astype(">u2")), "TIFF"),
        to_npy(MAP_HW),
    ],
    ids=["png8", "png16", "tiff8", "tiff-lzw", "tiff-deflate", "tiff16", "tiff16-big-endian", "npy"],
)
def test_every_taken_kind_gives_the_same_pixels(data: bytes) -> None:
    labels_HW = read_label_image(data)
    np.testing.assert_array_equal(labels_HW, MAP_HW)
    assert labels_HW.dtype in (np.uint8, np.uint16)
    assert labels_HW.dtype.isnative


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_per_pixel_keep_their_sample_values(bits: int) -> None:
    labels_HW = MAP_HW % (1 << bits)
    indexed = Image.fromarray(labels_HW).convert("P")
    indexed = Image.frombytes("P", indexed.size, labels_HW.tobytes())
    indexed.putpalette([v for i in range(1 << bits) for v in (i, 0, 255 - i)])
    data = saved(indexed, "PNG", bits=bits)
    assert data[24] == bits
    np.testing.assert_array_equal(read_label_image(data), labels_HW)
    np.testing.assert_array_equal(read_label_image(gray_png(labels_HW, bits)), labels_HW)


def gray_png(labels_HW: np.ndarray, bits: int) -> bytes:
    """A grayscale PNG of 1, 2 or 4 bits, written out: Pillow writes none."""
    height, width = labels_HW.shape
    rows = b""
    for row in labels_HW:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    return png(struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0), zlib.compress(rows))


def png(header: bytes, pixels: bytes) -> bytes:
    parts = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
        parts += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return parts


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def test_a_npy_of_wide_integers_is_taken_when_its_values_fit() -> None:
    np.testing.assert_array_equal(read_label_image(npy(MAP_HW.astype(np.int64))), MAP_HW)
    assert read_label_image(npy(MAP_HW.astype(np.int64))).dtype == np.uint8
    assert read_label_image(npy(MAP_HW.astype(np.int32) + 300)).dtype == np.uint16
    np.testing.assert_array_equal(read_label_image(npy(np.asfortranarray(MAP_HW))), MAP_HW)
    np.testing.assert_array_equal(read_label_image(npy(MAP_HW.astype(">u2"))), MAP_HW)
    np.testing.assert_array_equal(read_label_image(npy(MAP_HW > 3)), MAP_HW > 3)
    with pytest.raises(UnsupportedMask, match=r"-1\.\.14"):
        read_label_image(npy(MAP_HW.astype(np.int64) - 1))
    with pytest.raises(UnsupportedMask, match="70015"):
        read_label_image(npy(MAP_HW.astype(np.int64) + 70000))


RGB = Image.fromarray(np.zeros((4, 5, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (saved(RGB, "PNG"), UnsupportedMask, "RGB: a label map is"),
        (saved(RGB.convert("RGBA"), "PNG"), UnsupportedMask, "RGBA"),
        (saved(RGB.convert("LA"), "PNG"), UnsupportedMask, "gray with alpha"),
        (saved(RGB, "TIFF"), UnsupportedMask, "pixels of kind RGB"),
        (saved(Image.fromarray(np.zeros((4, 5), np.float32)), "TIFF"), UnsupportedMask, "kind F"),
        (saved(RGB.convert("L"), "TIFF", tiffinfo={262: 0}), UnsupportedMask, "0 is white"),
        (
            saved(RGB.convert("L"), "TIFF", save_all=True, append_images=[RGB.convert("L")]),
            UnsupportedMask,
            "2 pages",
        ),
        (saved(RGB, "JPEG"), UnsupportedMask, "JPEG"),
        (saved(RGB, "GIF"), UnsupportedMask, "GIF"),
        (npy(np.zeros((4, 5, 3), np.uint8)), UnsupportedMask, r"\(4, 5, 3\)"),
        (npy(np.zeros((4, 5), np.float64)), UnsupportedMask, "not of integers"),
        (npy(np.array([[{}]], dtype=object)), UnsupportedMask, "not of integers"),
        (npy(np.zeros((4, 5), [("a", "u1")])), UnsupportedMask, "not of integers"),
        (npy(np.zeros((0, 5), np.uint8)), CorruptMask, "0 x 5"),
        (npy(MAP_HW)[:-1], CorruptMask, "734 bytes"),
        (npy(MAP_HW) + b"\0", CorruptMask, "736 bytes"),
        (b"\x93NUMPY\x04\x00" + npy(MAP_HW)[8:], CorruptMask, "unknown version"),
        (npy(MAP_HW).replace(b"(35, 21)", b"(35, -1)"), CorruptMask, "states the shape"),
        (npy(MAP_HW).replace(b"(35, 21)", b"[35, 21]"), CorruptMask, "states the shape"),
        (npy(MAP_HW).replace(b"'shape'", b"'shaqe'"), CorruptMask, "header is damaged"),
        (npy(MAP_HW).replace(b"{", b"("), CorruptMask, "header is damaged"),
        (b"", CorruptMask, "starts with b''"),
        (b"hello, I am a mask", CorruptMask, "hello, I"),
        (saved(RGB.convert("L"), "PNG")[:40], CorruptMask, "damaged"),
        (saved(RGB.convert("L"), "PNG")[:20], CorruptMask, "truncated"),
    ],
)
def test_what_cannot_be_a_label_map_is_refused_with_a_reason(
    data: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_label_image(data)


def test_bombs_are_refused_by_what_they_state() -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    with pytest.raises(CorruptMask, match="50000 x 50000"):
        read_label_image(png(header, zlib.compress(b"\0" * 1000)))
    tiff = saved(Image.fromarray(np.zeros((64, 64), np.uint8)), "TIFF", compression="tiff_deflate")
    with pytest.raises(CorruptMask, match="1 to 4095"):
        read_label_image(tiff, max_pixels=4095)
    stated = npy(MAP_HW).replace(b"(35, 21), }   ", b"(9999, 99999)}")
    with pytest.raises(CorruptMask, match="9999 x 99999"):
        read_label_image(stated)
    with pytest.raises(CorruptMask, match="735 bytes of pixels"):
        read_label_image(stated, max_pixels=2**40)
    with pytest.raises(CorruptMask, match="1 to 734"):
        read_label_image(npy(MAP_HW), max_pixels=734)


def test_the_limit_is_the_caller_s_and_not_the_decoder_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(to_png(MAP_HW)))
    np.testing.assert_array_equal(read_label_image(to_png(MAP_HW)), MAP_HW)


DAMAGED = [
    to_png(MAP_HW),
    to_png(MAP_HW, PALETTE),
    to_npy(MAP_HW),
    saved(Image.fromarray(MAP_HW), "TIFF", compression="tiff_lzw"),
    saved(Image.fromarray(MAP_HW.astype(np.uint16)), "TIFF"),
]


@given(data=st.data(), sound=st.sampled_from(DAMAGED))
@settings(deadline=None, max_examples=250)
def test_damaged_files_end_in_a_label_map_or_a_mask_error(data: st.DataObject, sound: bytes) -> None:
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(len(damaged) // 2, len(damaged))) :]
    try:
        labels_HW = read_label_image(bytes(damaged), max_pixels=2**20)
    except MaskError:
        return
    assert labels_HW.ndim == 2
    assert labels_HW.dtype in (np.uint8, np.uint16)


@given(
    magic=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"\x93NUMPY\x01\0"]),
    body=st.binary(max_size=300),
)
@settings(deadline=None, max_examples=200)
def test_junk_behind_a_magic_is_a_mask_error(magic: bytes, body: bytes) -> None:
    with pytest.raises(MaskError):
        read_label_image(magic + body, max_pixels=2**20)
