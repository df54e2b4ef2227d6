"""Dataset versions: stage, commit, log, entries, tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import dropwhile, islice
from types import MappingProxyType
from typing import NamedTuple

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.gates import guard_commit
from terrazzo_mask_storage.handlers.parts import NewParts, reader
from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.handlers.refs import base_of, history, resolve
from terrazzo_mask_storage.ports import Commit, Mask, Scope, Store, Tag
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, NotFound, Unprocessable
from terrazzo_schema.events import CommitCreated, MaskStaged, TagCreated
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import (
    BranchView,
    CommitCreate,
    CommitView,
    Entry,
    StageCreate,
    StatusView,
    TagCreate,
    TagView,
)

STATUS_IDS_MAX = 10_000


class NothingStaged(Conflict):
    """There is nothing to commit."""


class Told(NamedTuple):
    """What a caller knows already, and a commit then does not look up.

    `images` are hashes by sample id, `masks` those just stored by id.
    """

    images: Mapping[str, str] = MappingProxyType({})
    masks: Mapping[str, Mask] = MappingProxyType({})


NOTHING_TOLD = Told()


def stage(tx: Tx[Store], deps: Deps, scope: Scope, command: StageCreate) -> StatusView:
    """Put masks on a branch's working set by hand. Raises Unprocessable that names the item."""
    known_project(tx.store, scope)
    items = {item.sample_id: item.mask_id for item in command.items}
    stage_items(tx, deps, scope, command.branch, items)
    return status(tx.store, scope, command.branch)


def stage_items(tx: Tx[Store], deps: Deps, scope: Scope, branch: str, items: Mapping[str, str | None]) -> None:
    """Stage `items` (sample id -> mask id, None removes). What the branch's head says already is not staged.

    Raises Unprocessable for a sample or a mask that is not there, or a mask of another size than its image.
    """
    _refuse_misfits(tx.store, scope, items)
    base = base_of(tx.store, scope, branch)
    committed: dict[str, TreeEntry] = {}
    if base is not None:
        read = reader(tx.store, deps.packs, scope.organisation_id)
        committed = versions.find_many(base.tree_id, items, read.node, read.prefetch)
    stage_fitting(tx, scope, branch, items, committed)


def stage_fitting(
    tx: Tx[Store],
    scope: Scope,
    branch: str,
    items: Mapping[str, str | None],
    committed: Mapping[str, TreeEntry],
) -> None:
    """As `stage_items`, of masks that fit their images; `committed`: what the branch's head says of them."""
    changed = {s: mask_id for s, mask_id in items.items() if mask_id != _mask_of(committed.get(s))}
    tx.store.unstage(scope, branch, items.keys() - changed.keys())
    tx.store.stage(scope, branch, changed)
    tx.publish_many(
        [(MaskStaged(sample_id=s, mask_id=mask_id or "", branch=branch), s) for s, mask_id in items.items()],
        organisation_id=scope.organisation_id,
        project_id=scope.project_id,
    )


def _mask_of(entry: TreeEntry | None) -> str | None:
    return None if entry is None else entry.mask_id


def _refuse_misfits(store: Store, scope: Scope, items: Mapping[str, str | None]) -> None:
    images = store.shown(scope, items)
    masks = store.mask_sizes(scope, [mask_id for mask_id in items.values() if mask_id is not None])
    for sample_id, mask_id in items.items():
        image = images.get(sample_id)
        if image is None:
            raise Unprocessable(f"no sample {sample_id} in this project", field="sample_id", value=sample_id)
        if mask_id is None:
            continue
        mask = masks.get(mask_id)
        if mask is None:
            raise Unprocessable(f"no mask {mask_id} in this project", field="mask_id", value=mask_id)
        if mask != (image.height, image.width):
            raise Unprocessable(
                f"the mask of sample {sample_id} is {mask[0]} x {mask[1]}, its image is "
                f"{image.height} x {image.width}",
                field="mask_id",
                value=mask_id,
                remedy="stage a mask of the image's size",
            )


def status(store: Store, scope: Scope, branch: str) -> StatusView:
    """The branch's working set. A branch without a commit of its own stands on main's head."""
    known_project(store, scope)
    base = base_of(store, scope, branch)
    staged = store.staged(scope, branch)
    return StatusView(
        branch=branch,
        head=base.commit_id if base else None,
        num_samples=base.num_samples if base else 0,
        staged=len(staged),
        staged_masks=dict(islice(staged.items(), STATUS_IDS_MAX)),
    )


