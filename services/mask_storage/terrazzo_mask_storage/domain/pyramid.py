"""The image pyramid for viewers: level 0 is full size, each next level half of it, cut into square tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from terrazzo_mask_storage.domain.pictures import jpeg_of

if TYPE_CHECKING:
    from PIL import Image

TILE_PX = 256


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of each level; the last one fits in one tile."""
    sizes = [(height, width)]
    while max(sizes[-1]) > TILE_PX:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


class Grid:
    """Tiles of one level: `(row, col) in grid`, and their boxes in row-major order."""

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        self.num_rows = -(-height // TILE_PX)
        self.num_cols = -(-width // TILE_PX)

    def __contains__(self, place: tuple[int, int]) -> bool:
        return 0 <= place[0] < self.num_rows and 0 <= place[1] < self.num_cols

    def boxes(self) -> Iterator[tuple[int, int, int, int]]:
        """(left, top, right, bottom), as Pillow crops."""
        for row in range(self.num_rows):
            for col in range(self.num_cols):
                top, left = row * TILE_PX, col * TILE_PX
                yield left, top, min(left + TILE_PX, self.width), min(top + TILE_PX, self.height)


def tiles(picture: Image.Image) -> Iterator[Iterator[bytes]]:
    """For each level its JPEG tiles, row by row. Levels are averages of 2 x 2 pixels of the one before."""
    for height, width in levels(picture.height, picture.width):
        if (picture.height, picture.width) != (height, width):
            picture = picture.reduce(2)
        level = picture
        yield (jpeg_of(level.crop(box)) for box in Grid(height, width).boxes())
