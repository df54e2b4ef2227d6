"""Label maps painted in colours: a colour image is read exactly, and every pixel's colour must be known."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats.exchange import Rgb
from terrazzo_masks.formats.label_files import DECODER_ERRORS, TIFF_MAGICS, require_size
from terrazzo_masks.formats.png import PNG_MAGIC
from terrazzo_masks.labels import LabelMap, dtype_for

NUM_COLORS = 2**24
UNKNOWN = 65535


def read_rgb(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Colours (H, W, 3) of a PNG or TIFF file, as they are in it.

    Raises UnsupportedMask for a file of another kind (a JPEG changes colours) or with see-through pixels,
    CorruptMask for a damaged one and for one of more than `max_pixels` pixels.
    """
    from PIL import PngImagePlugin, TiffImagePlugin

    if not data.startswith((PNG_MAGIC, *TIFF_MAGICS)):
        raise UnsupportedMask(f"the file starts with {bytes(data[:8])!r}: a label map in colours is a PNG or TIFF")
    plugin = PngImagePlugin.PngImageFile if data.startswith(PNG_MAGIC) else TiffImagePlugin.TiffImageFile
    try:
        image = plugin(io.BytesIO(data))
        require_size(image.height, image.width, max_pixels)
        if image.mode not in ("RGB", "RGBA", "P"):
            raise UnsupportedMask(f"the image has pixels of kind {image.mode}: RGB colours are wanted")
        if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] != 255:
            raise UnsupportedMask("the image has pixels that can be seen through: their colour is not certain")
        return np.asarray(image.convert("RGB"))
    except MaskError:
        raise
    except DECODER_ERRORS as error:
        raise CorruptMask(f"the image is damaged: {error}") from error


class ColorTable:
    """Class ids by exact colour. A table of all 2^24 colours (32 MiB) is made once and used for every picture."""

    def __init__(self, ids: Mapping[Rgb, int]) -> None:
        self._dtype = dtype_for(max(ids.values(), default=0))
        self._table = np.full(NUM_COLORS, UNKNOWN, np.uint16)
        for (red, green, blue), class_id in ids.items():
            self._table[red << 16 | green << 8 | blue] = class_id

    def labels_of(self, colors_HWC: NDArray[np.uint8]) -> LabelMap:
        """Class ids (H, W). Raises UnsupportedMask that names the first pixel of a colour that no class has."""
        code_HW = colors_HWC[..., 0].astype(np.uint32) << 16
        code_HW |= colors_HWC[..., 1].astype(np.uint32) << 8
        code_HW |= colors_HWC[..., 2]
        labels_HW = self._table[code_HW]
        unknown_HW = labels_HW == UNKNOWN
        if unknown_HW.any():
            y, x = (int(v) for v in np.unravel_index(int(np.argmax(unknown_HW)), unknown_HW.shape))
            num = int(np.count_nonzero(code_HW == code_HW[y, x]))
            color = "#{:02x}{:02x}{:02x}".format(*colors_HWC[y, x].tolist())
            raise UnsupportedMask(
                f"colour {color} (first at row {y}, column {x}; {num} pixels) is the colour of no class"
            )
        known_HW: LabelMap = labels_HW.astype(self._dtype, copy=False)
        return known_HW
