"""Image files as they come in: what they truly are, and pictures of them for viewers.

A file's type is what its bytes say; its name is never trusted. Sizes are read from the header and checked before
any pixel is decoded. Pixels are taken as stored: an EXIF orientation is not applied, because masks are drawn on
the stored grid.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_schema.errors import CorruptInput, TooLarge, Unprocessable

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a camera's JPEG with a second picture behind it; the first is taken
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
}
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/tiff": "tif",
    "image/webp": "webp",
    "image/bmp": "bmp",
}
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_CHANNELS = {
    "1": 1,
    "L": 1,
    "LA": 2,
    "P": 3,
    "PA": 4,
    "RGB": 3,
    "RGBA": 4,
    "CMYK": 4,
    "YCbCr": 3,
    "I;16": 1,
    "I;16B": 1,
    "I;16L": 1,
}
_REMEDY = "send a PNG, JPEG, TIFF, WebP or BMP file"
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, OverflowError, TypeError)


@dataclass(frozen=True)
class Probe:
    """What an image file is: size in pixels, channels of its pixels, media type by content."""

    height: int
    width: int
    channels: int
    media_type: str


def probe(data: bytes, max_pixels: int) -> Probe:
    """Look at an image file, then decode it once to know that all of it is there.

    Raises CorruptInput for bytes that are no image of a known type or are damaged or cut short, TooLarge for more
    than `max_pixels` (before decoding), Unprocessable for pictures that are no single 8 or 16 bit image.
    """
    image = _open(data, max_pixels)
    found = Probe(image.height, image.width, _CHANNELS[image.mode], MEDIA_TYPES[str(image.format)])
    _load(image, len(data))
    return found


def _open(data: bytes, max_pixels: int) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    # Pillow's own limit is a fraction of what a scanner delivers; ours is checked below, before decoding.
    Image.MAX_IMAGE_PIXELS = None
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        start = data[:8].hex(" ") or "nothing"
        raise CorruptInput(
            f"the bytes are no image (they start with {start})", field="body", remedy=_REMEDY
        ) from error
    except _DAMAGED as error:
        raise CorruptInput(f"the image's header can't be read: {error}", field="body", remedy=_REMEDY) from error
    if image.height * image.width > max_pixels:
        raise TooLarge(
            f"the image has {image.height} x {image.width} pixels",
            field="body",
            value=image.height * image.width,
            remedy=f"send at most {max_pixels} pixels: cut it into parts, or raise max_image_pixels",
        )
    if image.height < 1 or image.width < 1:
        raise CorruptInput(f"the image is {image.height} x {image.width}", field="body", remedy=_REMEDY)
    if image.mode not in _CHANNELS:
        raise Unprocessable(
            f"pixels of kind {image.mode!r} are not taken",
            field="body",
            value=image.mode,
            remedy="save it with 8 bits per channel, or 16 bit gray",
        )
    _refuse_several(image)
    return image


def _refuse_several(image: Image.Image) -> None:
    try:
        num_frames = int(getattr(image, "n_frames", 1)) if image.format != "MPO" else 1
    except _DAMAGED as error:
        raise CorruptInput(f"the image's pages can't be read: {error}", field="body", remedy=_REMEDY) from error
    if num_frames > 1:
        raise Unprocessable(
            f"the file holds {num_frames} pictures",
            field="body",
            value=num_frames,
            remedy="send one picture per file",
        )


def _load(image: Image.Image, num_bytes: int) -> None:
    try:
        image.load()
    except (MemoryError, *_DAMAGED) as error:
        raise CorruptInput(
            f"the {image.format} of {image.height} x {image.width} pixels is damaged or cut short "
            f"({num_bytes} bytes): {error}",
            field="body",
            value=num_bytes,
            remedy="send the whole file again",
        ) from error


def display(data: bytes, max_pixels: int, at_least_px: int | None = None) -> Image.Image:
    """The picture to look at: mode L or RGB, 8 bit. 16 bit gray is stretched from its lowest to its highest value.

    With `at_least_px` a JPEG is decoded at a reduced scale whose sides are not shorter than that.
    """
    from PIL import Image

    image = _open(data, max_pixels)
    if at_least_px is not None:
        image.draft(None, (at_least_px, at_least_px))
    _load(image, len(data))
    if image.mode.startswith("I;16"):
        values_HW = np.asarray(image).astype(np.float32)
        low, high = float(values_HW.min()), float(values_HW.max())
        scale = 255.0 / (high - low) if high > low else 0.0
        return Image.fromarray(np.rint((values_HW - low) * scale).astype(np.uint8))
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def thumbnail(data: bytes, size_px: int, max_pixels: int) -> bytes:
    """A JPEG that fits in a square of `size_px`; a smaller image keeps its size."""
    image = display(data, max_pixels, at_least_px=size_px)
    image.thumbnail((size_px, size_px))
    return jpeg_of(image)


def jpeg_of(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def png_of(picture: NDArray[np.uint8] | Image.Image) -> bytes:
    """A lossless PNG of (H, W, 3) or (H, W) uint8, or of a picture."""
    from PIL import Image

    image: Any = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()
