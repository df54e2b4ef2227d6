"""Version trees: their shape follows from what is in them; they say what differs, and refuse what is no node."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_mask_storage.domain import tree_nodes, versions
from terrazzo_mask_storage.domain.versions import (
    CorruptNode,
    Tree,
    TreeEntry,
    apply,
    compare,
    compare3,
    edit,
    find,
    find_many,
    walk,
)
from terrazzo_mask_storage.handlers.caches import PackCache
from terrazzo_mask_storage.handlers.parts import NewParts, reader
from terrazzo_masks.parts import digest_of
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs

from .part_tables import PartTables


class Nodes:
    """A store of nodes that counts, and tells of reads that nobody announced."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.bases: dict[str, str | None] = {}
        self.num_put = self.num_get = self.num_prefetch = 0

    def get(self, digest: str) -> bytes:
        self.num_get += 1
        return self.data[digest]

    def put(self, data: bytes, base: str | None = None) -> str:
        self.num_put += 1
        digest = digest_of(data)
        self.data[digest] = data
        self.bases[digest] = base
        return digest

    def prefetch(self, digests: Iterable[str]) -> None:
        assert all(digest in self.data for digest in digests)
        self.num_prefetch += 1


# Ids as they come (spread evenly), one after another, one bit each, and all but the end alike.
SPREADS = ("even", "counted", "bits", "alike")


def sample(number: int, spread: str = "even") -> str:
    text = hashlib.sha256(b"sample %d" % number).hexdigest()
    if spread == "counted":
        return f"smp_{number:024x}"
    if spread == "bits":
        return f"smp_{1 << (number % 96):024x}"
    if spread == "alike":
        return f"smp_{'7' * 22}{number % 256:02x}"
    return "smp_" + text[:24]


def entry(sample_id: str, mask: int) -> TreeEntry:
    return TreeEntry(
        sample_id,
        sample_id[4:] + hashlib.sha256(sample_id.encode()).hexdigest()[:40],
        hashlib.sha256(b"mask %d" % mask).hexdigest(),
    )


def tree_of(nodes: Nodes, masks: dict[str, int]) -> Tree:
    return apply(None, {s: entry(s, mask) for s, mask in masks.items()}, nodes.get, nodes.put, nodes.prefetch)


@pytest.fixture
def small_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of several levels from a few samples, compared in several goes."""
    monkeypatch.setattr(tree_nodes, "LEAF_MAX", 4)
    monkeypatch.setattr(tree_nodes, "FAN_OUT", 3)
    monkeypatch.setattr(versions, "_COMPARED_MAX", 30)


@pytest.fixture
def leaves_of_256(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for nodes that are written out by hand."""
    monkeypatch.setattr(tree_nodes, "LEAF_MAX", 256)


# A history: at each step some samples get a mask by number, or are removed (None).
Histories = st.lists(
    st.dictionaries(st.integers(0, 90), st.one_of(st.none(), st.integers(0, 2)), max_size=60),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=120)
@given(steps=Histories, spread=st.sampled_from(SPREADS))
def test_a_version_is_its_entries_whatever_came_before(steps, spread) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_nodes, "LEAF_MAX", 4)
        patch.setattr(tree_nodes, "FAN_OUT", 3)
        patch.setattr(versions, "_COMPARED_MAX", 30)
        nodes, tree_id = Nodes(), None
        model: dict[str, TreeEntry] = {}
        history: list[tuple[str, dict[str, TreeEntry]]] = []
        for step in steps:
            ids = {sample(n, spread): mask for n, mask in step.items()}
            changes = {s: None if mask is None else entry(s, mask) for s, mask in ids.items()}
            done = edit(tree_id, changes, nodes.get, nodes.put, nodes.prefetch)
            assert done.before == {s: model.get(s) for s in changes}
            model = {s: e for s, e in (model | changes).items() if e is not None}
            tree_id = done.tree.tree_id
            assert done.tree == apply(None, model, nodes.get, nodes.put)
            assert done.tree.num_entries == len(model)
            assert list(walk(tree_id, nodes.get)) == [model[s] for s in sorted(model)]
            assert find_many(tree_id, [sample(n, spread) for n in range(91)], nodes.get) == model
            history.append((tree_id, model))
        first_id, first = history[0]
        for old_id, old in history:
            for new_id, new in history:
                names = sorted(old.keys() | new.keys())
                differing = [(old.get(s), new.get(s)) for s in names if old.get(s) != new.get(s)]
                assert list(compare(old_id, new_id, nodes.get, nodes.prefetch)) == differing
                names = sorted(old.keys() | new.keys() | first.keys())
                threes = [(first.get(s), old.get(s), new.get(s)) for s in names]
                expected = [three for three in threes if not three[0] == three[1] == three[2]]
                assert list(compare3(first_id, old_id, new_id, nodes.get, nodes.prefetch)) == expected


