"""Dataset versions: Merkle trees over sample entries, and the commits that point to one.

A version is the sorted set of its entries (sample, image, mask). The ids of samples are cut into ranges by their
first bits: a leaf is the widest such range that holds at most `LEAF_MAX` samples, a node one level up the widest
that holds at most `FAN_OUT` times as many, and so on. Where the cuts are follows from the ids alone: never from
the order in which they came, nor from the masks, so that the same version has the same `tree_id` everywhere, and a
relabelled sample changes one leaf and the path above it. Ids may be spread as they like. A comparison drops what
has the same digest on both sides and reads the rest. (Dolt's prolly trees cut where a hash says so, lakeFS's
Graveler too; docs/decisions/0008 has the measurements. The bytes are in `tree_nodes`.)

Functions read nodes by `get` (digest -> bytes) and say before what they will read by `prefetch`, a level or a
node's children at a time; `put` keeps a new node and is told which one it replaces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from terrazzo_mask_storage.domain.tree_cells import (
    Load,
    apply_to,
    empty_root,
    grown,
    route,
    stored,
)
from terrazzo_mask_storage.domain.tree_nodes import (
    KEY_BYTES,
    ROW_BYTES,
    Cell,
    CorruptNode,
    TreeEntry,
    each_row,
    entry_of,
    key_of,
    places_of,
    row_of,
    rows_apart,
)
from terrazzo_masks.parts import digest_of

__all__ = [
    "CorruptNode",
    "Edit",
    "Tree",
    "TreeEntry",
    "apply",
    "commit_id_of",
    "compare",
    "compare3",
    "compare_rows",
    "edit",
    "find",
    "find_many",
    "walk",
]

Get = Callable[[str], bytes]
Put = Callable[[bytes, str | None], str]
Prefetch = Callable[[Iterable[str]], None]
Pair = tuple[TreeEntry | None, TreeEntry | None]
RowPair = tuple[bytes, bytes]
# The nodes above so many samples, of both sides together, are laid side by side at once: some hundred leaves are
# then located in one query.
_COMPARED_MAX = 500_000
# Nodes that a walk asks for ahead: few first, so that a page reads little.
_AHEAD = (1, 4, 16, 64)


@dataclass(frozen=True)
class Tree:
    """A version's root: `tree_id` names its top node."""

    tree_id: str
    num_entries: int


@dataclass(frozen=True)
class Edit:
    """A version after changes, and what stood there before of each changed sample (None: it was not there)."""

    tree: Tree
    before: Mapping[str, TreeEntry | None]


def nothing(_digests: Iterable[str]) -> None:
    """A prefetch for readers that gain nothing from it."""


def commit_id_of(
    tree_id: str, parent_ids: Sequence[str], place: tuple[str, str], message: str, author: str, time: datetime
) -> str:
    """The commit's name: BLAKE3-256 over what it says, 64 hex characters.

    `place` is (project id, branch): a branch never has two commits on one parent, so ids differ even in the same
    moment.
    """
    said = [tree_id, list(parent_ids), list(place), message, author, time.astimezone(UTC).isoformat()]
    return digest_of(json.dumps(said, separators=(",", ":")).encode())


def apply(
    tree_id: str | None,
    changes: Mapping[str, TreeEntry | None],
    get: Get,
    put: Put,
    prefetch: Prefetch = nothing,
) -> Tree:
    """The version after `changes` (sample id -> its new entry, None to remove it); `tree_id` None is empty.

    Writes the new nodes of the new version. Raises ValueError for ids of another form, CorruptNode.
    """
    return edit(tree_id, changes, get, put, prefetch).tree


