"""Dataset versions: a Merkle trie over sample entries, and the commits that point to one.

A version is the sorted set of its entries (sample, image, mask). Entries live in leaves of at most
`LEAF_ENTRIES_MAX`; a range with more is an inner node with a child per next hex digit of the sample id, which is
derived from the image's hash and therefore spread evenly. The shape follows from the set of entries alone, never
from the order in which they came, so the same version has the same `tree_id` everywhere; a commit writes the
changed leaves and the path above them, and comparing two versions reads only what differs.

A node is deterministic JSON: `{"entries":[[sample,image,mask],...]}` by sample id, or
`{"children":[[hex digit, digest, number of entries],...]}`. Its name is the BLAKE3-256 of those bytes.
(Dolt's prolly trees and lakeFS's Graveler chunk by content instead; evenly spread keys need no rolling hash.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from terrazzo_masks.parts import digest_of

LEAF_ENTRIES_MAX = 128
_SAMPLE_ID = re.compile(r"smp_[0-9a-f]{24}\Z")
_PREFIX_CHARS = len("smp_")

Get = Callable[[str], bytes]
Put = Callable[[bytes], str]


@dataclass(frozen=True, order=True)
class TreeEntry:
    """One sample of a version: its image and its mask, by content hash."""

    sample_id: str
    image_hash: str
    mask_id: str


@dataclass(frozen=True)
class Tree:
    """A version's root: `tree_id` names its top node."""

    tree_id: str
    num_entries: int


@dataclass(frozen=True)
class _Child:
    digit: str
    digest: str
    num_entries: int


@dataclass(frozen=True)
class _Node:
    entries: tuple[TreeEntry, ...] = ()
    children: tuple[_Child, ...] = ()


def commit_id_of(
    tree_id: str, parent_ids: Sequence[str], place: tuple[str, str], message: str, author: str, time: datetime
) -> str:
    """The commit's name: BLAKE3-256 over what it says, 64 hex characters.

    `place` is (project id, branch): a branch never has two commits on one parent, so ids differ even in the same
    moment.
    """
    said = [tree_id, list(parent_ids), list(place), message, author, time.astimezone(UTC).isoformat()]
    return _digest(json.dumps(said, separators=(",", ":")).encode())


def apply(tree_id: str | None, changes: Mapping[str, TreeEntry | None], get: Get, put: Put) -> Tree:
    """The version after `changes` (sample id -> its new entry, None to remove it); `tree_id` None is empty.

    Writes only nodes on the way to a change. Raises ValueError for a sample id of another form.
    """
    for sample_id in changes:
        if not _SAMPLE_ID.match(sample_id):
            raise ValueError(f"sample id {sample_id!r} is not 'smp_' and 24 hex digits")
    fresh: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        digest = _digest(data)
        fresh[digest] = data
        return digest

    def read(digest: str) -> bytes:
        return fresh[digest] if digest in fresh else get(digest)

    root = _update(tree_id, _PREFIX_CHARS, sorted(changes.items()), read, keep)
    tree = Tree(root.digest, root.num_entries) if root else Tree(keep(_leaf_bytes([])), 0)
    # Only what the new root leads to is written: a node that was merged away again is not.
    waiting = [tree.tree_id]
    while waiting:
        data = fresh.pop(waiting.pop(), None)
        if data is not None:
            put(data)
            waiting.extend(child.digest for child in _parse(data).children)
    return tree


def find(tree_id: str, sample_id: str, get: Get) -> TreeEntry | None:
    """The entry of one sample; reads one path."""
    digest: str | None = tree_id
    depth = _PREFIX_CHARS
    while digest is not None:
        node = _load(digest, get)
        if not node.children:
            return next((e for e in node.entries if e.sample_id == sample_id), None)
        digit = sample_id[depth : depth + 1]
        digest = next((c.digest for c in node.children if c.digit == digit), None)
        depth += 1
    return None


def walk(tree_id: str, get: Get, after: str = "") -> Iterator[TreeEntry]:
    """Entries by sample id, those after `after` only; nodes that lie before it are not read."""
    yield from _walk(tree_id, get, after[_PREFIX_CHARS:], after)


def _walk(digest: str, get: Get, digits: str, after: str) -> Iterator[TreeEntry]:
    node = _load(digest, get)
    yield from (e for e in node.entries if e.sample_id > after)
    for child in node.children:
        # `digits` is what is left of `after` on this path; "" when every entry here lies behind it.
        if child.digit >= digits[:1]:
            yield from _walk(child.digest, get, digits[1:] if child.digit == digits[:1] else "", after)


