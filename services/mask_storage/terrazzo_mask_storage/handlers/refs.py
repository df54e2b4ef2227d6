"""Names of dataset versions: commit ids, branches, tags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.ports import Commit, Scope, Store
from terrazzo_schema.errors import NotFound, Unprocessable

MAIN = "main"
_COMMIT_ID = re.compile(r"[0-9a-f]{64}\Z")
_PREFIX = re.compile(r"[0-9a-f]{8,63}\Z")


def resolve(store: Store, scope: Scope, ref: str) -> Commit:
    """The commit that `ref` names: a full commit id, then a tag, a branch, then a prefix of 8 or more digits.

    Raises NotFound, NotKnownYet for a project of which nothing was heard, Unprocessable for an unclear prefix.
    """
    commit_id: str | None = ref if _COMMIT_ID.match(ref) else None
    if commit_id is None:
        tag = store.tag(scope, ref)
        commit_id = tag.commit_id if tag is not None else store.head(scope, ref)
    if commit_id is None and _PREFIX.match(ref):
        found = store.commits_like(scope, ref)
        if len(found) > 1:
            raise Unprocessable(
                f"several commits start with {ref}", field="ref", value=ref, remedy="give more of the commit id"
            )
        commit_id = found[0] if found else None
    commit = store.commit(scope, commit_id) if commit_id is not None else None
    if commit is None:
        known_project(store, scope)
        raise NotFound(
            f"{ref!r} is no commit, tag or branch of this dataset"
            + (" yet: nothing was committed" if ref == MAIN else ""),
            field="ref",
            value=ref,
            remedy="list the branches and tags",
        )
    return commit


def base_of(store: Store, scope: Scope, branch: str) -> Commit | None:
    """What the branch's next commit stands on: its head, else main's head (a new branch starts there)."""
    head = store.head(scope, branch) or store.head(scope, MAIN)
    return store.commit(scope, head) if head is not None else None


def ancestry(store: Store, scope: Scope, commit: Commit) -> Iterator[Commit]:
    """The commit, its first parent, and so on to the first."""
    current: Commit | None = commit
    while current is not None:
        yield current
        current = store.commit(scope, current.parent_ids[0]) if current.parent_ids else None
