"""The written format is enough: a decoder made from docs/mask-format.md alone reads what the library writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from masks import spec_decoder
from masks.codec_material import RUNS_OF_4_BY_9, forged

from terrazzo_masks import codec
from terrazzo_masks.codec import encode, encode_patch, profile_of
from terrazzo_masks.labels import LabelMap

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.tzlm")), ids=lambda path: path.name)
def test_a_decoder_written_from_the_page_reads_the_golden_file(path: Path) -> None:
    name = path.name.split(".")[0]
    data = path.read_bytes()
    base = np.load(GOLDEN / f"{name}.base.npy").tolist() if profile_of(data) == "patch" else None
    assert spec_decoder.decode(data, base) == np.load(GOLDEN / f"{name}.npy").tolist()


@pytest.mark.parametrize("profile", ["fast", "small"])
def test_it_reads_a_scene_and_a_map_wider_than_a_strip(scenes, profile) -> None:
    wide_HW = np.zeros((2, 65_600), np.uint16)
    wide_HW[1, 65_500:65_580] = 700
    maps: list[LabelMap] = [scenes.discs(96, 160, num_classes=9), scenes.discs(260, 256), wide_HW]
    for labels_HW in maps:
        assert spec_decoder.decode(encode(labels_HW, profile)) == labels_HW.tolist()


def test_it_reads_a_patch_and_refuses_another_base(scenes) -> None:
    base_HW = scenes.discs(64, 96)
    labels_HW = np.where(base_HW == 2, 3, base_HW).astype(np.uint8)
    data = encode_patch(labels_HW, base_HW)
    assert spec_decoder.decode(data, base_HW.tolist()) == labels_HW.tolist()
    with pytest.raises(spec_decoder.Refused):
        spec_decoder.decode(data, np.roll(base_HW, 1, axis=1).tolist())


@pytest.mark.parametrize("what", RUNS_OF_4_BY_9)
def test_it_refuses_the_runs_that_the_library_refuses(what: str) -> None:
    data = forged(4, 9, RUNS_OF_4_BY_9[what], method=codec.RUNS, pixel_sum=spec_decoder.checksum([[0] * 9] * 4))
    with pytest.raises((spec_decoder.Refused, IndexError)):  # IndexError: bytes are missing
        spec_decoder.decode(data, [[0] * 9] * 4)
