"""What people decide about a merge's conflicts, and what becomes of the merge then."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

from terrazzo_mask_storage.domain.merge_records import Conflict as ConflictRow
from terrazzo_mask_storage.domain.merge_records import Merge, Strategy
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.conflicts import say_withdrawn
from terrazzo_mask_storage.handlers.merging.merge_views import conflict_views, merge_view
from terrazzo_mask_storage.handlers.merging.merges import Moved, carry_out, close_merge, insist, make_plan
from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Once, Tx
from terrazzo_schema.errors import Conflict, CorruptInput, NotFound, NotKnownYet, TerrazzoError, Unprocessable
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.merges import ConflictView, MergeComplete, MergeView, Resolution

log = logging.getLogger("terrazzo.merges")
UNFINISHED = ("open", "refused")


@dataclass(frozen=True)
class Ruling:
    """A ConflictDecided that was heard. `mask_id` None: the sample is removed."""

    conflict_id: str
    mask_id: str | None
    decided_by: str


def known_merge(store: Store, scope: Scope, merge_id: str, *, for_change: bool = False) -> Merge:
    """Raises NotFound."""
    found = store.merge(scope, merge_id, for_change=for_change)
    if found is None:
        known_project(store, scope)
        raise NotFound(f"no merge {merge_id} in this project", field="merge_id", value=merge_id)
    return found


def merges(store: Store, scope: Scope, cursor: str | None, limit: int) -> Page[MergeView]:
    """Newest first."""
    known_project(store, scope)
    found = store.merges(scope, cursor, limit + 1)
    items = [merge_view(store, scope, merge) for merge in found[:limit]]
    return Page(items=items, next_cursor=found[limit - 1].merge_id if len(found) > limit else None)


def conflicts(store: Store, scope: Scope, merge_id: str, cursor: str | None, limit: int) -> Page[ConflictView]:
    """A merge's conflicts by sample id."""
    known_merge(store, scope, merge_id)
    found = store.conflicts(scope, merge_id, cursor or "", limit + 1)
    items = conflict_views(store, scope, found[:limit])
    return Page(items=items, next_cursor=items[-1].sample_id if len(found) > limit else None)


def hear_ruling(tx: Tx[Store], scope: Scope, ruling: Ruling) -> None:
    """A person decided. The first ruling stands; one on a conflict that was withdrawn changes nothing.

    Raises NotKnownYet while the mask is not here, CorruptInput for a mask of another size, and for removing a
    sample that both sides have.
    """
    conflict = tx.store.conflict(scope, ruling.conflict_id, for_change=True)
    if conflict is None:
        raise NotKnownYet(f"no conflict {ruling.conflict_id}", field="conflict_id", value=ruling.conflict_id)
    if conflict.state != "open":
        return
    if ruling.mask_id is None:
        if conflict.clashing.kind != "removed":
            raise CorruptInput(f"no side removed the sample of {ruling.conflict_id}", field="removed", value=True)
    else:
        _refuse_unusable(tx.store, scope, conflict, ruling.mask_id)
    _resolve(tx, scope, conflict, ruling.mask_id, ruling.decided_by)


def _refuse_unusable(store: Store, scope: Scope, conflict: ConflictRow, mask_id: str) -> None:
    if store.mask(scope, mask_id) is None:
        raise NotKnownYet(f"no mask {mask_id} yet", field="mask_id", value=mask_id)
    try:
        _refuse_misfit(store, scope, conflict, mask_id)
    except Unprocessable as error:
        raise CorruptInput(error.detail, field="mask_id", value=mask_id) from error


def resolve_by_hand(
    tx: Tx[Store], scope: Scope, merge_id: str, command: Resolution, caller: Principal
) -> MergeView:
    """A manager's ruling on one sample; its task, if there is one, is called off.

    Raises NotFound, Conflict when it was decided before, Unprocessable for a mask that is not the sample's.
    """
    known_merge(tx.store, scope, merge_id, for_change=True)
    rows = [c for c in tx.store.conflicts(scope, merge_id) if c.clashing.sample_id == command.sample_id]
    if not rows:
        raise NotFound(
            f"sample {command.sample_id} is in no conflict of this merge",
            field="sample_id",
            value=command.sample_id,
        )
    conflict = next((row for row in rows if row.state == "open"), None)
    if conflict is None:
        raise Conflict(
            f"the conflict of sample {command.sample_id} is decided", field="sample_id", value="resolved"
        )
    if (command.choose is None) == (command.mask_id is None):
        raise Unprocessable("give either `choose` or `mask_id`", field="choose", value=command.choose)
    mask_id = command.mask_id
    if command.choose is not None:
        clashing = conflict.clashing
        mask_id = clashing.ours_mask_id if command.choose == "ours" else clashing.theirs_mask_id
    if mask_id is not None:
        _refuse_misfit(tx.store, scope, conflict, mask_id)
    say_withdrawn(tx, scope, conflict)
    _resolve(tx, scope, conflict, mask_id, caller.name or caller.key_id)
    return merge_view(tx.store, scope, known_merge(tx.store, scope, merge_id))


