"""Merging dataset versions: common ancestors, and what becomes of one sample that two sides touched.

Commits form a DAG, given as commit id -> ids of its parents. A merge of *ours* (the target branch) and *theirs*
(the source) compares both with their merge base: what one side alone changed is taken, what both changed alike is
taken once, and a sample whose mask both changed is merged pixel by pixel (`terrazzo_masks.merge`).

Two histories that were merged into each other crosswise have several best common ancestors. As git's recursive
strategy does, these are merged with each other into a *virtual base*, oldest first; where they are in conflict
the virtual base keeps what the older one says, so that the sides' own difference is found again, not lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from terrazzo_mask_storage.domain.versions import TreeEntry

Graph = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Change:
    """A sample that the source changed since the base: its entry on each of the three sides, None where absent."""

    sample_id: str
    base: TreeEntry | None
    ours: TreeEntry | None
    theirs: TreeEntry | None


@dataclass(frozen=True)
class Take:
    """The sample's entry in the merged version; None: it is removed. `changes_ours`: not what ours has."""

    entry: TreeEntry | None
    changes_ours: bool


@dataclass(frozen=True)
class Blend:
    """Both sides have a mask of their own: the pixels decide."""


@dataclass(frozen=True)
class Clash:
    """One side removed the sample, the other changed it: only a person can say."""


def ancestors(graph: Graph, commit_id: str) -> set[str]:
    """The commit and everything behind it. Raises KeyError for a commit that the graph lacks."""
    seen = {commit_id}
    waiting = deque([commit_id])
    while waiting:
        for parent_id in graph[waiting.popleft()]:
            if parent_id not in seen:
                seen.add(parent_id)
                waiting.append(parent_id)
    return seen


def merge_bases(graph: Graph, ours: str, theirs: str) -> set[str]:
    """The best common ancestors: those that are behind no other common ancestor. Empty for unrelated histories."""
    common = ancestors(graph, ours) & ancestors(graph, theirs)
    # `common` holds every ancestor of its members, so whatever is behind one of them is a parent of one of them.
    return common - {parent_id for commit_id in common for parent_id in graph[commit_id]}


def resolve_entry(change: Change) -> Take | Blend | Clash:
    """What becomes of one sample by the entries alone."""
    base, ours, theirs = change.base, change.ours, change.theirs
    if theirs in (ours, base):
        return Take(ours, changes_ours=False)
    if ours == base:
        return Take(theirs, changes_ours=True)
    if ours is None or theirs is None:
        return Clash()
    return Blend()
