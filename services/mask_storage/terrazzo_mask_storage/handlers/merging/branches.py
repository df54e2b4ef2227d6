"""Branches: names of commits that move."""

from __future__ import annotations

from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.handlers.refs import MAIN, resolve
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, NotFound
from terrazzo_schema.rest.mask_storage import BranchView
from terrazzo_schema.rest.merges import BranchCreate


def create_branch(tx: Tx[Store], scope: Scope, command: BranchCreate) -> BranchView:
    """A branch at a commit. The same again is the same. Raises NotFound, Conflict for a name that is taken."""
    commit = resolve(tx.store, scope, command.ref)
    head = tx.store.head_for_change(scope, command.name)
    if head is not None and head != commit.commit_id:
        raise Conflict(
            f"the branch {command.name!r} is at {head[:12]} already",
            field="name",
            value=command.name,
            remedy="choose another name, or merge into it",
        )
    if tx.store.tag(scope, command.name) is not None:
        raise Conflict(
            f"{command.name!r} is a tag", field="name", value=command.name, remedy="choose another name"
        )
    if head is None:
        tx.store.set_head(scope, command.name, commit.commit_id)
    return BranchView(name=command.name, commit_id=commit.commit_id)


def delete_branch(tx: Tx[Store], scope: Scope, name: str, force: bool) -> BranchView:
    """Take the name away; commits stay, and can be reached by their ids.

    Raises NotFound, and Conflict for main, for a branch that an open merge goes into, and (unless `force`) for one
    with staged samples, whose working set would be lost.
    """
    known_project(tx.store, scope)
    head = tx.store.head_for_change(scope, name)
    if head is None:
        raise NotFound(f"there is no branch {name!r}", field="name", value=name)
    if name == MAIN:
        raise Conflict("main can't be deleted", field="name", value=name)
    waiting = tx.store.open_merges_into(scope, name)
    if waiting:
        raise Conflict(
            f"the merge {waiting[0].merge_id} into {name!r} is open",
            field="name",
            value=name,
            remedy="complete or abandon the merge first",
        )
    num_staged = len(tx.store.staged(scope, name))
    if num_staged and not force:
        raise Conflict(
            f"{num_staged} samples are staged on {name!r}",
            field="name",
            value=name,
            remedy="commit them, or delete with force=true",
        )
    tx.store.remove_branch(scope, name)
    return BranchView(name=name, commit_id=head)