@pytest.mark.parametrize("spread", SPREADS)
def test_a_walk_goes_on_after_any_sample(small_nodes: None, spread: str) -> None:
    nodes = Nodes()
    ids = sorted({sample(n, spread) for n in range(80)})
    tree = tree_of(nodes, dict.fromkeys(ids, 0))
    for after in ["", "smp_", "smp_zz", *ids, sample(1_000)]:
        found = [e.sample_id for e in walk(tree.tree_id, nodes.get, after, nodes.prefetch)]
        assert found == [s for s in ids if s > after]
    nodes.num_get = 0
    next(walk(tree.tree_id, nodes.get, ids[-2]))
    assert nodes.num_get <= 8


def test_an_empty_version_is_one_node_and_holds_nothing() -> None:
    nodes = Nodes()
    tree = apply(None, {}, nodes.get, nodes.put)
    assert tree.num_entries == 0
    assert tree == apply(tree.tree_id, {sample(1): None}, nodes.get, nodes.put)
    assert list(walk(tree.tree_id, nodes.get)) == []
    assert find(tree.tree_id, sample(1), nodes.get) is None
    assert find(tree.tree_id, "no sample", nodes.get) is None
    assert len(list(compare(None, tree_of(nodes, {sample(1): 0}).tree_id, nodes.get))) == 1


def test_a_commit_of_a_few_samples_writes_a_few_nodes_of_a_large_version() -> None:
    nodes = Nodes()
    tree = tree_of(nodes, {sample(n): 0 for n in range(40_000)})
    known = set(nodes.data)
    nodes.num_put = nodes.num_get = 0
    changed = apply(
        tree.tree_id, {sample(n): entry(sample(n), 1) for n in range(5)}, nodes.get, nodes.put, nodes.prefetch
    )
    new = set(nodes.data) - known
    assert len(new) == nodes.num_put <= 5 * 2 + 1
    # Each new node names the one that it is a patch on.
    assert {nodes.bases[digest] in known for digest in new} == {True}
    nodes.num_get = 0
    assert len(list(compare(tree.tree_id, changed.tree_id, nodes.get, nodes.prefetch))) == 5
    assert nodes.num_get <= 2 * 11


def test_only_nodes_of_the_new_version_are_written(small_nodes: None) -> None:
    nodes = Nodes()
    ids = [sample(n) for n in range(40)]
    tree = tree_of(nodes, dict.fromkeys(ids, 0))
    nodes.num_put = 0
    # So much goes that inner nodes merge into one leaf; what was merged on the way must not be stored.
    apply(tree.tree_id, dict.fromkeys(ids[2:]), nodes.get, nodes.put)
    assert nodes.num_put == 1


def test_what_is_no_sample_or_no_hash_is_refused() -> None:
    nodes = Nodes()
    good = entry(sample(1), 1)
    with pytest.raises(ValueError, match="24 hex digits"):
        apply(None, {"smp_x": None}, nodes.get, nodes.put)
    with pytest.raises(ValueError, match="64 hex digits"):
        apply(None, {sample(1): TreeEntry(sample(1), "ab", good.mask_id)}, nodes.get, nodes.put)
    with pytest.raises(ValueError, match="not that of the image"):
        apply(None, {sample(1): TreeEntry(sample(1), "ab" * 32, good.mask_id)}, nodes.get, nodes.put)
    with pytest.raises(ValueError, match="was given for"):
        apply(None, {sample(2): good}, nodes.get, nodes.put)
    assert nodes.data == {}


