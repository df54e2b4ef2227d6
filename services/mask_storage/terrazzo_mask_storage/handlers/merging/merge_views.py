"""Merges and conflicts as clients see them."""

from __future__ import annotations

from collections.abc import Sequence

from terrazzo_mask_storage.domain.merge_records import BoxTuple, Clashing, Conflict, Merge, Report
from terrazzo_mask_storage.handlers.merging.gates import report_view
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_schema.rest.base import Box
from terrazzo_schema.rest.mask_storage import Flow
from terrazzo_schema.rest.merges import ConflictView, MergeView

CONFLICTS_SHOWN = 100


def merge_view(store: Store, scope: Scope, merge: Merge) -> MergeView:
    report = store.report(scope, merge.report_id) if merge.report_id is not None else None
    shown = store.conflicts(scope, merge.merge_id, limit=CONFLICTS_SHOWN)
    return _view(merge, merge.merge_id, report, conflict_views(store, scope, shown))


def planned_view(
    store: Store, scope: Scope, draft: Merge, clashing: Sequence[Clashing], report: Report | None
) -> MergeView:
    """A dry run: nothing has an id."""
    conflicts = [Conflict("", "", found) for found in clashing[:CONFLICTS_SHOWN]]
    return _view(draft, None, report, conflict_views(store, scope, conflicts))


def _view(merge: Merge, merge_id: str | None, report: Report | None, conflicts: list[ConflictView]) -> MergeView:
    return MergeView(
        merge_id=merge_id,
        state=merge.state,
        source=merge.source,
        source_commit_id=merge.source_commit_id,
        target=merge.target,
        target_commit_id=merge.target_commit_id,
        base_commit_ids=list(merge.base_commit_ids),
        strategy=merge.strategy,
        message=merge.message,
        author=merge.author,
        commit_id=merge.commit_id,
        num_changed=merge.num_changed,
        num_blended=merge.num_blended,
        num_conflicts=merge.num_conflicts,
        num_resolved=merge.num_resolved,
        gates=report_view(report) if report is not None else None,
        created_at=merge.created_at,
        closed_at=merge.closed_at,
        conflicts=conflicts,
    )


def conflict_views(store: Store, scope: Scope, conflicts: Sequence[Conflict]) -> list[ConflictView]:
    images = store.images_of(scope, [conflict.clashing.sample_id for conflict in conflicts])
    return [
        ConflictView(
            conflict_id=conflict.conflict_id,
            sample_id=conflict.clashing.sample_id,
            name=images[conflict.clashing.sample_id].name,
            kind=conflict.clashing.kind,
            num_pixels=conflict.clashing.num_pixels,
            box=box_view(conflict.clashing.box) if conflict.clashing.box is not None else None,
            boxes=[box_view(box) for box in conflict.clashing.boxes],
            flow=[Flow(from_class=a, to_class=b, pixels=n) for a, b, n in conflict.clashing.flow],
            base_mask_id=conflict.clashing.base_mask_id,
            ours_mask_id=conflict.clashing.ours_mask_id,
            theirs_mask_id=conflict.clashing.theirs_mask_id,
            merged_mask_id=conflict.clashing.merged_mask_id,
            state=conflict.state,
            mask_id=conflict.mask_id,
            resolved_by=conflict.resolved_by,
        )
        for conflict in conflicts
    ]


def box_view(box: BoxTuple) -> Box:
    return Box(y=box[0], x=box[1], height=box[2], width=box[3])