def commit(
    tx: Tx[Store], deps: Deps, scope: Scope, command: CommitCreate, caller: Principal, told: Told = NOTHING_TOLD
) -> CommitView:
    """Make the staged masks (or those of `sample_ids` that are staged) a new version.

    Raises Conflict, CommitRefused by the gates.
    """
    known_project(tx.store, scope)
    tx.store.head_for_change(scope, command.branch)  # a merge or another commit waits until this one is done
    staged = tx.store.staged(scope, command.branch)
    if command.sample_ids is not None:
        wanted = set(command.sample_ids)
        staged = {sample_id: mask_id for sample_id, mask_id in staged.items() if sample_id in wanted}
    if not staged:
        which = "" if command.sample_ids is None else " of these samples"
        raise NothingStaged(
            f"nothing is staged on {command.branch!r}{which}",
            field="sample_ids" if command.sample_ids is not None else "branch",
            remedy="stage masks first, or let tasks be accepted",
        )
    base = base_of(tx.store, scope, command.branch)
    made = _commit_of(tx, deps, scope, command, staged, base, caller, told)
    guard_commit(tx, deps, scope, made, base)
    tx.store.add_commit(scope, made)
    tx.store.set_head(scope, command.branch, made.commit_id)
    tx.store.unstage(scope, command.branch, staged)
    tx.publish(
        CommitCreated(
            commit_id=made.commit_id,
            branch=made.branch,
            tree_id=made.tree_id,
            parent_ids=list(made.parent_ids),
            num_samples=made.num_samples,
            num_changed=made.num_changed,
        ),
        key=scope.project_id,
        organisation_id=scope.organisation_id,
        project_id=scope.project_id,
    )
    return commit_view(made)


def _commit_of(
    tx: Tx[Store],
    deps: Deps,
    scope: Scope,
    command: CommitCreate,
    staged: Mapping[str, str | None],
    base: Commit | None,
    caller: Principal,
    told: Told,
) -> Commit:
    """Write the new version's tree (its new nodes alone), and say what the commit is."""
    shown = tx.store.shown(scope, staged.keys() - told.images.keys())
    images = {**told.images, **{sample_id: image.image_hash for sample_id, image in shown.items()}}
    changes = {
        sample_id: None if mask_id is None else TreeEntry(sample_id, images[sample_id], mask_id)
        for sample_id, mask_id in staged.items()
    }
    nodes = NewParts(reader(tx.store, deps.packs, scope.organisation_id))
    edit = versions.edit(base.tree_id if base else None, changes, nodes.node, nodes.put, nodes.prefetch)
    nodes.write_blobs(tx.store, deps.blobs, scope.organisation_id)
    nodes.add_rows(tx.store, scope.organisation_id)
    tree, old = edit.tree, edit.before
    parent_ids = (base.commit_id,) if base else ()
    author = caller.name or caller.key_id
    now = deps.clock.now()
    return Commit(
        versions.commit_id_of(
            tree.tree_id, parent_ids, (scope.project_id, command.branch), command.message, author, now
        ),
        tree.tree_id,
        command.branch,
        parent_ids,
        command.message,
        author,
        tree.num_entries,
        sum(1 for sample_id, entry in changes.items() if entry != old.get(sample_id)),
        _recount(tx.store, scope, base.counts if base else {}, old, changes, told),
        now,
    )


def _recount(
    store: Store,
    scope: Scope,
    counts: Mapping[int, int],
    old: Mapping[str, TreeEntry | None],
    new: Mapping[str, TreeEntry | None],
    told: Told,
) -> dict[int, int]:
    """Pixels per class of the version, from its parent's: no mask is decoded, and unchanged ones not looked at."""
    total, weights = Counter(counts), Counter[str]()
    for sample_id, entry in new.items():
        before, after = _mask_of(old.get(sample_id)), _mask_of(entry)
        mask = None if after is None else told.masks.get(after)
        if mask is not None and mask.flow is not None and mask.base_mask_id == before:
            for (was, is_now), pixels in mask.flow.items():
                total[was] -= pixels
                total[is_now] += pixels
            continue
        if before is not None:
            weights[before] -= 1
        if mask is not None:
            total.update(mask.counts)
        elif after is not None:
            weights[after] += 1
    total.update(store.total_counts(scope, weights))
    return {class_id: pixels for class_id, pixels in sorted(total.items()) if pixels}


