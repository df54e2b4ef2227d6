"""The class-to-class flow of a diff as a matrix, and its place in the report."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.flow_picture import CLASSES_MAX, OTHERS, matrix_of, short, write_flow_png
from terrazzo.simulation import report, summary

FLOWS = st.dictionaries(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda pair: pair[0] != pair[1]),
    st.integers(1, 10**9),
    min_size=1,
    max_size=200,
).map(lambda found: [(*pair, pixels) for pair, pixels in found.items()])


@given(FLOWS)
def test_no_pixel_is_lost_in_the_matrix(flow: list[tuple[int, int, int]]) -> None:
    names, matrix = matrix_of(flow, {1: "road"})
    assert matrix.sum() == sum(pixels for _, _, pixels in flow)
    assert len(names) == len(matrix) <= CLASSES_MAX
    if OTHERS not in names:
        ids = sorted({class_id for row in flow for class_id in row[:2]})
        for old, new, pixels in flow:
            assert matrix[ids.index(old), ids.index(new)] == pixels
        assert matrix.trace() == 0


def test_classes_have_their_names_and_the_largest_flows_their_own_rows() -> None:
    flow = [(0, 1, 5), *[(n, n + 1, 1_000_000 - n) for n in range(1, 40)]]
    names, _ = matrix_of(flow, {1: "road"})
    assert names[0] == "class 2"
    assert names[-1] == OTHERS
    assert "unlabelled" not in names
    assert matrix_of([(0, 1, 5)], {1: "road"})[0] == ["unlabelled", "road"]


def test_an_empty_flow_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        write_flow_png(tmp_path / "x.png", [], {}, "x")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1_234, "1.2k"), (34_000, "34k"), (5_600_000, "5.6M"), (2 * 10**9, "2.0G")],
)
def test_counts_are_short(number: int, text: str) -> None:
    assert short(number) == text


def test_the_report_shows_what_corrections_changed(example_document: dict[str, Any]) -> None:
    document = copy.deepcopy(example_document)
    assert "What corrections changed" not in report.render(document, [])
    ids = [entry["id"] for entry in document["classes"][:2]]
    change = summary.Change(1, 2, 12, 3, 640, [[ids[0], ids[1], 600], [ids[1], 0, 40]])
    document["change"] = summary._plain(change.__dict__)
    summary.validate(document)
    text = report.render(document, [])
    assert "What corrections changed" in text
    assert "Flow of 640 pixels between classes in 3 changed samples" in text
    document["change"]["flow"] = []
    assert "What corrections changed" not in report.render(document, [])
