"""Label maps in the files and archives that people have: single files, and whole datasets in some fifteen formats.

`label_files` reads and writes one label map, `encoded_png` writes the codec's bytes as one; `exchange` is what a
dataset format is written against; `FORMATS` has them all by name.
"""

from terrazzo_masks.formats.encoded_png import encoded_to_png
from terrazzo_masks.formats.label_files import MAX_PIXELS, read_label_image, to_npy, to_png
from terrazzo_masks.formats.registry import FORMATS
from terrazzo_masks.render import colorize, downsample_mode

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "colorize",
    "downsample_mode",
    "encoded_to_png",
    "read_label_image",
    "to_npy",
    "to_png",
]
