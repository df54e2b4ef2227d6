"""How a version tree changes: cells of ids are split and joined so that their shape follows from the ids alone.

At each level the cells are the widest ranges of ids with common first bits that hold at most `most(level)`
samples. So a cell that grew too large is halved, and cells that fit into the range around them are joined.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from terrazzo_mask_storage.domain.tree_nodes import (
    KEY_BITS,
    KEY_BYTES,
    ROW_BYTES,
    Cell,
    fill,
    inner_bytes,
    leaf_bytes,
    most,
    parse_root,
    place_of,
    places_of,
)

V = TypeVar("V")
Changes = Sequence[tuple[bytes, bytes | None]]


class Load:
    """Reads what is in stored cells."""

    def __init__(self, get: Callable[[str], bytes], prefetch: Callable[[Iterable[str]], None]) -> None:
        self._get = get
        self._prefetch = prefetch

    def root(self, tree_id: str) -> Cell:
        return parse_root(self._get(tree_id), tree_id)

    def announce(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of `cells` that are not read yet."""
        waiting = [cell for cell in cells if cell.digest is not None and cell.children is None and not cell.rows]
        digests = [cell.digest for cell in waiting if cell.digest is not None and cell.num]
        if len(digests) > 1:
            self._prefetch(digests)
        return waiting

    def fill(self, cells: Iterable[Cell]) -> None:
        for cell in self.announce(cells):
            if cell.num:
                assert cell.digest is not None
                fill(cell, self._get(cell.digest))

    def empty(self, cell: Cell) -> None:
        """Forget what was read of a stored cell, so that a long way through a tree takes no memory."""
        if cell.digest is not None:
            cell.children, cell.rows = None, b""


def empty_root() -> Cell:
    """A version without samples: a leaf that is not stored yet."""
    return Cell(0, 0, 0, 0)


def route(
    children: list[Cell], keyed: Sequence[tuple[bytes, V]]
) -> tuple[list[tuple[Cell, Sequence[tuple[bytes, V]]]], list[tuple[bytes, V]]]:
    """(each child with the keys, in order, that are its; those that are no child's)."""
    ways: list[tuple[Cell, Sequence[tuple[bytes, V]]]] = []
    strays: list[tuple[bytes, V]] = []
    at = 0
    for child in children:
        if at == len(keyed):
            break
        first, end = child.low.to_bytes(KEY_BYTES, "big"), (child.end - 1).to_bytes(KEY_BYTES, "big")
        start = bisect_left(keyed, first, lo=at, key=lambda item: item[0])
        strays += keyed[at:start]
        at = bisect_left(keyed, end + b"\0", lo=start, key=lambda item: item[0])
        if at > start:
            ways.append((child, keyed[start:at]))
    strays += keyed[at:]
    return ways, strays


def apply_to(cell: Cell, changes: Changes, load: Load, before: dict[bytes, bytes]) -> list[Cell]:
    """What becomes of a cell: itself if nothing changes, else cells that cover its range, of its level.

    The rows that are replaced or removed are told in `before`.
    """
    load.fill([cell])
    if cell.children is None:
        rows = _changed_rows(cell.rows, changes, before)
        return [cell] if rows is None else _leaves(rows, cell.bits, cell.low, cell.digest)
    ways, strays = route(cell.children, changes)
    load.announce(child for child, _ in ways)
    become: dict[int, list[Cell]] = {}
    for child, its_changes in ways:
        become[id(child)] = apply_to(child, its_changes, load, before)
        load.empty(child)
    children = [new for child in cell.children for new in become.get(id(child), [child])]
    for key, row in strays:
        if row is not None:
            children.append(_lone(cell.level - 1, key, row))
    if len(children) == len(cell.children) and all(map(_is, children, cell.children)):
        return [cell]
    children.sort(key=lambda child: child.low)
    children = _joined(children, cell.level - 1, cell.bits, cell.low, load)
    return _inners(children, cell.level, cell.bits, cell.low, cell.digest)


def _is(first: Cell, second: Cell) -> bool:
    return first is second


