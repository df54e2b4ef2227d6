"""The fast profile searches rows by words of 8 bytes and paints in pieces: nothing of that shows in the bytes."""

from __future__ import annotations

import numpy as np
import pytest
from masks import spec_decoder

from terrazzo_masks.codec import HEADER_BYTES, decode, encode
from terrazzo_masks.labels import LabelMap

DTYPES = [np.uint8, np.uint16]


def stripes(height: int, width: int, dtype: type[np.uint8 | np.uint16]) -> LabelMap:
    """Runs of 1 to 90 pixels that move from row to row; every third row repeats the one above."""
    rng = np.random.default_rng(height * 1000 + width)
    row_W = np.repeat(rng.integers(0, np.iinfo(dtype).max, width), rng.integers(1, 90, width))[:width]
    rows = [np.roll(row_W, (y - y // 3) * 3) for y in range(height)]
    return np.array(rows, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 31, 33, 63, 64, 65, 100, 255, 257])
def test_rows_that_fill_no_word_are_packed_as_the_page_says(width: int, dtype: type[np.uint8 | np.uint16]) -> None:
    for height in (1, 2, 9):
        labels_HW = stripes(height, width, dtype)
        data = encode(labels_HW, "fast")
        assert spec_decoder.decode(data) == labels_HW.tolist()
        assert np.array_equal(decode(data), labels_HW)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_map_that_lies_out_of_step_with_words_gives_the_bytes_of_its_copy(
    dtype: type[np.uint8 | np.uint16],
) -> None:
    labels_HW = stripes(64, 64, dtype)
    for first in range(1, 8):
        held = np.zeros(labels_HW.size + first, dtype)
        held[first:] = labels_HW.reshape(-1)
        assert encode(held[first:].reshape(64, 64), "fast") == encode(labels_HW, "fast")


def test_tokens_of_one_strip_outlast_the_next_in_maps_for_which_no_room_is_kept() -> None:
    tile_HW = stripes(256, 256, np.uint8)
    packed = encode(tile_HW, "fast")
    wide_HW = stripes(40, 140_001, np.uint8)
    assert np.array_equal(decode(encode(wide_HW, "fast")), wide_HW)
    assert encode(tile_HW, "fast") == packed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("height", "width"), [(300, 601), (6, 40_001), (5, 65_535), (20_000, 9)])
def test_rows_that_are_filled_up_a_band_at_a_time_are_told_from_the_band_before(
    height: int, width: int, dtype: type[np.uint8 | np.uint16]
) -> None:
    labels_HW = stripes(height, width, dtype)
    wide_HW = np.pad(labels_HW, ((0, 0), (0, -width % 8)), mode="edge")
    data, wide = encode(labels_HW, "fast"), encode(wide_HW, "fast")
    assert data[HEADER_BYTES:] == wide[HEADER_BYTES:]
    assert np.array_equal(decode(data), labels_HW)
