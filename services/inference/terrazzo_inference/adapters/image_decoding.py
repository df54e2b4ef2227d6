"""Image bytes to pixels, by the same rule as in training: what a model learnt from is what it is shown."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from terrazzo_schema.errors import CorruptInput, TooLarge

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")


def decode_rgb(data: bytes, where: str, *, max_pixels: int) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3). 16-bit grey is divided by 257, alpha is dropped, EXIF orientation is not
    applied (label maps lie on the stored pixel grid).

    Raises CorruptInput when the bytes are no readable image, TooLarge (before decoding) when it has
    more than `max_pixels`; both name `where`.
    """
    from PIL import Image, UnidentifiedImageError

    # Pillow's own limit is for strangers' files; ours is checked below, on the header.
    Image.MAX_IMAGE_PIXELS = max(max_pixels, Image.MAX_IMAGE_PIXELS or 0)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            if file.width * file.height > max_pixels:
                raise TooLarge(
                    f"{where} has {file.width} x {file.height} pixels",
                    field="image",
                    value=file.width * file.height,
                    remedy=f"at most {max_pixels} pixels (setting max_image_pixels)",
                )
            if file.mode.startswith("I"):
                grey_HW = np.asarray(file).astype(np.float32) / 257.0
                grey_8bit_HW = np.clip(grey_HW + 0.5, 0, 255).astype(np.uint8)
                return np.repeat(grey_8bit_HW[..., None], 3, axis=2)
            return np.asarray(file.convert("RGB"))
    except UnidentifiedImageError as error:
        raise CorruptInput(f"{where} is none of {', '.join(FORMATS)}", field="image") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorruptInput(f"{where} can't be decoded: {error}", field="image") from error
