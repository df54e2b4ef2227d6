"""PNG as we read and write it ourselves: Pillow and OpenCV are the independent readers and writers."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from terrazzo_masks.errors import CorruptMask, MaskError
from terrazzo_masks.formats import read_label_image, to_png
from terrazzo_masks.formats.label_files import DECODER_ERRORS, picture_png, rgb_png
from terrazzo_masks.formats.png import PNG_MAGIC, plain_png_labels
from terrazzo_masks.kernels import png as kernels
from terrazzo_masks.labels import LabelMap

MAX_PIXELS = 2**20
GRAY, PALETTE = 0, 3
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def header(height: int, width: int, depth: int = 8, kind: int = GRAY, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))


def file_of(head: bytes, packed: bytes, before: bytes = b"", behind: bytes = b"", split: int = 2**20) -> bytes:
    """A PNG with its image data in chunks of `split` bytes and other chunks around them."""
    data = b"".join(chunk(b"IDAT", packed[at : at + split]) for at in range(0, len(packed), split))
    return PNG_MAGIC + head + before + data + behind + chunk(b"IEND", b"")


def sample_rows(labels_HW: LabelMap, depth: int) -> np.ndarray:
    """The rows of bytes that PNG packs `depth` bits a sample into."""
    if depth == 16:
        return labels_HW.astype(">u2").view(np.uint8).reshape(len(labels_HW), -1)
    bits_HWD = np.unpackbits(labels_HW[..., None].astype(np.uint8), axis=2)[:, :, 8 - depth :]
    return np.packbits(bits_HWD.reshape(len(labels_HW), -1), axis=1)


def filtered(rows_HB: np.ndarray, kinds_H: np.ndarray, pixel_bytes: int) -> bytes:
    """Rows filtered as the specification words it, each by the type that it is given."""
    padded = np.pad(rows_HB.astype(np.int64), ((1, 0), (pixel_bytes, 0)))
    a, b, c = padded[1:, :-pixel_bytes], padded[:-1, pixel_bytes:], padded[:-1, :-pixel_bytes]
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    predicted_F = np.stack([0 * a, a, b, (a + b) // 2, paeth])
    residual_HB = rows_HB - predicted_F[kinds_H, np.arange(len(kinds_H))]
    return np.column_stack([kinds_H, residual_HB % 256]).astype(np.uint8).tobytes()


def some_labels(rng: np.random.Generator, depth: int) -> LabelMap:
    """A map of 1 to 40 pixels a side: noise, blocks, or blocks with single pixels of another class."""
    height, width = rng.integers(1, 41, 2)
    top = int(rng.integers(1, 2**depth))
    labels_HW = rng.integers(0, top + 1, (height, width)).astype(np.uint16)
    style = rng.integers(3)
    if style > 0:
        labels_HW = np.kron(labels_HW, np.ones((4, 11), np.uint16))[:height, :width]
    if style > 1:
        labels_HW[rng.random(labels_HW.shape) < 0.03] = top
    return labels_HW.astype(np.uint16 if depth == 16 else np.uint8)


def some_png(rng: np.random.Generator) -> tuple[bytes, LabelMap]:
    """A sound file of any plain kind: depth, palette, filters, compression, chunks."""
    depth, kind = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 3), (2, 3), (4, 3), (8, 3)][rng.integers(9)]
    labels_HW = some_labels(rng, depth)
    kinds_H = (
        rng.integers(0, 5, len(labels_HW)) if rng.random() < 0.5 else np.full(len(labels_HW), rng.integers(5))
    )
    raw = filtered(sample_rows(labels_HW, depth), kinds_H, 2 if depth == 16 else 1)
    packer = zlib.compressobj(
        int(rng.integers(0, 10)), zlib.DEFLATED, int(rng.integers(9, 16)), 8, int(rng.integers(5))
    )
    before = chunk(b"PLTE", bytes(rng.integers(0, 256, 3 * 2**depth, np.uint8))) if kind == PALETTE else b""
    before += chunk(b"tEXt", b"Software\0a tool") * int(rng.integers(2))
    before += chunk(b"tRNS", b"\0" if kind == PALETTE else b"\0\1") * int(rng.integers(2))
    split = int(rng.integers(1, 50)) if rng.random() < 0.3 else 2**20
    head = header(*labels_HW.shape, depth, kind)
    return file_of(head, packer.compress(raw) + packer.flush(), before, chunk(b"tIME", bytes(7)), split), labels_HW


def pillow_labels(data: bytes) -> np.ndarray:
    """What Pillow reads: the sample values, which it stretches for gray of 2 and 4 bits."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    image.load()
    return np.asarray(image) // ({2: 85, 4: 17}.get(data[24], 1) if data[25] == GRAY else 1)


def test_every_plain_file_is_read_as_pillow_reads_it() -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(2_500):
        data, labels_HW = some_png(rng)
        mine_HW = plain_png_labels(data)
        assert mine_HW is not None
        assert mine_HW.dtype == labels_HW.dtype
        assert mine_HW.flags.writeable
        np.testing.assert_array_equal(mine_HW, labels_HW)
        np.testing.assert_array_equal(mine_HW, pillow_labels(data))
        seen.add((data[24], data[25]))
    assert len(seen) == 9


