"""Conflicts of a merge: kept in step with how the merge stands, and said to those who have them decided."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from terrazzo_mask_storage.domain.merge_records import Clashing, Conflict, Merge
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.merging.lineage import Version
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_masks.parts import digest_of
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.events import ConflictFound, ConflictWithdrawn, Region, SampleRef


def conflict_id_of(merge_id: str, clashing: Clashing, turn: int) -> str:
    """`turn`: how often this conflict of this merge was found and withdrawn before."""
    said = "\n".join([merge_id, str(turn), *(part or "" for part in clashing.key)])
    return f"cfl_{digest_of(said.encode())[:26]}"


def settle_conflicts(
    tx: Tx[Store], scope: Scope, merge: Merge, version: Version | None, by: str | None
) -> tuple[int, int]:
    """Add the conflicts that are new, drop those that are none any more; (conflicts, those decided).

    `by`: who has decided all that were open, as the version says.
    """
    rows = tx.store.conflicts(scope, merge.merge_id, withdrawn=True)
    known = {c.clashing.key: c for c in rows if c.state != "withdrawn"}
    turns = Counter(c.clashing.key for c in rows if c.state == "withdrawn")
    found = {c.key: c for c in version.clashing} if version is not None else {}
    ruled = version.ruled if version is not None else ()
    num_resolved = 0
    for key, conflict in known.items():
        if conflict.state == "resolved" and key in ruled:
            num_resolved += 1
        elif conflict.state == "open" and key not in found:
            num_resolved += _end(tx, scope, conflict, version, by)
        elif conflict.state == "resolved" and key not in ruled:
            tx.store.change_conflict(scope, replace(conflict, state="withdrawn"))
    new = [
        Conflict(conflict_id_of(merge.merge_id, clashing, turns[key]), merge.merge_id, clashing)
        for key, clashing in found.items()
        if key not in known
    ]
    tx.store.add_conflicts(scope, new)
    say_found(tx, scope, new)
    return num_resolved + len(found), num_resolved


def _end(tx: Tx[Store], scope: Scope, conflict: Conflict, version: Version | None, by: str | None) -> int:
    """An open conflict that is open no more: decided by somebody (1), or gone with what was in conflict (0)."""
    say_withdrawn(tx, scope, conflict)
    if by is None or version is None:
        tx.store.change_conflict(scope, replace(conflict, state="withdrawn"))
        return 0
    sample_id = conflict.clashing.sample_id
    entry: TreeEntry | None
    if sample_id in version.changes:
        entry = version.changes[sample_id]
        mask_id = entry.mask_id if entry is not None else None
    else:
        mask_id = conflict.clashing.ours_mask_id
    tx.store.change_conflict(scope, replace(conflict, state="resolved", mask_id=mask_id, resolved_by=by))
    return 1


def say_found(tx: Tx[Store], scope: Scope, conflicts: list[Conflict]) -> None:
    """Ask for people's rulings. Of a sample that one side removed they are shown the other side, whole."""
    images = tx.store.images_of(scope, [conflict.clashing.sample_id for conflict in conflicts])
    for conflict in conflicts:
        clashing = conflict.clashing
        image = images[clashing.sample_id]
        y, x, height, width = clashing.box or (0, 0, image.height, image.width)
        tx.publish(
            ConflictFound(
                conflict_id=conflict.conflict_id,
                merge_id=conflict.merge_id,
                sample=SampleRef(
                    sample_id=image.sample_id, image_hash=image.image_hash, height=image.height, width=image.width
                ),
                region=Region(y=y, x=x, height=height, width=width),
                base_mask_id=clashing.base_mask_id or "",
                ours_mask_id=clashing.ours_mask_id or "",
                theirs_mask_id=clashing.theirs_mask_id or "",
                merged_mask_id=clashing.shown_mask_id,
                num_pixels=clashing.num_pixels,
            ),
            key=clashing.sample_id,
            organisation_id=scope.organisation_id,
            project_id=scope.project_id,
        )


def say_withdrawn(tx: Tx[Store], scope: Scope, conflict: Conflict) -> None:
    tx.publish(
        ConflictWithdrawn(
            conflict_id=conflict.conflict_id, merge_id=conflict.merge_id, sample_id=conflict.clashing.sample_id
        ),
        key=conflict.clashing.sample_id,
        organisation_id=scope.organisation_id,
        project_id=scope.project_id,
    )