def compare(
    old_id: str | None, new_id: str | None, get: Get
) -> Iterator[tuple[TreeEntry | None, TreeEntry | None]]:
    """(old entry, new entry) of every sample that differs, by sample id; None where it does not exist.

    Parts of the trees with the same digest are not read.
    """
    if old_id == new_id:
        return
    old, new = _node_or_empty(old_id, get), _node_or_empty(new_id, get)
    if old.children and new.children:
        old_of = {c.digit: c.digest for c in old.children}
        new_of = {c.digit: c.digest for c in new.children}
        for digit in sorted(old_of.keys() | new_of.keys()):
            yield from compare(old_of.get(digit), new_of.get(digit), get)
        return
    old_entries = {e.sample_id: e for e in _entries_of(old, get)}
    new_entries = {e.sample_id: e for e in _entries_of(new, get)}
    for sample_id in sorted(old_entries.keys() | new_entries.keys()):
        before, after = old_entries.get(sample_id), new_entries.get(sample_id)
        if before != after:
            yield before, after


def _update(
    digest: str | None, depth: int, changes: Sequence[tuple[str, TreeEntry | None]], get: Get, put: Put
) -> _Child | None:
    """The node at `digest` with `changes` made (its own digit is left empty); None when nothing is left in it."""
    node = _node_or_empty(digest, get)
    if not node.children:
        entries = {e.sample_id: e for e in node.entries}
        for sample_id, entry in changes:
            if entry is None:
                entries.pop(sample_id, None)
            else:
                entries[sample_id] = entry
        return _build([entries[key] for key in sorted(entries)], depth, put)
    by_digit: dict[str, list[tuple[str, TreeEntry | None]]] = {}
    for change in changes:
        by_digit.setdefault(change[0][depth], []).append(change)
    children = {c.digit: c for c in node.children}
    for digit, its_changes in by_digit.items():
        child = children.pop(digit, None)
        changed = _update(child.digest if child else None, depth + 1, its_changes, get, put)
        if changed is not None:
            children[digit] = _Child(digit, changed.digest, changed.num_entries)
    num_entries = sum(c.num_entries for c in children.values())
    if num_entries <= LEAF_ENTRIES_MAX:
        left = [e for digit in sorted(children) for e in walk(children[digit].digest, get)]
        return _build(left, depth, put)
    return _inner([children[digit] for digit in sorted(children)], put)


def _build(entries: Sequence[TreeEntry], depth: int, put: Put) -> _Child | None:
    if not entries:
        return None
    if len(entries) <= LEAF_ENTRIES_MAX:
        return _Child("", put(_leaf_bytes(entries)), len(entries))
    by_digit: dict[str, list[TreeEntry]] = {}
    for entry in entries:
        by_digit.setdefault(entry.sample_id[depth], []).append(entry)
    children = []
    for digit in sorted(by_digit):
        child = _build(by_digit[digit], depth + 1, put)
        assert child is not None
        children.append(_Child(digit, child.digest, child.num_entries))
    return _inner(children, put)


def _inner(children: Sequence[_Child], put: Put) -> _Child:
    document = {"children": [[c.digit, c.digest, c.num_entries] for c in children]}
    data = json.dumps(document, separators=(",", ":")).encode()
    return _Child("", put(data), sum(c.num_entries for c in children))


def _leaf_bytes(entries: Sequence[TreeEntry]) -> bytes:
    document = {"entries": [[e.sample_id, e.image_hash, e.mask_id] for e in entries]}
    return json.dumps(document, separators=(",", ":")).encode()


def _entries_of(node: _Node, get: Get) -> Iterator[TreeEntry]:
    yield from node.entries
    for child in node.children:
        yield from walk(child.digest, get)


def _node_or_empty(digest: str | None, get: Get) -> _Node:
    return _Node() if digest is None else _load(digest, get)


def _load(digest: str, get: Get) -> _Node:
    return _parse(get(digest))


@lru_cache(maxsize=512)
def _parse(data: bytes) -> _Node:
    document = json.loads(data)
    return _Node(
        tuple(TreeEntry(*entry) for entry in document.get("entries", ())),
        tuple(_Child(*child) for child in document.get("children", ())),
    )


def _digest(data: bytes) -> str:
    return digest_of(data)