def test_files_of_pillow_and_opencv_are_plain() -> None:
    rng = np.random.default_rng(6)
    labels_HW = np.kron(rng.integers(0, 16, (33, 27)), np.ones((8, 10))).astype(np.uint8)[:259, :257]
    labels_HW[rng.random(labels_HW.shape) < 0.01] = 3
    indexed = Image.frombytes("P", (257, 259), labels_HW.tobytes())
    indexed.putpalette([level for i in range(16) for level in (i, 0, 255 - i)])
    files = [cv2.imencode(".png", array)[1].tobytes() for array in (labels_HW, labels_HW.astype(np.uint16) * 300)]
    for image in (Image.fromarray(labels_HW), Image.fromarray(labels_HW.astype(np.uint16)), indexed):
        for options in (*({"compress_level": level} for level in range(10)), {"optimize": True}, {"bits": 8}):
            out = io.BytesIO()
            image.save(out, "PNG", **options)
            files.append(out.getvalue())
    for data in files:
        mine_HW = plain_png_labels(data)
        assert mine_HW is not None
        np.testing.assert_array_equal(
            mine_HW, labels_HW.astype(np.uint16) * 300 if data == files[1] else labels_HW
        )


def read_both(data: bytes) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Our map and Pillow's, None for refused; Pillow is not asked about a size or kind that is refused unseen."""
    try:
        mine_HW = read_label_image(data, max_pixels=MAX_PIXELS)
    except MaskError as error:
        unseen = ("pixels: 1 to", "no header", "a label map is", "more image data")
        if any(text in str(error) for text in unseen):
            return None, None
        mine_HW = None
    try:
        return mine_HW, pillow_labels(data)
    except DECODER_ERRORS:
        return mine_HW, None


def require_same(data: bytes) -> bool:
    mine_HW, other_HW = read_both(data)
    assert (mine_HW is None) == (other_HW is None), data
    if mine_HW is not None:
        np.testing.assert_array_equal(mine_HW, other_HW)
    return mine_HW is not None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_are_read_as_pillow_reads_them_or_refused() -> None:
    rng = np.random.default_rng(7)
    num_read = 0
    for _ in range(2_000):
        damaged = bytearray(some_png(rng)[0])
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(8, len(damaged))] = rng.integers(256)
        if rng.random() < 0.2:
            del damaged[rng.integers(8, len(damaged)) :]
        num_read += require_same(bytes(damaged))
    assert 100 < num_read < 1_900


def test_damage_under_right_checksums_is_read_as_pillow_reads_it_or_refused() -> None:
    rng = np.random.default_rng(8)
    num_read = 0
    for _ in range(2_000):
        labels_HW = some_labels(rng, 8)
        raw = bytearray(filtered(labels_HW, rng.integers(0, 5, len(labels_HW)), 1))
        raw[rng.integers(len(raw))] = rng.integers(256)
        packed = bytearray(zlib.compress(raw))
        if rng.random() < 0.5:
            packed[rng.integers(len(packed))] ^= 1 << rng.integers(8)
        num_read += require_same(file_of(header(*labels_HW.shape), bytes(packed)))
    assert 100 < num_read < 1_900


LABELS_HW = (np.arange(9 * 13).reshape(9, 13) % 5).astype(np.uint8)
RAW = filtered(LABELS_HW, np.arange(9) % 5, 1)
PACKED = zlib.compress(RAW)
HEAD = header(9, 13)
SOUND = file_of(HEAD, PACKED)


def interlaced() -> bytes:
    passes = [LABELS_HW[y::dy, x::dx] for y, x, dy, dx in ADAM7]
    raw = b"".join(filtered(part, np.zeros(len(part), np.int64), 1) for part in passes if part.size)
    return file_of(header(9, 13, interlaced=1), zlib.compress(raw))


