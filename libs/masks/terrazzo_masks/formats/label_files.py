"""Label maps in the files that people have: index PNG, palette PNG, grayscale TIFF and .npy.

What a file is, its first bytes say; a name is never trusted. A file's stated size is checked before a pixel is
decoded. The values come back as they are in the file: which class they mean is the ontology's business.
"""

import ast
import io
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats.png import (
    GRAY,
    HEADER,
    HEADER_AT,
    HEADER_END,
    PALETTE,
    PNG_MAGIC,
    RGB,
    plain_png_labels,
    png_bytes,
)
from terrazzo_masks.labels import LabelMap, require_labels
from terrazzo_masks.render import Palette, palette_table

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**28
TIFF_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
NPY_MAGIC = b"\x93NUMPY"
NPY_HEADER_BYTES_MAX = 10_000
NPY_WHOLE = re.compile(r"[<>|=]?(?:[ui][1248]|b1)\Z")
TAKEN = "an 8 or 16 bit index PNG, a palette PNG, an 8 or 16 bit grayscale TIFF or a .npy array"
OTHER_MAGICS = {
    b"\xff\xd8\xff": "a JPEG, which changes class ids",
    b"GIF8": "a GIF",
    b"PK\x03\x04": "a ZIP archive (.npz?)",
    b"RIFF": "a WebP",
    b"%PDF": "a PDF",
}
# What Pillow's PNG and TIFF readers raise on damaged bytes, as found by fuzzing them.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
TIFF_PHOTOMETRIC, MIN_IS_WHITE = 262, 0


def read_label_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> LabelMap:
    """Read a label map from the bytes of a PNG, TIFF or .npy file: uint8, or uint16 where the file is deeper.

    Palette images give their indices, 1, 2 and 4 bit images their sample values. A .npy array of any integer
    type is taken when its values are 0..65535; it becomes the narrower dtype that holds them, uint8 and uint16
    stay. Raises UnsupportedMask for a sound file of another kind (RGB, alpha, float, several pages or axes),
    CorruptMask for a damaged one and for one of more than `max_pixels` pixels.
    """
    if data.startswith(PNG_MAGIC):
        return _read_png(data, max_pixels)
    if data.startswith(TIFF_MAGICS):
        return _read_tiff(data, max_pixels)
    if data.startswith(NPY_MAGIC):
        return _read_npy(data, max_pixels)
    for magic, name in OTHER_MAGICS.items():
        if data.startswith(magic):
            raise UnsupportedMask(f"the file is {name}: a label map is {TAKEN}")
    raise CorruptMask(f"the file starts with {bytes(data[:8])!r}: a label map is {TAKEN}")


def to_png(labels_HW: LabelMap, palette: Palette | None = None) -> bytes:
    """PNG bytes that `read_label_image` reads back identical.

    A palette PNG when a palette is given and all ids are 0..255 (its bytes come back as uint8); otherwise an
    index PNG of the map's own depth, 8 or 16 bit gray.
    """
    require_labels(labels_HW)
    as_palette = palette is not None and int(labels_HW.max()) <= 255
    values_HW = labels_HW.astype(np.uint8, copy=False) if as_palette else labels_HW
    width = values_HW.shape[1]
    kind = PALETTE if as_palette else GRAY
    colors = palette_table(palette, 256).tobytes() if as_palette and palette is not None else None
    return png_bytes(_rows(values_HW), width, 8 * values_HW.dtype.itemsize, kind, colors)


def rgb_png(colors_HWC: NDArray[np.uint8]) -> bytes:
    """A PNG of colours (H, W, 3), as flat as a label map's: written the same way."""
    return png_bytes(_rows(colors_HWC), colors_HWC.shape[1], 8, RGB)


def picture_png(pixels: NDArray[np.uint8 | np.uint16], comment: str = "") -> bytes:
    """A PNG of gray levels (H, W), 8 or 16 bit, or 8 bit colours (H, W, 3); `comment` makes equal ones differ."""
    kind = RGB if pixels.ndim == 3 else GRAY
    return png_bytes(_rows(pixels), pixels.shape[1], 8 * pixels.dtype.itemsize, kind, None, comment)


def _rows(pixels: NDArray[np.uint8 | np.uint16]) -> NDArray[np.uint8]:
    """The rows of bytes of a picture (H, W) or (H, W, C), 16 bit ones with the high byte first as PNG has it."""
    narrow = pixels.dtype.itemsize == 1
    big_endian = pixels if narrow else pixels.astype(pixels.dtype.newbyteorder(">"), order="C", copy=False)
    return np.ascontiguousarray(big_endian).view(np.uint8).reshape(len(pixels), -1)