def edit(
    tree_id: str | None,
    changes: Mapping[str, TreeEntry | None],
    get: Get,
    put: Put,
    prefetch: Prefetch = nothing,
) -> Edit:
    """As `apply`, and says what it replaced."""
    wanted: dict[bytes, bytes | None] = {}
    for sample_id, entry in changes.items():
        if entry is not None and entry.sample_id != sample_id:
            raise ValueError(f"the entry of {entry.sample_id} was given for {sample_id}")
        wanted[key_of(sample_id)] = None if entry is None else row_of(entry)
    load = Load(get, prefetch)
    before: dict[bytes, bytes] = {}
    root = load.root(tree_id) if tree_id is not None else empty_root()
    cells = apply_to(root, sorted(wanted.items()), load, before)
    top = grown(cells, load)
    found = {
        sample_id: entry_of(before[key]) if key in before else None
        for sample_id, key in zip(changes, wanted, strict=True)
    }
    return Edit(Tree(stored(top, put), top.num), found)


def find(tree_id: str, sample_id: str, get: Get) -> TreeEntry | None:
    """The entry of one sample; reads one path."""
    return find_many(tree_id, [sample_id], get).get(sample_id)


def find_many(
    tree_id: str, sample_ids: Iterable[str], get: Get, prefetch: Prefetch = nothing
) -> dict[str, TreeEntry]:
    """The entries of those samples that the version has, by sample id; each node is read once.

    An id of another form is no sample.
    """
    keys = []
    for sample_id in set(sample_ids):
        try:
            keys.append((key_of(sample_id), None))
        except ValueError:
            continue
    load = Load(get, prefetch)
    rows = _rows_of(load.root(tree_id), sorted(keys), load)
    return {entry.sample_id: entry for entry in map(entry_of, rows)}


def _rows_of(cell: Cell, keys: Sequence[tuple[bytes, None]], load: Load) -> Iterator[bytes]:
    load.fill([cell])
    if cell.children is None:
        places = places_of(cell.rows, [key for key, _ in keys])
        for (key, _), place in zip(keys, places, strict=True):
            row = cell.rows[place * ROW_BYTES : (place + 1) * ROW_BYTES]
            if row[:KEY_BYTES] == key:
                yield row
        return
    ways, _ = route(cell.children, keys)
    load.announce(child for child, _ in ways)
    for child, its_keys in ways:
        yield from _rows_of(child, its_keys, load)
        load.empty(child)


def walk(tree_id: str, get: Get, after: str = "", prefetch: Prefetch = nothing) -> Iterator[TreeEntry]:
    """Entries by sample id, those after `after` only; nodes that lie before it are not read."""
    load = Load(get, prefetch)
    try:
        lowest = int.from_bytes(key_of(after), "big")
    except ValueError:
        lowest = 0  # no sample id: compared as text
    for entry in map(entry_of, _walk(load.root(tree_id), lowest, load)):
        if entry.sample_id > after:
            yield entry


def _walk(cell: Cell, lowest: int, load: Load) -> Iterator[bytes]:
    load.fill([cell])
    if cell.children is None:
        yield from each_row(cell.rows)
        return
    children = [child for child in cell.children if child.end > lowest]
    start = 0
    for num_ahead in chain(_AHEAD, iter(lambda: _AHEAD[-1], 0)):
        ahead = children[start : start + num_ahead]
        if not ahead:
            return
        load.announce(ahead)
        for child in ahead:
            yield from _walk(child, lowest, load)
            load.empty(child)
        start += num_ahead


def compare(old_id: str | None, new_id: str | None, get: Get, prefetch: Prefetch = nothing) -> Iterator[Pair]:
    """(old entry, new entry) of every sample that differs, by sample id; None where it does not exist.

    Parts of the trees with the same digest are not read.
    """
    for before, after in compare_rows(old_id, new_id, get, prefetch):
        yield entry_of(before) if before else None, entry_of(after) if after else None


def compare_rows(
    old_id: str | None, new_id: str | None, get: Get, prefetch: Prefetch = nothing
) -> Iterator[RowPair]:
    """As `compare`, the rows as they are stored (see `tree_nodes`); b"" where there is none."""
    if old_id == new_id:
        return
    load = Load(get, prefetch)
    old, new = ([load.root(tree_id)] if tree_id is not None else [] for tree_id in (old_id, new_id))
    yield from _differing(old, new, load)


