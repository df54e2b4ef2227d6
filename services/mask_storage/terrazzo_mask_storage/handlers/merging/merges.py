"""Merging one version into a branch: worked out beside the database, then stored in one transaction.

A merge without conflicts is a commit with two parents. One with conflicts is stored *open*: each sample in
conflict becomes a task (said as ConflictFound), and when the last one is decided the merge is worked out again on
the branch as it is then (handlers/merging/rulings.py). What people decided stays decided while the masks stay
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.merge_records import Clashing, Merge, Report, State, Strategy
from terrazzo_mask_storage.domain.merging import merge_bases
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.conflicts import settle_conflicts
from terrazzo_mask_storage.handlers.merging.gates import checks_for, run_checks
from terrazzo_mask_storage.handlers.merging.lineage import (
    Version,
    base_tree,
    move_head,
    store_commit,
    store_parts,
    write_version,
)
from terrazzo_mask_storage.handlers.merging.merge_views import merge_view, planned_view
from terrazzo_mask_storage.handlers.merging.proposals import VersionProposal
from terrazzo_mask_storage.handlers.merging.three_way import Merged, Rulings, Workshop
from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Commit, Scope, Store
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import AlreadyAnswered, Once, Tx
from terrazzo_schema.errors import Conflict, NotFound
from terrazzo_schema.events import MergeClosed, MergeOpened
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.merges import MergeCreate, MergeView

TRIES = 8
V = TypeVar("V", bound=BaseModel)


class Moved(Exception):
    """The branch, or the merge, is not what it was when the merge was worked out."""


@dataclass(frozen=True)
class Plan:
    """Worked out. `ours` None: there is no branch yet; `unstaged`: what is staged, as the source has it."""

    source: Commit
    ours: Commit | None
    bases: tuple[str, ...]
    state: State
    version: Version | None = None
    num_changed: int = 0
    report: Report | None = None
    unstaged: Mapping[str, TreeEntry | None] | None = None
    staged_over: tuple[str, ...] = ()

    @property
    def clashing(self) -> tuple[Clashing, ...]:
        return tuple(self.version.clashing) if self.version is not None else ()


def merge(deps: Deps, scope: Scope, command: MergeCreate, caller: Principal, once: Once | None) -> MergeView:
    """Merge `source` into `target`.

    Raises NotFound, Conflict for conflicts under "fail" and for staged masks that the merge would be lost under,
    InvalidGates for rules to try that have mistakes.
    """
    author = caller.name or caller.key_id

    def attempt() -> MergeView:
        with deps.uow.read() as store:
            known_project(store, scope)
            source = resolve(store, scope, command.source)
            tried = command.gates if command.dry_run else None
            if tried is not None:
                checks_for(store, deps, scope, "merge", command.target, tried)  # mistakes come first
            plan = make_plan(
                deps, store, scope, source, command.target, command.strategy, author,
                keep=not command.dry_run, tried=tried,
            )  # fmt: skip
            draft = _draft(deps, command, plan, author)
            if command.dry_run:
                return planned_view(store, scope, draft, plan.clashing, plan.report)
            if command.strategy == "fail" and plan.clashing:
                raise conflict_problem(store, scope, plan.clashing, f"the merge into {command.target!r}")
            _refuse_staged_over(plan, command.target)
        return deps.uow.once(once, MergeView, lambda tx: _begin(tx, scope, draft, plan))

    return insist(deps, once, MergeView, attempt, command.target)


def insist(deps: Deps, once: Once | None, view: type[V], attempt: Callable[[], V], branch: str) -> V:
    """The answer that this request got before, or a new one: worked out again while others move the branch.

    Raises Conflict after some tries.
    """
    try:
        if once is not None:
            with deps.uow.begin(once=once):
                pass
    except AlreadyAnswered as done:
        return view.model_validate_json(done.answer)
    for _ in range(TRIES):
        try:
            return attempt()
        except Moved:
            continue
    raise Conflict(f"the branch {branch!r} moved {TRIES} times meanwhile", field="target", remedy="try again")


def make_plan(
    deps: Deps,
    store: Store,
    scope: Scope,
    source: Commit,
    target: str,
    strategy: Strategy,
    author: str,
    *,
    rulings: Rulings | None = None,
    keep: bool = True,
    tried: str | None = None,
) -> Plan:
    """Compare both sides with where they come from. Raises NotFound for a branch that is not there (but main)."""
    ours = _head_of(store, scope, target)
    if ours is None:
        graph: Mapping[str, tuple[str, ...]] = {}
        bases: tuple[str, ...] = ()
    else:
        graph = store.graph(scope)
        bases = tuple(sorted(merge_bases(graph, ours.commit_id, source.commit_id)))
        if source.commit_id in bases:
            return Plan(source, ours, bases, "up_to_date")
    shop = Workshop(deps, store, scope, author)
    if ours is None or ours.commit_id in bases:
        return _forward(deps, shop, Plan(source, ours, bases, "fast_forward"), target, tried, keep)
    base = base_tree(shop, graph, bases)
    merged = shop.merge(base, ours.tree_id, source.tree_id, strategy, rulings=rulings)
    version = write_version(shop, ours, merged, keep)
    state: State = "open" if merged.clashing else "merged"
    over = _staged_over(shop, target, merged.changes)
    plan = Plan(source, ours, bases, state, version, len(merged.changes), staged_over=over)
    if strategy == "fail" and merged.clashing:
        plan = replace(plan, state="refused")
    # An open merge is not the version that will be: the gates look when people have decided. A dry run looks now.
    return plan if merged.clashing and keep else _checked(deps, shop, plan, target, version, tried, keep)


def _forward(deps: Deps, shop: Workshop, plan: Plan, target: str, tried: str | None, keep: bool) -> Plan:
    """The branch has nothing of its own: it moves to the source's commit."""
    source, old_tree = plan.source, plan.ours.tree_id if plan.ours is not None else None
    read = (shop.parts.node, shop.parts.prefetch)
    num_changed = sum(1 for _ in versions.compare(old_tree, source.tree_id, *read))
    staged = shop.store.staged(shop.scope, target)
    there = versions.find_many(source.tree_id, staged, *read)
    unstaged = {sample_id: there.get(sample_id) for sample_id in staged}
    version = Version(source.tree_id, source.num_samples, num_changed, source.counts, (), (), (), unstaged, shop)
    before = versions.find_many(old_tree, staged, *read) if old_tree is not None else {}
    changed = {s: entry for s, entry in unstaged.items() if entry != before.get(s)}
    over = _staged_over(shop, target, changed)
    plan = replace(plan, num_changed=num_changed, unstaged=unstaged, staged_over=over)
    return _checked(deps, shop, plan, target, version, tried, keep)