def _refuse_misfit(store: Store, scope: Scope, conflict: ConflictRow, mask_id: str) -> None:
    sample_id = conflict.clashing.sample_id
    image = store.images_of(scope, [sample_id])[sample_id]
    mask = store.mask(scope, mask_id)
    if mask is None:
        raise Unprocessable(f"no mask {mask_id} in this project", field="mask_id", value=mask_id)
    if (mask.height, mask.width) != (image.height, image.width):
        raise Unprocessable(
            f"the mask is {mask.height} x {mask.width}, the image {image.height} x {image.width}",
            field="mask_id",
            value=mask_id,
            remedy="give a mask of the image's size",
        )


def _resolve(tx: Tx[Store], scope: Scope, conflict: ConflictRow, mask_id: str | None, by: str) -> None:
    tx.store.change_conflict(scope, replace(conflict, state="resolved", mask_id=mask_id, resolved_by=by))
    merge = tx.store.merge(scope, conflict.merge_id, for_change=True)
    assert merge is not None, "a conflict has a merge"
    tx.store.change_merge(scope, replace(merge, num_resolved=merge.num_resolved + 1))


def complete(
    deps: Deps, scope: Scope, merge_id: str, command: MergeComplete, by: str | None, once: Once | None = None
) -> MergeView:
    """Work the merge out again on the branch as it is, with what was decided.

    It is merged, refused by the gates, or open still: because of what is undecided, or of new conflicts. `command`
    may decide what is left. Raises NotFound, Conflict for a merge that is over.
    """

    def attempt() -> MergeView:
        with deps.uow.read() as store:
            merge = known_merge(store, scope, merge_id)
            if merge.state not in UNFINISHED:
                raise Conflict(f"the merge is {merge.state}", field="state", value=merge.state)
            source = store.commit(scope, merge.source_commit_id)
            assert source is not None, "commits are never removed"
            rulings = {
                c.clashing.key: c.mask_id for c in store.conflicts(scope, merge_id) if c.state == "resolved"
            }
            strategy: Strategy = command.strategy or "adjudicate"
            plan = make_plan(
                deps, store, scope, source, merge.target, strategy, merge.author, rulings=rulings
            )  # fmt: skip
        decider = by if command.strategy is not None else None

        def act(tx: Tx[Store]) -> MergeView:
            if tx.store.merge(scope, merge_id, for_change=True) != merge:
                raise Moved
            return merge_view(tx.store, scope, carry_out(tx, scope, merge, plan, decider))

        return deps.uow.once(once, MergeView, act)

    return insist(deps, once, MergeView, attempt, merge_id)


def complete_decided(deps: Deps, limit: int = 8) -> int:
    """Complete open merges of which every conflict is decided. Returns how many were.

    One that can't be completed now (somebody else did it, the disk is full, a part is damaged) is logged and is
    found again; it stands in no other's way.
    """
    with deps.uow.read() as store:
        waiting = store.decided_merges(limit)
    num_done = 0
    for scope, merge_id in waiting:
        try:
            complete(deps, scope, merge_id, MergeComplete(), None)
            num_done += 1
        except TerrazzoError as error:
            log.warning("the merge %s is decided, and not completed yet: %s", merge_id, error.detail)
    return num_done


def abandon(tx: Tx[Store], scope: Scope, merge_id: str) -> MergeView:
    """Give a merge up; its tasks are called off. Twice is once. Raises Conflict for a merge that was made."""
    merge = known_merge(tx.store, scope, merge_id, for_change=True)
    if merge.state == "abandoned":
        return merge_view(tx.store, scope, merge)
    if merge.state not in UNFINISHED:
        raise Conflict(f"the merge is {merge.state}", field="state", value=merge.state)
    for conflict in tx.store.conflicts(scope, merge_id):
        if conflict.state == "open":
            say_withdrawn(tx, scope, conflict)
            tx.store.change_conflict(scope, replace(conflict, state="withdrawn"))
    state: Literal["abandoned"] = "abandoned"
    return merge_view(tx.store, scope, close_merge(tx, scope, replace(merge, state=state)))