# What version 1 writes, and every later release reads.
GOLDEN_LEAF = (
    "545a564e 01 00 02000000"
    "000000000000000000000001" + "11" * 20 + "22" * 32 + "ffffffffffffffffffffffff" + "33" * 20 + "44" * 32
)
GOLDEN_LEAF_ID = "1cef702778dac12dc3665bce2a937926d7305f28873d8421162eacf7f816cdaa"
GOLDEN_ROOT_ID = "a0523301f73e8f4eeaceb1a3e8739761e98ed6db1c7ec0f7ab206f59c393bbce"


def golden_entries() -> list[TreeEntry]:
    return [
        TreeEntry("smp_" + "0" * 23 + "1", "0" * 23 + "1" + "11" * 20, "22" * 32),
        TreeEntry("smp_" + "f" * 24, "f" * 24 + "33" * 20, "44" * 32),
    ]


def test_the_bytes_of_a_leaf_are_read_for_ever() -> None:
    nodes = Nodes()
    data = bytes.fromhex(GOLDEN_LEAF.replace(" ", ""))
    tree_id = nodes.put(data)
    assert tree_id == GOLDEN_LEAF_ID
    assert list(walk(tree_id, nodes.get)) == golden_entries()
    assert apply(None, {e.sample_id: e for e in golden_entries()}, nodes.get, nodes.put).tree_id == tree_id


def test_the_shape_and_bytes_of_a_tree_of_three_levels_stay() -> None:
    nodes = Nodes()
    ids = [sample(n) for n in range(70_000)]
    tree = tree_of(nodes, dict.fromkeys(ids, 0))
    assert tree.tree_id == GOLDEN_ROOT_ID
    root = nodes.data[tree.tree_id]
    assert root[:10].hex(" ") == "54 5a 56 4e 01 02 02 00 00 00"


def rows(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(12, "big") + b"\1" * 20 + b"\2" * 32 for number in numbers)


def leaf(*numbers: int, level: int = 0, version: int = 1, num: int | None = None) -> bytes:
    count = len(numbers) if num is None else num
    return struct.pack("<4sBBI", b"TZVN", version, level, count) + rows(*numbers)


def inner(*children: tuple[int, int, int, str], level: int = 1) -> bytes:
    packed = b"".join(
        struct.pack("<B12sI32s", bits, low.to_bytes(12, "big"), num, bytes.fromhex(digest))
        for bits, low, num, digest in children
    )
    return struct.pack("<4sBBI", b"TZVN", 1, level, len(children)) + packed


HALF = 1 << 95
FULL = leaf(*range(200))
OTHER = leaf(*range(HALF, HALF + 200))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"{}", "2 bytes"),
        (b"TZVX" + FULL[4:], "starts with"),
        (leaf(1, version=2), "starts with"),
        (leaf(1, 2)[:-1], "rows take"),
        (leaf(1, num=2**32 - 1), "rows take"),
        (leaf(2, 1), "not in order"),
        (leaf(1, 1), "not in order"),
        (leaf(*range(257)), "257 samples"),
        (inner(level=1), "without children"),
        (inner((0, 0, 200, "00" * 32)), "one node alone"),
        (inner((1, 0, 200, "00" * 32), (1, HALF, 200, "00" * 32), level=9), "level 9"),
        (inner((97, 0, 200, "00" * 32), (1, HALF, 200, "00" * 32)), "97 bits"),
        (inner((1, 0, 0, "00" * 32), (1, HALF, 200, "00" * 32)), "of 0 samples"),
        (inner((1, 0, 257, "00" * 32), (1, HALF, 200, "00" * 32)), "of 257 samples"),
        (inner((1, 1, 200, "00" * 32), (1, HALF, 200, "00" * 32)), "more than 1 bits"),
        (inner((1, HALF, 200, "00" * 32), (1, 0, 200, "00" * 32)), "not in order"),
        (inner((1, 0, 200, "00" * 32), (2, HALF >> 1, 200, "00" * 32)), "overlap"),
        (inner((1, 0, 100, "00" * 32), (1, HALF, 100, "00" * 32)), "are apart"),
    ],
)
def test_what_is_no_root_is_refused(leaves_of_256: None, data: bytes, reason: str) -> None:
    nodes = Nodes()
    tree_id = nodes.put(data)
    for read in (
        lambda: list(walk(tree_id, nodes.get)),
        lambda: find(tree_id, sample(1), nodes.get),
        lambda: list(compare(tree_id, None, nodes.get)),
        lambda: apply(tree_id, {sample(1): None}, nodes.get, nodes.put),
    ):
        with pytest.raises(CorruptNode, match=reason):
            read()