def _differing(old: list[Cell], new: list[Cell], load: Load) -> Iterator[RowPair]:
    old, new = _without_common(old, new)
    if not old and not new:
        return
    level = max(cell.level for cell in chain(old, new))
    if sum(cell.num for cell in chain(old, new)) <= _COMPARED_MAX or level == 0:
        while level > 0:
            old, new = _without_common(*_one_down(old, new, level, load))
            level -= 1
        load.announce(chain(old, new))
        # A few leaves at a time: a leaf is most often stored as a patch on the one that it is compared with.
        for old_leaves, new_leaves in _groups(old, new, 0):
            load.fill(chain(old_leaves, new_leaves))
            yield from _rows_apart(old_leaves, new_leaves)
            for leaf in chain(old_leaves, new_leaves):
                load.empty(leaf)
        return
    for old_group, new_group in _groups(*_without_common(*_one_down(old, new, level, load)), _COMPARED_MAX):
        yield from _differing(old_group, new_group, load)


def _rows_apart(old: list[Cell], new: list[Cell]) -> list[RowPair]:
    """Rows of leaves of the one side that are not on the other, by sample id."""
    if len(old) == len(new) == 1:
        apart = rows_apart(old[0].rows, new[0].rows)
        if apart is not None:
            return apart
    old_rows, new_rows = ({row for cell in cells for row in each_row(cell.rows)} for cells in (old, new))
    pairs = {row[:KEY_BYTES]: (row, b"") for row in old_rows - new_rows}
    for row in new_rows - old_rows:
        pairs[row[:KEY_BYTES]] = (pairs.get(row[:KEY_BYTES], (b"", b""))[0], row)
    return [pairs[key] for key in sorted(pairs)]


def _without_common(old: list[Cell], new: list[Cell]) -> tuple[list[Cell], list[Cell]]:
    common = {cell.digest for cell in old} & {cell.digest for cell in new}
    return [c for c in old if c.digest not in common], [c for c in new if c.digest not in common]


def _one_down(old: list[Cell], new: list[Cell], level: int, load: Load) -> tuple[list[Cell], list[Cell]]:
    """Both sides with the cells of that level replaced by their children."""
    load.fill(cell for cell in chain(old, new) if cell.level == level)

    def down(cells: list[Cell]) -> list[Cell]:
        return [below for cell in cells for below in (cell.children or [] if cell.level == level else [cell])]

    return down(old), down(new)


def _groups(old: list[Cell], new: list[Cell], most: int) -> Iterator[tuple[list[Cell], list[Cell]]]:
    """Cells that share ids stay together; neighbours too, while they hold at most that many samples."""
    cells = sorted(chain(((c, 0) for c in old), ((c, 1) for c in new)), key=lambda item: item[0].low)
    group: tuple[list[Cell], list[Cell]] = ([], [])
    end = num = 0
    for cell, side in cells:
        if num and cell.low >= end and num + cell.num > most:
            yield group
            group, num = ([], []), 0
        group[side].append(cell)
        end = max(end, cell.end)
        num += cell.num
    if num:
        yield group


def compare3(
    base_id: str | None, ours_id: str | None, theirs_id: str | None, get: Get, prefetch: Prefetch = nothing
) -> Iterator[tuple[TreeEntry | None, TreeEntry | None, TreeEntry | None]]:
    """(base, ours, theirs) of every sample that one of the sides changed, by sample id."""
    ours = compare(base_id, ours_id, get, prefetch)
    theirs = compare(base_id, theirs_id, get, prefetch)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        my_id, other_id = _id_of(mine), _id_of(other)
        if my_id == other_id:
            assert mine is not None and other is not None  # noqa: PT018 - one fact: both have this id
            yield mine[0], mine[1], other[1]
            mine, other = next(ours, None), next(theirs, None)
        elif other is None or (mine is not None and my_id < other_id):
            assert mine is not None
            yield mine[0], mine[1], mine[0]
            mine = next(ours, None)
        else:
            yield other[0], other[0], other[1]
            other = next(theirs, None)


def _id_of(pair: Pair | None) -> str:
    entry = (pair[0] or pair[1]) if pair is not None else None
    return entry.sample_id if entry is not None else ""
