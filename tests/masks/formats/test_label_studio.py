"""Label Studio's brush: its code, read by a plain reader of the code's description."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.errors import CorruptMask, MaskError, UnsupportedMask
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.label_studio import decode_brush, encode_brush

from .exchanging import assert_same, collect, dataset_of, read_back, three

BRUSH = FORMATS["label-studio"]


def plain_decode(data: list[int]) -> list[int]:
    """The values of a brush code, written from its description: a string of bits, nothing clever."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def take(num: int) -> int:
        nonlocal at
        value = int(bits[at : at + num], 2)
        at += num
        return value

    num_values = take(32)
    value_bits = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < num_values:
        repeated = take(1)
        run = take(sizes[take(2)]) + 1
        values += [take(value_bits)] * run if repeated else [take(value_bits) for _ in range(run)]
    return values


@settings(deadline=None, max_examples=60)
@given(mask_HW=hnp.arrays(np.bool_, st.tuples(*2 * [st.integers(1, 40)])))
def test_a_plain_reader_finds_the_mask_in_all_four_channels(mask_HW) -> None:
    coded = encode_brush(mask_HW)
    pixels_NC = np.array(plain_decode(coded)).reshape(-1, 4)
    np.testing.assert_array_equal(pixels_NC, np.repeat(mask_HW.reshape(-1, 1) * 255, 4, axis=1))
    np.testing.assert_array_equal(decode_brush(bytes(coded), *mask_HW.shape), mask_HW)


@pytest.mark.parametrize("num_inside", [1, 2, 4, 64, 65, 16_384, 16_385, 40_000])
def test_runs_of_every_size_are_coded(num_inside: int) -> None:
    mask_HW = np.zeros((200, 250), np.bool_)
    mask_HW.ravel()[7 : 7 + num_inside] = True
    coded = encode_brush(mask_HW)
    np.testing.assert_array_equal(np.array(plain_decode(coded))[3::4] == 255, mask_HW.ravel())
    np.testing.assert_array_equal(decode_brush(bytes(coded), 200, 250), mask_HW)


def test_values_that_are_not_repeated_are_read_too() -> None:
    # 1 x 2 pixels: 8 values of 8 bits, sizes 3, 4, 8, 16; one literal run of 8 values.
    bits = f"{8:032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += "0" + "00" + "111" + "".join(f"{v:08b}" for v in (1, 2, 3, 0, 5, 6, 7, 200))
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    np.testing.assert_array_equal(decode_brush(data, 1, 2), [[False, True]])


@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=60), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_any_bytes_are_a_mask_or_corrupt(data: bytes, size: tuple[int, int]) -> None:
    head = (4 * size[0] * size[1]).to_bytes(4, "big")
    for candidate in (data, head + data):
        with suppress(CorruptMask):
            assert decode_brush(candidate, *size).shape == size


def test_every_cut_of_a_sound_code_is_corrupt() -> None:
    coded = bytes(encode_brush(np.random.default_rng(0).random((12, 12)) < 0.5))
    for length in range(len(coded) - 1):
        with pytest.raises(CorruptMask):
            decode_brush(coded[:length], 12, 12)


def tasks_with(change) -> dict[str, bytes]:
    files, _ = collect(BRUSH, dataset_of({"a": np.array([[1, 1], [0, 2]], np.uint8)}))
    document = json.loads(files["tasks.json"])
    change(document)
    return {**files, "tasks.json": json.dumps(document).encode()}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda value, _: value.update(brushlabels=["no such"]), UnsupportedMask, "label 'no such' is no class"),
        (lambda value, _: value.update(brushlabels=["car", "road"]), UnsupportedMask, "a pixel has one class"),
        (lambda value, _: value.update(rle=[0, 256]), CorruptMask, "list of bytes"),
        (lambda value, _: value.update(rle=value["rle"][:6]), CorruptMask, "cut short"),
        (lambda value, _: value.update(format="png"), UnsupportedMask, "'rle' is taken"),
        (lambda _, result: result.update(original_width=3), CorruptMask, "its size is 2 x 3, the picture's 2 x 2"),
        (lambda _, result: result.pop("value"), CorruptMask, "no 'value'"),
    ],
)
def test_what_is_wrong_with_a_result_is_said(change, error: type[MaskError], message: str) -> None:
    def damage(document) -> None:
        result = document[0]["annotations"][0]["result"][0]
        change(result["value"], result)

    with pytest.raises(error, match=message) as caught:
        read_back(BRUSH, tasks_with(damage))
    assert "result 0" in str(caught.value)


def test_polygons_are_taken_and_other_results_are_reported() -> None:
    def change(document) -> None:
        document[0]["annotations"][0]["result"] = [
            {"type": "rectanglelabels", "value": {}},
            {
                "type": "polygonlabels",
                "value": {"points": [[0, 0], [50, 0], [50, 100], [0, 100]], "polygonlabels": ["tree"]},
            },
        ]

    maps, report = read_back(BRUSH, tasks_with(change))
    np.testing.assert_array_equal(maps["a"], [[3, 0], [3, 0]])
    assert report.num_lost == 1
    assert "'rectanglelabels'" in report.losses[0].reason


def test_a_cancelled_annotation_does_not_count() -> None:
    def change(document) -> None:
        document[0]["annotations"].insert(0, {"was_cancelled": True, "result": [{"type": "brushlabels"}]})

    maps, _ = read_back(BRUSH, tasks_with(change))
    np.testing.assert_array_equal(maps["a"], [[1, 1], [0, 2]])


def test_an_export_of_label_studio_may_have_any_name() -> None:
    labels = three()
    files, _ = collect(BRUSH, dataset_of(labels))
    files["project-7-at-2026.json"] = files.pop("tasks.json")
    maps, _ = read_back(BRUSH, files)
    assert_same(maps, labels)