def commit_view(commit: Commit) -> CommitView:
    return CommitView(
        commit_id=commit.commit_id,
        tree_id=commit.tree_id,
        branch=commit.branch,
        parent_ids=list(commit.parent_ids),
        message=commit.message,
        author=commit.author,
        num_samples=commit.num_samples,
        num_changed=commit.num_changed,
        counts=dict(commit.counts),
        created_at=commit.created_at,
    )


def log(store: Store, scope: Scope, ref: str, cursor: str | None, limit: int) -> Page[CommitView]:
    """Commits from `ref` back to the first by way of any parent, newest first; from the commit `cursor` on."""
    behind = history(store, scope, resolve(store, scope, ref))
    if cursor is not None:
        behind = dropwhile(lambda commit: commit.commit_id != cursor, behind)
    found = list(islice(behind, limit + 1))
    return Page(
        items=[commit_view(commit) for commit in found[:limit]],
        next_cursor=found[limit].commit_id if len(found) > limit else None,
    )


def entries(deps: Deps, scope: Scope, ref: str, cursor: str | None, limit: int) -> Page[Entry]:
    """A page of a version's samples, by sample id."""
    with deps.uow.read() as store:
        commit = resolve(store, scope, ref)
        read = reader(store, deps.packs, scope.organisation_id)
        found = list(islice(versions.walk(commit.tree_id, read.node, cursor or "", read.prefetch), limit + 1))
        items = described(store, scope, found[:limit])
    return Page(items=items, next_cursor=items[-1].sample_id if len(found) > limit else None)


def entry(deps: Deps, scope: Scope, ref: str, sample_id: str) -> Entry:
    """One sample of a version. Raises NotFound."""
    with deps.uow.read() as store:
        commit = resolve(store, scope, ref)
        found = versions.find(commit.tree_id, sample_id, reader(store, deps.packs, scope.organisation_id))
        if found is None:
            raise NotFound(
                f"sample {sample_id} is not in {ref!r} ({commit.commit_id[:12]})",
                field="sample_id",
                value=sample_id,
            )
        return described(store, scope, [found])[0]


def described(store: Store, scope: Scope, found: Iterable[TreeEntry]) -> list[Entry]:
    """Entries with what is known of their images and masks, in the order given."""
    rows = list(found)
    images = store.images_of(scope, [row.sample_id for row in rows])
    masks = store.masks(scope, [row.mask_id for row in rows])
    return [
        Entry(
            sample_id=row.sample_id,
            name=images[row.sample_id].name,
            image_hash=row.image_hash,
            mask_id=row.mask_id,
            height=masks[row.mask_id].height,
            width=masks[row.mask_id].width,
            counts=dict(masks[row.mask_id].counts),
        )
        for row in rows
    ]


def tag(tx: Tx[Store], scope: Scope, command: TagCreate) -> TagView:
    """Name a commit for ever. The same tag again is the same; on another commit it is a Conflict."""
    commit = resolve(tx.store, scope, command.ref)
    known = tx.store.tag(scope, command.name)
    if known is not None and known.commit_id != commit.commit_id:
        raise Conflict(
            f"the tag {command.name!r} names commit {known.commit_id[:12]} already",
            field="name",
            value=command.name,
            remedy="tags do not move: choose another name",
        )
    if tx.store.head(scope, command.name) is not None:
        raise Conflict(
            f"{command.name!r} is a branch", field="name", value=command.name, remedy="choose another name"
        )
    if known is None:
        known = Tag(command.name, commit.commit_id, tx.clock.now())
        tx.store.add_tag(scope, known)
        tx.publish(
            TagCreated(tag=known.name, commit_id=known.commit_id),
            key=scope.project_id,
            organisation_id=scope.organisation_id,
            project_id=scope.project_id,
        )
    return tag_view(known)


def tag_view(known: Tag) -> TagView:
    return TagView(name=known.name, commit_id=known.commit_id, created_at=known.created_at)


def tags(store: Store, scope: Scope, cursor: str | None, limit: int) -> Page[TagView]:
    known_project(store, scope)
    found = store.tags(scope, cursor or "", limit + 1)
    items = [tag_view(known) for known in found[:limit]]
    return Page(items=items, next_cursor=items[-1].name if len(found) > limit else None)


def branches(store: Store, scope: Scope) -> Page[BranchView]:
    known_project(store, scope)
    found = store.branches(scope)
    return Page(items=[BranchView(name=name, commit_id=commit_id) for name, commit_id in found])
