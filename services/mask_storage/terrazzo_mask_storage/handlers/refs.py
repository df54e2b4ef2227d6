"""Names of dataset versions: commit ids, branches, tags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.ports import Commit, Scope, Store
from terrazzo_schema.errors import NotFound, Unprocessable

MAIN = "main"
_AHEAD_MIN, _AHEAD_MAX = 32, 512
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
    ahead = _Ahead(store, scope)
    current = commit
    yield current
    while current.parent_ids:
        current = ahead.commit(current.parent_ids[0], current.created_at)
        yield current


def history(store: Store, scope: Scope, commit: Commit) -> Iterator[Commit]:
    """The commit and all that it comes from, by way of any parent: newest first."""
    ahead = _Ahead(store, scope)
    waiting = [_by_age(commit, 0)]
    seen = {commit.commit_id}
    for number in count(1):
        if not waiting:
            return
        current = heappop(waiting)[-1]
        yield current
        for parent_id in current.parent_ids:
            if parent_id not in seen:
                seen.add(parent_id)
                heappush(waiting, _by_age(ahead.commit(parent_id, current.created_at), number))


def _by_age(commit: Commit, number: int) -> tuple[float, int, str, Commit]:
    """The newest first; of one moment, the one that was named first."""
    return -commit.created_at.timestamp(), number, commit.commit_id, commit


class _Ahead:
    """Commits, read some at a time on the way back in time: those just before are most likely asked for next."""

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store, self._scope = store, scope
        self._known: dict[str, Commit] = {}
        self._num_ahead = _AHEAD_MIN

    def commit(self, commit_id: str, child_made_at: datetime) -> Commit:
        if commit_id not in self._known:
            found = self._store.commits_until(self._scope, child_made_at, self._num_ahead)
            self._known = {commit.commit_id: commit for commit in found}
            self._num_ahead = min(4 * self._num_ahead, _AHEAD_MAX)
        if commit_id not in self._known:
            self._known |= self._store.commits(self._scope, [commit_id])
        return self._known[commit_id]
