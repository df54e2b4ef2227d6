"""REST models of mask storage: merges and what goes with them: gates, reverts, cherry-picks, blame."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from terrazzo_schema.rest.base import Box, Command, Hash, Text, View
from terrazzo_schema.rest.mask_storage import Flow, MaskSource, RefName

Ref = Annotated[str, Field(min_length=1, max_length=200, description="commit id, branch or tag")]
SampleId = Annotated[str, Field(max_length=100)]
MergeStrategy = Literal["adjudicate", "ours", "theirs", "fail"]
PickStrategy = Literal["ours", "theirs", "fail"]
MergeState = Literal["merged", "up_to_date", "fast_forward", "open", "refused", "abandoned"]


class BranchCreate(Command):
    name: RefName
    ref: Ref = "main"


class MergeCreate(Command):
    """Merge the version `source` into the branch `target`.

    A pixel that both changed to different classes is in conflict, and a sample that one side removed and the other
    changed. "adjudicate" makes a task of each sample in conflict and merges when all are decided; "ours" takes the
    target's class there, "theirs" the source's, "fail" refuses.
    With `dry_run` nothing is stored; `gates` then are rules to try instead of the project's.
    """

    source: Ref
    target: RefName = "main"
    message: Text | None = None
    strategy: MergeStrategy = "adjudicate"
    dry_run: bool = False
    gates: Annotated[str, Field(max_length=65_536)] | None = None


class ConflictView(View):
    """One sample in conflict. "pixels": both sides painted it; "removed": one did not keep it (null)."""

    conflict_id: str
    sample_id: str
    name: str
    kind: Literal["pixels", "removed"]
    num_pixels: int
    box: Box | None = Field(description="holds every pixel in conflict; null for a removed sample")
    boxes: list[Box] = Field(description="where the conflicts lie, tile by tile (at most 100)")
    flow: list[Flow] = Field(description="from the target's class to the source's, pixels in conflict")
    base_mask_id: str | None = Field(description="what both sides started from; null: both added the sample")
    ours_mask_id: str | None
    theirs_mask_id: str | None
    merged_mask_id: str | None = Field(description="all that could be merged; the target's class in conflict")
    state: Literal["open", "resolved", "withdrawn"]
    mask_id: str | None = Field(description="the ruling, once it is resolved; null: open, or to be removed")
    resolved_by: str | None


class GateOutcome(View):
    rule: str
    line: int = Field(description="where the gates file has it")
    passed: bool
    reasons: list[str]
    measured: dict[str, float]


class GateReportView(View):
    """What the gates said of a proposed version. `version` is the gates file's; 0: rules of a dry run."""

    report_id: str
    kind: Literal["merge", "commit", "check"]
    branch: str
    tree_id: str
    version: int
    passed: bool
    outcomes: list[GateOutcome]
    created_at: datetime


class MergeView(View):
    """A merge. `state` of a dry run is what would become of it; it has no `merge_id`, as when nothing is new."""

    merge_id: str | None
    state: MergeState
    source: str
    source_commit_id: str
    target: str
    target_commit_id: str | None = Field(description="the branch's head that it was merged with")
    base_commit_ids: list[str] = Field(description="the merge base; several: they were merged into a virtual one")
    strategy: MergeStrategy
    message: str
    author: str
    commit_id: str | None
    num_changed: int = Field(description="samples that differ from the target branch")
    num_blended: int = Field(description="samples that both changed, merged pixel by pixel")
    num_conflicts: int
    num_resolved: int
    gates: GateReportView | None
    created_at: datetime
    closed_at: datetime | None
    conflicts: list[ConflictView] = Field(description="the first 100 by sample id")


class Resolution(Command):
    """A ruling on one sample: the target's mask, the source's, or `mask_id`."""

    sample_id: SampleId
    choose: Literal["ours", "theirs"] | None = None
    mask_id: Hash | None = None


class MergeComplete(Command):
    """Try again to complete a merge; `strategy` decides the conflicts that are still open."""

    strategy: Literal["ours", "theirs"] | None = None


class RevertCreate(Command):
    """Undo what a commit changed and keep what came after it. `parent`: the side of a merge to go back to."""

    ref: Ref
    branch: RefName = "main"
    message: Text | None = None
    parent: Annotated[int, Field(ge=1, le=16)] = 1
    strategy: PickStrategy = "fail"


class CherryPickCreate(Command):
    """Bring what `source` changed in these samples onto a branch."""

    source: Ref
    sample_ids: Annotated[list[SampleId], Field(min_length=1, max_length=100_000)]
    branch: RefName = "main"
    message: Text | None = None
    strategy: PickStrategy = "fail"


class GatesUpdate(Command):
    """The text of a gates file (YAML); empty: no gates."""

    text: Annotated[str, Field(max_length=65_536)]


class GatesView(View):
    """A project's gates. Version 0: none were ever set."""

    version: int
    text: str
    num_rules: int
    author: str | None
    created_at: datetime | None


class BlameGroup(View):
    """Pixels of a region that one party set to one class, in one commit."""

    class_id: int
    pixels: int
    box: Box
    commit_id: str
    committed_at: datetime
    mask_id: str
    source: MaskSource
    set_by: str
    set_by_kind: Literal["annotator", "model", "import", "consensus"]
    submission_id: str | None
    accepted_by: list[str]
    decided_by: str | None


class BlameRegionView(View):
    """Who set the pixels of a region; the largest share first. The groups' pixels add up to the region's."""

    sample_id: str
    ref_commit_id: str
    box: Box
    groups: list[BlameGroup]
