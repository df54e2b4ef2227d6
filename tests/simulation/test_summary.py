from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from terrazzo.simulation import summary

DOCUMENTED = (
    summary.Summary,
    summary.RoundSummary,
    summary.Totals,
    summary.Scorecard,
    summary.Source,
    summary.ClassEntry,
    summary.StageSpan,
    summary.Confusion,
)


def test_a_summary_follows_its_schema_and_survives_the_file(
    tmp_path: Path, example_summary: summary.Summary
) -> None:
    written = summary.write_summary(example_summary, tmp_path / "summary.json")
    read = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert read == written == summary.to_json(example_summary)
    summary.validate(read)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("totals", "tasks_leaked"), -1, "tasks_leaked"),
        (("totals", "tasks_leaked"), None, "tasks_leaked"),
        (("rounds", 0, "model_miou"), 1.2, "model_miou"),
        (("rounds", 1, "promoted"), "yes", "promoted"),
        (("classes", 0, "color"), "red", "color"),
        (("schema_version",), "2.0", "schema_version"),
        (("source", "kind"), "guessed", "kind"),
        (("extra",), 1, "extra"),
    ],
)
def test_a_wrong_field_is_named(
    example_document: dict[str, Any], path: tuple[Any, ...], value: Any, named: str
) -> None:
    broken = copy.deepcopy(example_document)
    place: Any = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(summary.InvalidSummary, match=named):
        summary.validate(broken)


def test_a_missing_field_is_named(example_document: dict[str, Any]) -> None:
    broken = copy.deepcopy(example_document)
    del broken["rounds"][0]["commit_id"]
    with pytest.raises(summary.InvalidSummary, match="commit_id"):
        summary.validate(broken)


def test_schema_dataclasses_and_documentation_have_the_same_fields() -> None:
    text = (Path(__file__).parents[2] / "docs" / "summary-schema.md").read_text(encoding="utf-8")
    schema = summary.schema()
    shapes = {frozenset(shape["properties"]) for shape in [schema, *schema["$defs"].values()]}
    for kind in DOCUMENTED:
        names = {field.name for field in fields(kind)}
        assert names in shapes, kind.__name__
        undocumented = {name for name in names if f"`{name}`" not in text}
        assert not undocumented, f"{kind.__name__}: {undocumented} not in docs/summary-schema.md"
    for name in (*summary.VOLATILE_TOP, *summary.VOLATILE_ROUND, *summary.VOLATILE_TOTALS):
        assert any(f"`{name}`" in line and "*volatile*" in line for line in text.splitlines()), name


def test_two_runs_that_differ_in_times_ids_and_memory_are_equal_when_stripped(
    example_summary: summary.Summary,
) -> None:
    other = replace(
        example_summary,
        stages=[replace(stage, end_s=stage.end_s + 1) for stage in example_summary.stages],
        gallery=["another"],
        rounds=[
            replace(entry, sample_ids=["x"], commit_id="y", model_version="z", stage_wall_s={"train": 1.0})
            for entry in example_summary.rounds
        ],
        totals=replace(example_summary.totals, peak_memory_mb=1.0, wall_s=2.0),
    )
    one, two = summary.to_json(example_summary), summary.to_json(other)
    assert one != two
    assert summary.strip_volatile(one) == summary.strip_volatile(two)


def test_a_difference_in_results_survives_the_stripping(example_summary: summary.Summary) -> None:
    slower = replace(example_summary, totals=replace(example_summary.totals, human_seconds=1.0))
    worse = replace(
        example_summary, rounds=[replace(example_summary.rounds[0], model_miou=0.1), *example_summary.rounds[1:]]
    )
    plain = summary.strip_volatile(summary.to_json(example_summary))
    for other in (slower, worse):
        assert summary.strip_volatile(summary.to_json(other)) != plain


def test_what_is_not_a_number_becomes_null(example_summary: summary.Summary) -> None:
    odd = replace(example_summary, rounds=[replace(example_summary.rounds[0], agreement=float("nan"))])
    document = summary.to_json(odd)
    assert document["rounds"][0]["agreement"] is None
    summary.validate(json.loads(json.dumps(document, allow_nan=False)))
