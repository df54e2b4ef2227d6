"""New versions from changed samples: the tree, its figures, and the commit that names it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.merge_records import Clashing
from terrazzo_mask_storage.domain.merging import merge_bases
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.merging.three_way import Blended, Key, Merged, Workshop
from terrazzo_mask_storage.ports import Commit, Scope, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.events import CommitCreated


@dataclass(frozen=True)
class Version:
    """A version that is worked out and whose blobs are written; `store_parts` adds its rows.

    `bases`: masks of a virtual base that are shown with a conflict.
    """

    tree_id: str
    num_samples: int
    num_changed: int
    counts: Mapping[int, int]
    blended: Sequence[Blended]
    clashing: Sequence[Clashing]
    ruled: Collection[Key]
    changes: Mapping[str, TreeEntry | None]
    workshop: Workshop
    bases: Sequence[Blended] = ()


def write_version(shop: Workshop, ours: Commit | None, merged: Merged, keep: bool = True) -> Version:
    """The tree of `ours` with what was merged; `keep` False stores nothing. Raises StorageFull."""
    tree_id = ours.tree_id if ours is not None else None
    edit = versions.edit(tree_id, merged.changes, shop.parts.node, shop.parts.put, shop.parts.prefetch)
    tree, old = edit.tree, edit.before
    shown = {clashing.base_mask_id for clashing in merged.clashing}
    bases = [made for made in shop.virtual if made.mask.mask_id in shown]
    written = shop.write([*merged.blended, *bases], keep)
    blended = written[: len(merged.blended)]
    gone = [entry.mask_id for entry in old.values() if entry is not None]
    come = [entry.mask_id for entry in merged.changes.values() if entry is not None]
    counts = _recount(shop, ours.counts if ours is not None else {}, gone, come)
    return Version(
        tree.tree_id,
        tree.num_entries,
        sum(entry != old.get(sample_id) for sample_id, entry in merged.changes.items()),
        counts,
        blended,
        merged.clashing,
        merged.ruled,
        merged.changes,
        shop,
        written[len(blended) :],
    )


def _recount(
    shop: Workshop, counts: Mapping[int, int], gone: Sequence[str], come: Sequence[str]
) -> dict[int, int]:
    counts_of = shop.counts_of({*gone, *come})
    total = dict(counts)
    for sign, mask_ids in ((-1, gone), (1, come)):
        for mask_id in mask_ids:
            for class_id, pixels in counts_of[mask_id].items():
                total[class_id] = total.get(class_id, 0) + sign * pixels
    return {class_id: pixels for class_id, pixels in sorted(total.items()) if pixels}


def store_parts(tx: Tx[Store], scope: Scope, version: Version) -> None:
    """The rows of the version's new nodes, tiles and masks."""
    version.workshop.parts.add_rows(tx.store, scope.organisation_id)
    new = [*version.blended, *version.bases]
    tx.store.add_masks(scope, [made.mask for made in new])
    tx.store.add_origins(scope, [(made.mask.mask_id, made.sample_id, made.origin) for made in new])


def store_commit(
    tx: Tx[Store],
    scope: Scope,
    version: Version,
    branch: str,
    parent_ids: tuple[str, ...],
    message: str,
    author: str,
) -> Commit:
    """Commit the version on the branch, and say so. What was staged and is now so is not staged any more."""
    now = tx.clock.now()
    place = (scope.project_id, branch)
    made = Commit(
        versions.commit_id_of(version.tree_id, parent_ids, place, message, author, now),
        version.tree_id,
        branch,
        parent_ids,
        message,
        author,
        version.num_samples,
        version.num_changed,
        version.counts,
        now,
    )
    tx.store.add_commit(scope, made)
    move_head(tx, scope, branch, made.commit_id, version.changes)
    tx.publish(
        CommitCreated(
            commit_id=made.commit_id,
            branch=branch,
            tree_id=made.tree_id,
            parent_ids=list(parent_ids),
            num_samples=made.num_samples,
            num_changed=made.num_changed,
        ),
        key=scope.project_id,
        organisation_id=scope.organisation_id,
        project_id=scope.project_id,
    )
    return made


def move_head(
    tx: Tx[Store], scope: Scope, branch: str, commit_id: str, changes: Mapping[str, TreeEntry | None]
) -> None:
    tx.store.set_head(scope, branch, commit_id)
    staged = tx.store.staged(scope, branch)
    same = [s for s, entry in changes.items() if s in staged and staged[s] == (entry.mask_id if entry else None)]
    tx.store.unstage(scope, branch, same)


def base_tree(shop: Workshop, graph: Mapping[str, tuple[str, ...]], bases: Sequence[str]) -> str | None:
    """The tree that both sides come from: none, one, or several merged into a virtual one (see domain/merging)."""
    commits = [commit for commit_id in bases if (commit := shop.store.commit(shop.scope, commit_id)) is not None]
    commits.sort(key=lambda commit: (commit.created_at, commit.commit_id))
    if not commits:
        return None
    tree_id, done = commits[0].tree_id, commits[0].commit_id
    for other in commits[1:]:
        below = base_tree(shop, graph, sorted(merge_bases(graph, done, other.commit_id)))
        merged = shop.merge(below, tree_id, other.tree_id, "ours")
        shop.virtual += merged.blended
        tree_id = versions.apply(
            tree_id, merged.changes, shop.parts.node, shop.parts.put, shop.parts.prefetch
        ).tree_id
    return tree_id
