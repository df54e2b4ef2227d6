"""What `terrazzo simulate` writes as `summary.json`, version 1.0; docs/summary-schema.md explains every field.

Shares and IoU are 0..1, `*_s` and `*_seconds` are seconds, `wall` marks time on the clock of the machine;
human seconds come from the annotators' time model (`timing`). None means 'not measured in this round'.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

SCHEMA_VERSION = "1.0"
_SCHEMA_PATH = Path(__file__).with_name("summary.schema.json")

# Clock times, ids that services make, and memory: all that may differ between two runs of one seed.
VOLATILE_TOP = ("stages", "gallery", "terrazzo_version")
VOLATILE_ROUND = ("sample_ids", "model_version", "commit_id", "stage_wall_s")
VOLATILE_TOTALS = ("peak_memory_mb", "wall_s")


class InvalidSummary(ValueError):
    """A summary that does not follow the schema; the message says where."""


@dataclass(frozen=True)
class Source:
    """Where images and truth came from."""

    kind: Literal["folder", "generated"]
    note: str


@dataclass(frozen=True)
class ClassEntry:
    """One class of the ontology."""

    id: int
    name: str
    color: str
    parent_id: int | None


@dataclass(frozen=True)
class StageSpan:
    """One bar of the timeline: seconds since the run began."""

    round: int
    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Scorecard:
    """One annotator's work over the whole run."""

    name: str
    submissions: int
    seconds: float
    agreement_with_consensus: float | None
    iou_to_truth: float | None
    returned: int
    late: int


@dataclass(frozen=True)
class Confusion:
    """The last model on the held-out split: `matrix[truth][prediction]` in pixels, in the order of `class_ids`.

    A row may have one column more than there are class ids: predictions outside them.
    """

    class_ids: list[int]
    matrix: list[list[int]]


@dataclass(frozen=True)
class RoundSummary:
    """One turn of the loop; round 1 is the first."""

    index: int
    choose_strategy: str
    num_labelled: int
    num_labelled_total: int
    sample_ids: list[str]
    sample_names: list[str]
    human_seconds: float
    human_seconds_from_nothing: float
    human_seconds_per_sample: float
    from_nothing_seconds_per_sample: float
    agreement: float | None
    consensus_iou: float | None
    single_annotator_iou: float | None
    num_multi_annotated: int
    num_adjudicated: int
    num_audited: int
    audit_errors: int
    audit_error_rate_upper_95: float | None
    num_returned: int
    model_version: str | None
    model_miou: float | None
    model_iou_per_class: dict[str, float | None]
    promoted: bool
    commit_id: str | None
    stage_wall_s: dict[str, float]
    events_published: int
    events_consumed: int


@dataclass(frozen=True)
class Totals:
    """The whole run."""

    human_seconds: float
    human_seconds_from_nothing: float
    tasks_created: int
    tasks_leaked: int
    duplicate_submissions: int
    late_submissions: int
    num_adjudicated: int
    first_miou: float | None
    last_miou: float | None
    peak_memory_mb: float
    wall_s: float
    events_published: int
    events_consumed: int
    dead_letters: int


@dataclass(frozen=True)
class Change:
    """What differs between two of the run's commits: `flow` rows are [from class id, to class id, pixels]."""

    base_round: int
    head_round: int
    num_added: int
    num_changed: int
    changed_pixels: int
    flow: list[list[int]]


@dataclass(frozen=True)
class Summary:
    """Everything that `summary.json` says."""

    terrazzo_version: str
    source: Source
    seed: int
    settings: dict[str, Any]
    ontology_name: str
    classes: list[ClassEntry]
    num_samples: int
    num_pool: int
    num_held_out: int
    rounds: list[RoundSummary]
    totals: Totals
    annotators: list[Scorecard]
    stages: list[StageSpan]
    confusion: Confusion | None
    gallery: list[str] = field(default_factory=list)
    change: Change | None = None
    schema_version: str = SCHEMA_VERSION


def to_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain JSON values; floats rounded to six digits, nan and infinities as null."""
    plain = _plain(asdict(summary))
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


@cache
def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of `summary.json`."""
    loaded: dict[str, Any] = json.loads(_SCHEMA_PATH.read_text(encoding="utf-8"))
    return loaded


def validate(summary: Mapping[str, Any]) -> None:
    """Check a summary read from JSON against the schema; raises InvalidSummary naming every wrong field."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(summary), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        lines = [f"{error.json_path}: {error.message}" for error in errors[:10]]
        more = f" and {len(errors) - 10} more" if len(errors) > 10 else ""
        raise InvalidSummary("; ".join(lines) + more)


def write_summary(summary: Summary, path: Path) -> dict[str, Any]:
    """Validate and write `summary.json`; returns what was written."""
    document = to_json(summary)
    validate(document)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return document


def strip_volatile(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary without clock times, ids made by services, memory and version.

    Two runs of one seed on one machine give equal results. Human seconds stay: they are modelled, not measured.
    """
    kept = {key: value for key, value in summary.items() if key not in VOLATILE_TOP}
    kept["rounds"] = [{k: v for k, v in entry.items() if k not in VOLATILE_ROUND} for entry in summary["rounds"]]
    kept["totals"] = {k: v for k, v in summary["totals"].items() if k not in VOLATILE_TOTALS}
    return kept
