"""What the service remembers of merges, their conflicts and the gates, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Strategy = Literal["adjudicate", "ours", "theirs", "fail"]
State = Literal["merged", "up_to_date", "fast_forward", "open", "refused", "abandoned"]
BoxTuple = tuple[int, int, int, int]
"""y, x, height, width in pixels."""


@dataclass(frozen=True)
class Clashing:
    """A sample in conflict. `kind` "removed": one side removed it, and there is no box. None is 'not there'."""

    sample_id: str
    kind: Literal["pixels", "removed"]
    base_mask_id: str | None
    ours_mask_id: str | None
    theirs_mask_id: str | None
    merged_mask_id: str | None = None
    num_pixels: int = 0
    box: BoxTuple | None = None
    boxes: tuple[BoxTuple, ...] = ()
    flow: tuple[tuple[int, int, int], ...] = ()  # (ours, theirs, pixels)

    @property
    def key(self) -> tuple[str, str | None, str | None, str | None]:
        """What a ruling is about: the same three masks again are the same conflict."""
        return (self.sample_id, self.base_mask_id, self.ours_mask_id, self.theirs_mask_id)

    @property
    def shown_mask_id(self) -> str:
        """The mask to start from: all that could be merged, or the side that is there."""
        found = self.merged_mask_id or self.ours_mask_id or self.theirs_mask_id
        assert found is not None, "a conflict has a side that is there"
        return found


@dataclass(frozen=True)
class Conflict:
    """A conflict of a merge. `mask_id` None with state "resolved": the sample is removed."""

    conflict_id: str
    merge_id: str
    clashing: Clashing
    state: Literal["open", "resolved", "withdrawn"] = "open"
    mask_id: str | None = None
    resolved_by: str | None = None


@dataclass(frozen=True)
class Merge:
    merge_id: str
    state: State
    source: str
    source_commit_id: str
    target: str
    target_commit_id: str | None
    base_commit_ids: tuple[str, ...]
    strategy: Strategy
    message: str
    author: str
    commit_id: str | None
    num_changed: int
    num_blended: int
    num_conflicts: int
    num_resolved: int
    report_id: str | None
    created_at: datetime
    closed_at: datetime | None = None


@dataclass(frozen=True)
class GatesFile:
    """A version of a project's gates; an empty text has no rules."""

    version: int
    text: str
    num_rules: int
    author: str
    created_at: datetime


@dataclass(frozen=True)
class Report:
    """What gates said of a proposed version. `outcomes` are documents: rule, line, passed, reasons, measured."""

    report_id: str
    kind: Literal["merge", "commit", "check"]
    branch: str
    tree_id: str
    version: int
    passed: bool
    outcomes: tuple[Mapping[str, Any], ...]
    created_at: datetime


@dataclass(frozen=True)
class MeasuredAgreement:
    """How far the annotators of a sample's last consensus agreed, 0..1."""

    sample_id: str
    task_id: str
    agreement: float
    num_votes: int
    said_at: datetime