def _checked(
    deps: Deps, shop: Workshop, plan: Plan, target: str, version: Version, tried: str | None, keep: bool
) -> Plan:
    checks = checks_for(shop.store, deps, shop.scope, "merge", target, tried)
    if checks is None:
        return plan
    proposal = proposal_of(version, target, plan.ours)
    report = run_checks(checks, proposal, deps, "merge" if keep else "check")
    return replace(plan, report=report, state=plan.state if report.passed else "refused")


def proposal_of(version: Version, branch: str, ours: Commit | None) -> VersionProposal:
    shop = version.workshop
    return VersionProposal(
        shop.store,
        shop.scope,
        branch,
        version.tree_id,
        ours.tree_id if ours is not None else None,
        version.num_samples,
        version.counts,
        shop.parts,
        shop.counts_of,
    )


def _head_of(store: Store, scope: Scope, branch: str) -> Commit | None:
    head = store.head(scope, branch)
    if head is None and branch != "main":
        raise NotFound(
            f"there is no branch {branch!r}", field="target", value=branch, remedy="create the branch first"
        )
    return store.commit(scope, head) if head is not None else None


def _draft(deps: Deps, command: MergeCreate, plan: Plan, author: str) -> Merge:
    message = command.message or f"Merge {command.source} into {command.target}"
    return Merge(
        merge_id=new_id("mrg"),
        state=plan.state,
        source=command.source,
        source_commit_id=plan.source.commit_id,
        target=command.target,
        target_commit_id=plan.ours.commit_id if plan.ours is not None else None,
        base_commit_ids=plan.bases,
        strategy=command.strategy,
        message=message,
        author=author,
        commit_id=None,
        num_changed=plan.num_changed,
        num_blended=len(plan.version.blended) if plan.version is not None else 0,
        num_conflicts=len(plan.clashing),
        num_resolved=0,
        report_id=None,
        created_at=deps.clock.now(),
    )


def _refuse_staged_over(plan: Plan, target: str) -> None:
    """The branch's next commit puts staged masks in place whole: what a merge painted in them would be gone."""
    if plan.staged_over:
        raise Conflict(
            f"{len(plan.staged_over)} samples that the merge changes are staged on {target!r} with other masks",
            field="target",
            value=min(plan.staged_over),
            remedy="commit what is staged first, or stage it anew after the merge",
        )


def _staged_over(shop: Workshop, target: str, changes: Mapping[str, TreeEntry | None]) -> tuple[str, ...]:
    """The samples of `changes` that are staged on the branch with another mask than they get."""
    staged = shop.store.staged(shop.scope, target)
    masks = {s: entry.mask_id if entry is not None else None for s, entry in changes.items() if s in staged}
    return tuple(s for s, mask_id in masks.items() if staged[s] != mask_id)