def to_npy(labels_HW: LabelMap) -> bytes:
    """.npy bytes (format 1.0, C order, little endian) that `read_label_image` reads back identical."""
    require_labels(labels_HW)
    out = io.BytesIO()
    little = labels_HW.astype(labels_HW.dtype.newbyteorder("<"), order="C", copy=False)
    np.lib.format.write_array(out, little, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _read_png(data: bytes, max_pixels: int) -> LabelMap:
    """Plain files by a reader of our own; what it doesn't take, or finds damaged, Pillow reads or refuses.

    So a fault that spares the pixels is forgiven as Pillow forgives it: a CRC of image data whose own checksum is
    right, damage behind the image data. More image data than pixels is refused.
    """
    # The header chunk is at a fixed place: size and kind are known before anything is decoded.
    if len(data) < HEADER_END or data[12:16] != b"IHDR":
        raise CorruptMask("the PNG has no header chunk: it is truncated")
    width, height, depth, color_type, *_ = HEADER.unpack_from(data, HEADER_AT)
    require_size(height, width, max_pixels)
    if color_type not in (GRAY, PALETTE):
        kind = {2: "RGB", 4: "gray with alpha", 6: "RGBA"}.get(color_type, f"color type {color_type}")
        raise UnsupportedMask(f"the PNG is {kind}: a label map is {TAKEN}, whose values are class ids")
    labels_HW = plain_png_labels(data)
    if labels_HW is not None:
        return labels_HW
    from PIL import PngImagePlugin

    try:
        # The plugin, not Image.open: it tries no other format, and max_pixels is the limit on size.
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        values_HW = _decoded(image)
    except MaskError:
        raise
    except DECODER_ERRORS as error:
        raise CorruptMask(f"the PNG is damaged: {error}") from error
    # Pillow stretches 2 and 4 bit gray to 0..255.
    return values_HW // {2: 85, 4: 17}.get(depth, 1) if color_type == GRAY else values_HW


def _read_tiff(data: bytes, max_pixels: int) -> LabelMap:
    from PIL import TiffImagePlugin

    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        require_size(image.height, image.width, max_pixels)
        if image.mode not in ("1", "L", "P", "I;16", "I;16B"):
            raise UnsupportedMask(f"the TIFF has pixels of kind {image.mode}: a label map is {TAKEN}")
        if image.mode in ("1", "L") and image.tag_v2.get(TIFF_PHOTOMETRIC) == MIN_IS_WHITE:
            raise UnsupportedMask(
                "the TIFF says that 0 is white, which inverts class ids: save it as min-is-black"
            )
        if image.n_frames != 1:
            raise UnsupportedMask(f"the TIFF has {image.n_frames} pages: a label map is one image")
        image.seek(0)
        bits = image.tag_v2.get(258, (1,))[0]
        values_HW = _decoded(image)
    except MaskError:
        raise
    except DECODER_ERRORS as error:
        raise CorruptMask(f"the TIFF is damaged: {error}") from error
    return values_HW // {2: 85, 4: 17}.get(bits, 1) if image.mode == "L" else values_HW


def _decoded(image: "Image.Image") -> LabelMap:
    """Pixel values of an opened single-channel image, uint8 or uint16 in the machine's byte order."""
    image.load()
    values = np.asarray(image)
    deep = values.dtype.itemsize == 2
    labels_HW: LabelMap = values.astype(np.uint16 if deep else np.uint8)
    return require_labels(labels_HW)


def _read_npy(data: bytes, max_pixels: int) -> LabelMap:
    dtype, shape, fortran_order, body = _npy_header(data)
    if dtype is None or len(shape) != 2:
        raise UnsupportedMask(
            f"the .npy array is {dtype or 'not of integers'} {shape}: uint8 or uint16 (H, W) is wanted"
        )
    height, width = shape
    require_size(height, width, max_pixels)
    num_bytes = height * width * dtype.itemsize
    if len(data) - body != num_bytes:
        raise CorruptMask(
            f"the .npy file holds {len(data) - body} bytes of pixels where {shape} {dtype} has {num_bytes}"
        )
    values_HW = np.frombuffer(data, dtype=dtype, offset=body)
    return _narrowed(values_HW.reshape(shape, order="F" if fortran_order else "C"))


def _npy_header(data: bytes) -> tuple[np.dtype[Any] | None, tuple[int, ...], bool, int]:
    """(dtype or None where not whole numbers, shape, Fortran order, offset of the pixels) of a .npy file.

    Read here (NEP 1: versions 1 to 3) because numpy's own reader also evaluates headers of Python 2, structured
    dtypes and pickles.
    """
    length_bytes = 2 if data[6:7] == b"\x01" else 4
    body = 8 + length_bytes + int.from_bytes(data[8 : 8 + length_bytes], "little")
    if data[6:7] not in (b"\x01", b"\x02", b"\x03") or body > NPY_HEADER_BYTES_MAX or body > len(data):
        raise CorruptMask("the .npy header has an unknown version, is truncated or too long")
    try:
        header = ast.literal_eval(data[8 + length_bytes : body].decode("utf-8").strip())
        descr, shape, fortran_order = header["descr"], header["shape"], header["fortran_order"]
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError) as error:
        raise CorruptMask(f"the .npy header is damaged: {error}") from error
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise CorruptMask(f"the .npy header states the shape {str(shape)[:60]}")
    whole = isinstance(descr, str) and NPY_WHOLE.match(descr)
    return np.dtype(descr) if whole else None, shape, bool(fortran_order), body


def _narrowed(values_HW: NDArray[Any]) -> LabelMap:
    if values_HW.dtype.kind == "u" and values_HW.dtype.itemsize <= 2:
        return np.ascontiguousarray(values_HW.astype(values_HW.dtype.newbyteorder("=")))
    low, high = int(values_HW.min()), int(values_HW.max())
    if low < 0 or high > 65535:
        raise UnsupportedMask(f"the .npy array holds values {low}..{high}: class ids are 0..65534")
    return np.ascontiguousarray(values_HW.astype(np.uint8 if high <= 255 else np.uint16))


def require_size(height: int, width: int, max_pixels: int) -> None:
    """Raise CorruptMask for a stated size without pixels, or with more than `max_pixels`."""
    if height < 1 or width < 1 or height * width > max_pixels:
        raise CorruptMask(f"the file states {height} x {width} pixels: 1 to {max_pixels} are allowed")