@pytest.mark.parametrize(
    ("first", "num", "reason"),
    [
        (leaf(*range(199)), 200, "a node of 199 samples where one of 200"),
        (OTHER, 200, "belong elsewhere"),
        (leaf(*range(1, 200), HALF), 200, "belong elsewhere"),
        (inner((2, 0, 100, "00" * 32), (2, HALF >> 1, 100, "00" * 32)), 200, "of level 1"),
    ],
)
def test_a_node_that_is_not_what_its_parent_says_is_refused(
    leaves_of_256: None, first: bytes, num: int, reason: str
) -> None:
    nodes = Nodes()
    tree_id = nodes.put(inner((1, 0, num, nodes.put(first)), (1, HALF, 200, nodes.put(OTHER))))
    with pytest.raises(CorruptNode, match=reason):
        list(walk(tree_id, nodes.get))


LARGE = Nodes()
LARGE_ID = tree_of(LARGE, {sample(n): 0 for n in range(3_000)}).tree_id


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_damaged_node_is_refused(data) -> None:
    nodes = Nodes()
    nodes.data = dict(LARGE.data)
    raw = bytearray(nodes.data[LARGE_ID])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    broken = nodes.put(bytes(raw))
    if broken == LARGE_ID:
        return
    with pytest.raises(CorruptNode):
        list(walk(broken, lambda digest: nodes.data.get(digest, b"")))


def test_versions_are_read_through_their_chains_of_patches() -> None:
    """Twenty commits over each other: nodes are kept as patches, and every version is read from a cold cache."""
    tables, blobs = PartTables(), MemoryBlobs()
    tree_id: str | None = None
    model: dict[str, TreeEntry] = {}
    history = []
    for step in range(20):
        changes = {sample(n): entry(sample(n), step) for n in range(3_000 if step == 0 else 3)}
        parts = NewParts(reader(tables, PackCache(blobs), "org"))
        done = edit(tree_id, changes, parts.node, parts.put, parts.prefetch)
        parts.write_blobs(tables, blobs, "org")
        parts.add_rows(tables, "org")
        tree_id = done.tree.tree_id
        model = model | changes
        history.append((tree_id, model))
    assert max(part.depth for part in tables.rows.values()) == 8
    assert sum(part.encoding == "splice" for part in tables.rows.values()) >= 19
    for tree_id, expected in history:
        read = reader(tables, PackCache(blobs), "org")
        assert {e.sample_id: e for e in walk(tree_id, read.node, prefetch=read.prefetch)} == expected
    first, last = history[0][0], history[-1][0]
    read = reader(tables, PackCache(blobs), "org")
    assert len(list(compare(first, last, read.node, read.prefetch))) == 3


def test_a_commit_is_named_by_all_that_it_says() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def name(tree="t", parents=("a", "b"), place=("p", "main"), message="m", author="x", time=now) -> str:
        return versions.commit_id_of(tree, parents, place, message, author, time)

    others = {
        name(tree="u"),
        name(parents=("b", "a")),
        name(place=("p", "dev")),
        name(message="n"),
        name(author="y"),
        name(time=datetime(2026, 1, 2, tzinfo=UTC)),
    }
    assert len(others | {name()}) == 7
    assert name() == name()
