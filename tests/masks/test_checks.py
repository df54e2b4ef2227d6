"""Each automatic check: seen where it should be, silent where it should not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from terrazzo_masks.boxes import Box
from terrazzo_masks.checks import CODES, CheckSettings, Finding, run_checks
from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.labels import LabelMap

CLASS_IDS = {1, 2, 3}


def sound() -> LabelMap:
    """60 x 80, two large regions: nothing to find."""
    labels_HW = np.ones((60, 80), np.uint8)
    labels_HW[20:, 30:] = 2
    return labels_HW


def check(labels_HW: LabelMap, **options: Any) -> list[Finding]:
    return run_checks(labels_HW, **{"expected_hw": (60, 80), "class_ids": CLASS_IDS} | options)


def codes(labels_HW: LabelMap, **options: Any) -> list[str]:
    return [finding.code for finding in check(labels_HW, **options)]


def test_a_sound_label_map_has_no_finding() -> None:
    assert check(sound()) == []
    assert check(sound().astype(np.uint16)) == []


def test_a_wrong_size_is_the_only_finding() -> None:
    labels_HW = sound()
    labels_HW[5, 5] = 99
    (finding,) = check(labels_HW, expected_hw=(80, 60))
    assert (finding.code, finding.severity) == ("wrong-size", "error")
    assert "60 x 80" in finding.message
    assert "80 x 60" in finding.message
    assert check(labels_HW, expected_hw=(80, 60), settings=CheckSettings(enabled=["hole"])) == []


def test_an_unknown_class_is_located_and_counted() -> None:
    labels_HW = sound()
    labels_HW[40:44, 50:70] = 77
    (finding,) = check(labels_HW)
    assert finding == Finding(
        "unknown-class", "error", "class id 77 is not in the ontology (80 pixels)", 77, Box(40, 50, 4, 20), 80
    )
    assert check(labels_HW, class_ids={1, 2, 77}) == []


def test_an_empty_map_is_empty_and_nothing_else() -> None:
    (finding,) = check(np.zeros((60, 80), np.uint8))
    assert (finding.code, finding.severity, finding.count) == ("empty", "error", 4800)


def test_unlabelled_pixels_above_the_share_are_found() -> None:
    labels_HW = sound()
    labels_HW[:4] = 0
    (finding,) = check(labels_HW)
    assert (finding.code, finding.class_id, finding.box, finding.count) == (
        "unlabelled-share",
        0,
        Box(0, 0, 4, 80),
        320,
    )
    assert check(labels_HW, settings=CheckSettings(unlabelled_share_max=320 / 4800)) == []


def test_a_single_class_is_worth_a_note() -> None:
    (finding,) = check(np.full((60, 80), 3, np.uint8))
    assert (finding.code, finding.severity, finding.class_id) == ("one-class", "info", 3)


def test_a_small_hole_is_found_and_a_large_one_is_not() -> None:
    labels_HW = sound()
    labels_HW[5:10, 5:10] = 0
    (finding,) = check(labels_HW)
    assert (finding.code, finding.class_id, finding.box, finding.count) == ("hole", 1, Box(5, 5, 5, 5), 25)
    assert check(labels_HW, settings=CheckSettings(hole_area_max_px=24)) == []


def test_a_small_island_is_found_and_a_large_one_is_not() -> None:
    labels_HW = sound()
    labels_HW[5:8, 5:8] = 2
    (finding,) = check(labels_HW)
    assert (finding.code, finding.class_id, finding.box, finding.count) == ("island", 2, Box(5, 5, 3, 3), 9)
    assert check(labels_HW, settings=CheckSettings(island_area_max_px=8)) == []


def test_a_thin_rest_between_classes_is_found_and_a_wide_one_is_not() -> None:
    labels_HW = sound()
    labels_HW[30:50, 30:32] = 3
    (finding,) = check(labels_HW)
    assert (finding.code, finding.class_id, finding.box) == ("sliver", 3, Box(30, 30, 20, 2))
    assert check(labels_HW, settings=CheckSettings(sliver_width_max_px=1)) == []


def test_an_unchanged_proposal_is_suspect_only_when_it_was_fast() -> None:
    proposal_HW = sound()
    assert codes(sound(), proposal_HW=proposal_HW, seconds_spent=0.5) == ["identical-to-proposal"]
    assert codes(sound().astype(np.uint16), proposal_HW=proposal_HW, seconds_spent=0.5) == [
        "identical-to-proposal"
    ]
    assert codes(sound(), proposal_HW=proposal_HW, seconds_spent=60.0) == []
    assert codes(sound(), proposal_HW=proposal_HW) == []
    assert codes(sound(), seconds_spent=0.5) == []
    proposal_HW[0, 0] = 2
    assert "identical-to-proposal" not in codes(sound(), proposal_HW=proposal_HW, seconds_spent=0.5)
    assert codes(sound(), proposal_HW=proposal_HW[1:], seconds_spent=0.5) == []


def test_the_pixels_of_another_annotator_are_found_by_mask_id() -> None:
    (finding,) = check(sound(), digest="abc", others=("abc", "def", "abc"))
    assert (finding.code, finding.count) == ("duplicate-bytes", 2)
    assert "abc" in finding.message
    assert check(sound(), digest="abc", others=("def",)) == []
    assert check(sound(), others=("def",)) == []


def test_findings_of_a_kind_are_capped_and_the_rest_is_counted() -> None:
    labels_HW = np.ones((60, 80), np.uint8)
    labels_HW[1:-1:4, 1:-1:4] = 2
    labels_HW[3, 3] = 9
    labels_HW[3, 7] = 10
    num_islands = np.count_nonzero(labels_HW[1:-1] == 2)
    found = check(labels_HW, settings=CheckSettings(findings_max=7))
    found_islands = [finding for finding in found if finding.code == "island"]
    assert len(found_islands) == 8
    assert found_islands[-1].count == num_islands + 2 - 7
    assert f"{num_islands + 2 - 7} more" in found_islands[-1].message
    assert [finding.class_id for finding in found if finding.code == "unknown-class"] == [9, 10]


def test_noise_of_every_class_is_reported_without_a_flood() -> None:
    noise_HW = np.random.default_rng(0).integers(0, 65535, (300, 300)).astype(np.uint16)
    found = run_checks(noise_HW, expected_hw=(300, 300), class_ids=CLASS_IDS)
    assert len(found) < 51 * len(CODES)
    assert {"unknown-class"} <= {finding.code for finding in found}


def test_severity_and_enabled_checks_are_the_project_s_choice() -> None:
    labels_HW = sound()
    labels_HW[5:8, 5:8] = 2
    (finding,) = check(labels_HW, settings=CheckSettings(severity={"island": "error"}))
    assert finding.severity == "error"
    assert check(labels_HW, settings=CheckSettings(enabled=set(CODES) - {"island"})) == []


@pytest.mark.parametrize(
    "options",
    [
        {"enabled": ["holes"]},
        {"severity": {"holes": "error"}},
        {"severity": {"hole": "fatal"}},
        {"unlabelled_share_max": 1.5},
        {"unlabelled_share_max": float("nan")},
        {"hole_area_max_px": -1},
        {"sliver_width_max_px": 0},
        {"findings_max": 0},
        {"proposal_seconds_min": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedMask):
        CheckSettings(**options)


def test_what_is_no_label_map_is_refused() -> None:
    with pytest.raises(UnsupportedMask):
        check(np.ones((60, 80), np.float32))