@pytest.mark.parametrize(
    "data",
    [
        interlaced(),
        file_of(header(9, 13, kind=PALETTE), PACKED),
        file_of(HEAD, PACKED, chunk(b"PLTE", bytes(6))),
        file_of(HEAD, PACKED, chunk(b"acTL", struct.pack(">II", 1, 0))),
        file_of(HEAD, PACKED, chunk(b"ABCD", b"unknown and critical")),
        file_of(HEAD, PACKED, chunk(b"zTXt", b"key\0\0" + zlib.compress(b"text"))),
        file_of(HEAD, PACKED, behind=chunk(b"tEXt", b"a\0b", crc=1)),
        file_of(HEAD, PACKED + b"behind the stream"),
        file_of(HEAD, PACKED[:-4]),
        SOUND[:-12],
        SOUND[: -12 - 4] + b"crc!" + SOUND[-12:],
    ],
    ids=[
        "interlaced",
        "no-palette",
        "palette-of-gray",
        "animated",
        "unknown-chunk",
        "packed-text",
        "text-crc-behind-the-image",
        "bytes-behind-the-stream",
        "no-stream-checksum",
        "no-end",
        "image-crc-but-right-checksum",
    ],
)
def test_what_is_not_plain_or_sound_is_left_to_pillow_which_reads_it(data: bytes) -> None:
    assert plain_png_labels(data) is None
    np.testing.assert_array_equal(read_label_image(data), LABELS_HW)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file_of(HEAD, zlib.compress(RAW + b"\0")), "more image data than the 126 bytes"),
        (file_of(HEAD, zlib.compress(RAW * 2)), "more image data than the 126 bytes"),
        (file_of(HEAD, zlib.compress(RAW[:-1])), "truncated"),
        (file_of(HEAD, PACKED[: len(PACKED) // 2]), "truncated"),
        (SOUND[: len(SOUND) // 2], "truncated"),
        (file_of(HEAD, PACKED[:-1] + bytes([PACKED[-1] ^ 1])), "broken data stream"),
        (file_of(HEAD, zlib.compress(b"\5" + RAW[1:])), "unrecognized data stream"),
        (file_of(HEAD, zlib.compress(RAW[: 8 * 14] + b"\xff" + RAW[8 * 14 + 1 :])), "unrecognized data stream"),
        (file_of(HEAD, PACKED, chunk(b"tEXt", b"a\0b", crc=1)), "checksum"),
        (file_of(HEAD, PACKED, chunk(b"pHYs", bytes(8))), "pHYs"),
        (PNG_MAGIC + chunk(b"IHDR", HEAD[8:19]) + SOUND[33:], "damaged"),
    ],
)
def test_damage_is_refused_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(CorruptMask, match=message):
        read_label_image(data)


def test_no_more_is_unpacked_or_allocated_than_the_size_says() -> None:
    bomb = file_of(HEAD, zlib.compress(bytes(2**26), 9))
    hollow = file_of(header(2**14, 2**14), zlib.compress(bytes(2**10)))
    for data in (bomb, hollow):
        tracemalloc.start()
        try:
            if data is bomb:
                with pytest.raises(CorruptMask, match="more image data"):
                    read_label_image(data)
            else:
                assert plain_png_labels(data) is None
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_of_any_layout_are_written_for_any_reader(dtype: type) -> None:
    rng = np.random.default_rng(9)
    whole_HW = rng.integers(0, np.iinfo(dtype).max + 1, (70, 90)).astype(dtype)
    frozen_HW = whole_HW.copy()
    frozen_HW.flags.writeable = False
    layouts = (whole_HW, frozen_HW, whole_HW[::-1, ::2], whole_HW.T, np.asfortranarray(whole_HW), whole_HW[:1, :1])
    for labels_HW in layouts:
        data = to_png(labels_HW)
        np.testing.assert_array_equal(pillow_labels(data), labels_HW)
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), labels_HW)
        np.testing.assert_array_equal(plain_png_labels(data), labels_HW)


def test_pictures_are_written_for_any_reader() -> None:
    colors_HWC = np.random.default_rng(10).integers(0, 256, (31, 45, 3), np.uint8)
    for data in (rgb_png(colors_HWC), picture_png(colors_HWC, "one"), rgb_png(colors_HWC[::-1][::-1])):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), colors_HWC)
    assert picture_png(colors_HWC, "one") != picture_png(colors_HWC, "two")
    deep_HW = colors_HWC[..., 0].astype(np.uint16) * 257
    image = Image.open(io.BytesIO(picture_png(deep_HW, "wörd")))
    np.testing.assert_array_equal(np.asarray(image), deep_HW)
    assert image.text["Comment"] == "wörd"


def test_a_large_map_is_written_a_band_at_a_time_and_as_small_as_pillow_s() -> None:
    labels_HW = np.kron(np.random.default_rng(11).integers(0, 30, (64, 50)), np.ones((64, 77))).astype(np.uint8)
    to_png(labels_HW[:2])
    tracemalloc.start()
    try:
        data = to_png(labels_HW)
        assert tracemalloc.get_traced_memory()[1] < 2**21 < labels_HW.nbytes // 7
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read_label_image(data), labels_HW)
    np.testing.assert_array_equal(pillow_labels(data), labels_HW)
    out = io.BytesIO()
    Image.fromarray(labels_HW).save(out, "PNG")
    assert len(data) < 1.1 * len(out.getvalue())


def test_no_map_or_file_makes_a_kernel_compile_after_warming() -> None:
    kernels.warm()
    compiled = {name: len(getattr(kernels, name).signatures) for name in ("unfilter", "split_bytes", "filter_up")}
    assert min(compiled.values()) > 0
    frozen_HW = np.frombuffer(bytes(range(240)), np.uint8).reshape(12, 20)
    for labels_HW in (frozen_HW, frozen_HW.copy(), frozen_HW[:, ::3], frozen_HW[:1], frozen_HW.astype(np.uint16)):
        read_label_image(to_png(labels_HW))
    rng = np.random.default_rng(12)
    for _ in range(40):
        read_label_image(some_png(rng)[0])
    assert compiled == {name: len(getattr(kernels, name).signatures) for name in compiled}