def _begin(tx: Tx[Store], scope: Scope, draft: Merge, plan: Plan) -> MergeView:
    if plan.state == "up_to_date":
        return planned_view(tx.store, scope, draft, (), None)  # there is nothing to keep
    if plan.state == "open":
        for known in tx.store.open_merges_into(scope, draft.target):
            if known.source_commit_id == draft.source_commit_id:
                return merge_view(tx.store, scope, known)  # it is being decided already: no second set of tasks
    tx.store.add_merge(scope, draft)
    made = carry_out(tx, scope, draft, plan, by=None)
    if made.state == "open":
        tx.publish(
            MergeOpened(
                merge_id=made.merge_id,
                source_commit_id=made.source_commit_id,
                target_branch=made.target,
                target_commit_id=made.target_commit_id or "",
                num_conflicts=made.num_conflicts,
            ),
            key=scope.project_id,
            organisation_id=scope.organisation_id,
            project_id=scope.project_id,
        )
    return merge_view(tx.store, scope, made)


def carry_out(tx: Tx[Store], scope: Scope, merge: Merge, plan: Plan, by: str | None) -> Merge:
    """Store what the plan came to. `by`: who decided the conflicts that were still open, if somebody did.

    Raises Moved when the branch is not where it was.
    """
    head = tx.store.head_for_change(scope, merge.target)
    if head != (plan.ours.commit_id if plan.ours is not None else None):
        raise Moved
    if plan.version is not None:
        store_parts(tx, scope, plan.version)
    if plan.report is not None:
        tx.store.add_report(scope, plan.report)
    num_conflicts, num_resolved = settle_conflicts(tx, scope, merge, plan.version, by)
    done = replace(
        merge,
        state=plan.state,
        target_commit_id=head,
        base_commit_ids=plan.bases,
        num_changed=plan.num_changed,
        num_blended=len(plan.version.blended) if plan.version is not None else 0,
        num_conflicts=num_conflicts,
        num_resolved=num_resolved,
        report_id=plan.report.report_id if plan.report is not None else None,
    )
    if plan.state == "merged":
        assert plan.version is not None and head is not None  # noqa: PT018 - one fact: there are two sides
        parents = (head, plan.source.commit_id)
        commit = store_commit(tx, scope, plan.version, merge.target, parents, merge.message, merge.author)
        done = replace(done, commit_id=commit.commit_id)
    elif plan.state == "fast_forward":
        move_head(tx, scope, merge.target, plan.source.commit_id, plan.unstaged or {})
        done = replace(done, commit_id=plan.source.commit_id)
    return close_merge(tx, scope, done)


def close_merge(tx: Tx[Store], scope: Scope, merge: Merge) -> Merge:
    """Keep the merge as it is now; one that is no longer open says so."""
    if merge.state != "open":
        merge = replace(merge, closed_at=tx.clock.now())
        tx.publish(
            MergeClosed(
                merge_id=merge.merge_id,
                state=merge.state,
                target_branch=merge.target,
                commit_id=merge.commit_id or "",
                num_conflicts=merge.num_conflicts,
            ),
            key=scope.project_id,
            organisation_id=scope.organisation_id,
            project_id=scope.project_id,
        )
    tx.store.change_merge(scope, merge)
    return merge


def conflict_problem(store: Store, scope: Scope, clashing: tuple[Clashing, ...], what: str) -> Conflict:
    """Names the samples in conflict (the first 50)."""
    images = store.images_of(scope, [found.sample_id for found in clashing[:50]])
    rows = []
    for found in clashing[:50]:
        image = images.get(found.sample_id)
        said = (
            f"{found.num_pixels} pixels" if found.kind == "pixels" else "removed on one side, changed on the other"
        )
        rows.append({"field": found.sample_id, "message": f"{image.name if image else found.sample_id}: {said}"})
    return Conflict(
        f"{what} has conflicts in {len(clashing)} samples: {'; '.join(row['message'] for row in rows[:3])}",
        field="strategy",
        value="fail",
        remedy="choose a strategy that decides them",
        errors=rows,
    )


def plan_of_changes(
    deps: Deps, shop: Workshop, ours: Commit | None, merged: Merged, branch: str
) -> tuple[Version, Report | None]:
    """A version that is not a merge's (a revert, a cherry-pick), and what the gates for commits say of it."""
    version = write_version(shop, ours, merged)
    checks = checks_for(shop.store, deps, shop.scope, "commit", branch)
    if checks is None:
        return version, None
    return version, run_checks(checks, proposal_of(version, branch, ours), deps, "commit")
