"""Reverts and cherry-picks: what a commit or a branch did to samples, undone or brought over, three-way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.merge_records import Report, Strategy
from terrazzo_mask_storage.domain.merging import merge_bases
from terrazzo_mask_storage.handlers.datasets import commit_view
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.gates import CommitRefused, keeping_reports
from terrazzo_mask_storage.handlers.merging.lineage import Version, base_tree, store_commit, store_parts
from terrazzo_mask_storage.handlers.merging.merges import Moved, conflict_problem, insist, plan_of_changes
from terrazzo_mask_storage.handlers.merging.three_way import Workshop
from terrazzo_mask_storage.handlers.refs import base_of, resolve
from terrazzo_mask_storage.ports import Commit, Scope, Store
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Once, Tx
from terrazzo_schema.errors import Conflict, NotFound, Unprocessable
from terrazzo_schema.rest.mask_storage import CommitView
from terrazzo_schema.rest.merges import CherryPickCreate, RevertCreate


@dataclass(frozen=True)
class _Work:
    """A three-way merge that makes an ordinary commit on `branch`."""

    branch: str
    base_tree_id: str | None
    theirs_tree_id: str | None
    strategy: Strategy
    message: str
    what: str
    only: frozenset[str] | None = None


def revert(deps: Deps, scope: Scope, command: RevertCreate, caller: Principal, once: Once | None) -> CommitView:
    """A commit that undoes `ref` on the branch: a merge of the branch with the commit before it, from the commit.

    Raises NotFound, Conflict when there is nothing to undo or later work is in the way, GatesRefused.
    """

    def work(store: Store, shop: Workshop, _ours: Commit) -> _Work:
        undone = resolve(store, scope, command.ref)
        parents = undone.parent_ids
        if command.parent > max(1, len(parents)):
            raise Unprocessable(
                f"commit {undone.commit_id[:12]} has {len(parents)} parents, not {command.parent}",
                field="parent",
                value=command.parent,
                remedy=f"1 to {max(1, len(parents))}",
            )
        before = store.commit(scope, parents[command.parent - 1]) if parents else None
        return _Work(
            command.branch,
            undone.tree_id,
            before.tree_id if before is not None else None,
            command.strategy,
            command.message or f"Revert {undone.commit_id[:12]}: {undone.message}"[:4_000],
            f"the revert of {undone.commit_id[:12]}",
        )

    return _commit(deps, scope, command.branch, work, caller, once)


def cherry_pick(
    deps: Deps, scope: Scope, command: CherryPickCreate, caller: Principal, once: Once | None
) -> CommitView:
    """A commit that brings what `source` did to these samples since it left the branch.

    Raises NotFound for a sample that neither side has, Conflict when there is nothing to bring or both changed the
    same pixels, GatesRefused.
    """
    only = frozenset(command.sample_ids)

    def work(store: Store, shop: Workshop, ours: Commit) -> _Work:
        source = resolve(store, scope, command.source)
        _refuse_unknown_samples(shop, (source.tree_id, ours.tree_id), only)
        graph = store.graph(scope)
        bases = sorted(merge_bases(graph, ours.commit_id, source.commit_id))
        return _Work(
            command.branch,
            base_tree(shop, graph, bases),
            source.tree_id,
            command.strategy,
            command.message or f"Pick {len(only)} samples from {command.source}",
            f"the pick from {command.source!r}",
            only,
        )

    return _commit(deps, scope, command.branch, work, caller, once)


def _refuse_unknown_samples(shop: Workshop, trees: tuple[str, str], sample_ids: Collection[str]) -> None:
    missing = set(sample_ids)
    for tree_id in trees:
        missing -= versions.find_many(tree_id, missing, shop.parts.node, shop.parts.prefetch).keys()
    if missing:
        sample_id = min(missing)
        raise NotFound(f"sample {sample_id} is in neither version", field="sample_ids", value=sample_id)


def _commit(
    deps: Deps,
    scope: Scope,
    branch: str,
    work_of: Callable[[Store, Workshop, Commit], _Work],
    caller: Principal,
    once: Once | None,
) -> CommitView:
    author = caller.name or caller.key_id

    def attempt() -> CommitView:
        with deps.uow.read() as store:
            ours = base_of(store, scope, branch)
            if ours is None:
                resolve(store, scope, branch)
                raise AssertionError("resolve raises for a branch without a commit")
            shop = Workshop(deps, store, scope, author)
            work = work_of(store, shop, ours)
            merged = shop.merge(
                work.base_tree_id, ours.tree_id, work.theirs_tree_id, work.strategy, only=work.only
            )
            if merged.clashing:
                raise conflict_problem(store, scope, tuple(merged.clashing), work.what)
            if not merged.changes:
                raise Conflict(f"{work.what} changes nothing on {branch!r}", field="branch", value=branch)
            version, report = plan_of_changes(deps, shop, ours, merged, branch)
        if report is not None and not report.passed:
            raise CommitRefused(report, branch)
        return deps.uow.once(once, CommitView, lambda tx: _store(tx, scope, work, version, ours, author, report))

    with keeping_reports(deps, scope):
        return insist(deps, once, CommitView, attempt, branch)


def _store(
    tx: Tx[Store], scope: Scope, work: _Work, version: Version, ours: Commit, author: str, report: Report | None
) -> CommitView:
    tx.store.head_for_change(scope, work.branch)
    base = base_of(tx.store, scope, work.branch)
    if base is None or base.commit_id != ours.commit_id:
        raise Moved
    store_parts(tx, scope, version)
    if report is not None:
        tx.store.add_report(scope, report)
    made = store_commit(tx, scope, version, work.branch, (ours.commit_id,), work.message, author)
    return commit_view(made)