def _changed_rows(rows: bytes, changes: Changes, before: dict[bytes, bytes]) -> bytes | None:
    """The rows after the changes; None when they are the same."""
    pieces, start, same = [], 0, True
    places = places_of(rows, [key for key, _ in changes])
    for (key, row), number in zip(changes, places, strict=True):
        place = number * ROW_BYTES
        old = rows[place : place + ROW_BYTES]
        is_there = old[:KEY_BYTES] == key
        if is_there:
            before[key] = old
        if row == (old if is_there else None):
            continue
        same = False
        pieces += [rows[start:place], row or b""]
        start = place + ROW_BYTES if is_there else place
    return None if same else b"".join((*pieces, rows[start:]))


def _leaves(rows: bytes, bits: int, low: int, base: str | None) -> list[Cell]:
    """Leaves of one range."""
    num = len(rows) // ROW_BYTES
    if num == 0:
        return []
    if num <= most(0):
        return [Cell(0, bits, low, num, rows=rows, base=base)]
    middle = _middle(bits, low)
    cut = place_of(rows, middle.to_bytes(KEY_BYTES, "big")) * ROW_BYTES
    return [*_leaves(rows[:cut], bits + 1, low, base), *_leaves(rows[cut:], bits + 1, middle, base)]


def _inners(children: list[Cell], level: int, bits: int, low: int, base: str | None) -> list[Cell]:
    """Nodes of one range over their children."""
    num = sum(child.num for child in children)
    if num == 0:
        return []
    if num <= most(level):
        return [Cell(level, bits, low, num, children=children, base=base)]
    middle = _middle(bits, low)
    cut = bisect_left(children, middle, key=lambda child: child.low)
    return [
        *_inners(children[:cut], level, bits + 1, low, base),
        *_inners(children[cut:], level, bits + 1, middle, base),
    ]


def _middle(bits: int, low: int) -> int:
    """Where the second half of a range begins."""
    return low + (1 << (KEY_BITS - bits - 1))


def _lone(level: int, key: bytes, row: bytes) -> Cell:
    """A sample that lies in no cell yet: a cell of its own, to be joined with what is around it."""
    low = int.from_bytes(key, "big")
    cell = Cell(0, KEY_BITS, low, 1, rows=row)
    for above in range(1, level + 1):
        cell = Cell(above, KEY_BITS, low, 1, children=[cell])
    return cell


def _joined(cells: list[Cell], level: int, bits: int, low: int, load: Load) -> list[Cell]:
    """Cells of a range, those joined that fit into the range around them."""
    if not cells:
        return []
    num = sum(cell.num for cell in cells)
    if num > most(level):
        middle = _middle(bits, low)
        cut = bisect_left(cells, middle, key=lambda cell: cell.low)
        return [
            *_joined(cells[:cut], level, bits + 1, low, load),
            *_joined(cells[cut:], level, bits + 1, middle, load),
        ]
    if len(cells) == 1:
        [cell] = cells
        if cell.bits == bits:
            return cells
        if level == 0 or num > most(level - 1):
            return [Cell(level, bits, low, num, cell.digest, cell.rows, cell.children, cell.base)]
        # Else its one child has its range, and is written in it: that is widened too.
    load.fill(cells)
    base = next((cell.digest or cell.base for cell in cells if cell.digest or cell.base), None)
    if level == 0:
        return [Cell(0, bits, low, num, rows=b"".join(cell.rows for cell in cells), base=base)]
    children = [child for cell in cells for child in cell.children or []]
    return [Cell(level, bits, low, num, children=_joined(children, level - 1, bits, low, load), base=base)]


def grown(cells: list[Cell], load: Load) -> Cell:
    """The root over cells of one level that hold a whole version."""
    while len(cells) > 1:
        cells = _inners(cells, cells[0].level + 1, 0, 0, None)
    if not cells:
        return empty_root()
    [root] = cells
    while root.level:
        load.fill([root])
        assert root.children is not None
        if len(root.children) > 1:
            break
        root = root.children[0]
    return root


def stored(cell: Cell, put: Callable[[bytes, str | None], str]) -> str:
    """Keep the new nodes of a tree, the lower ones first. Returns the digest of its top."""
    if cell.digest is not None:
        return cell.digest
    if cell.children is None:
        cell.digest = put(leaf_bytes(cell.rows), cell.base)
        return cell.digest
    for child in cell.children:
        stored(child, put)
    cell.digest = put(inner_bytes(cell.level, cell.children), cell.base)
    return cell.digest
