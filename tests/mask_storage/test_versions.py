"""The Merkle trie of a version: the same set is the same tree, and only what changed is written or read."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.versions import Tree, TreeEntry, apply, compare, find, walk
from terrazzo_masks.tiles import digest_of


class Nodes:
    """Nodes in memory, which counts what is written and read."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.num_put = self.num_get = 0

    def put(self, data: bytes) -> str:
        self.num_put += 1
        self.data[digest_of(data)] = data
        return digest_of(data)

    def get(self, digest: str) -> bytes:
        self.num_get += 1
        return self.data[digest]


def sample(number: int) -> str:
    return "smp_" + hashlib.blake2b(str(number).encode(), digest_size=12).hexdigest()


def entry(number: int, mask: int = 0) -> TreeEntry:
    return TreeEntry(sample(number), f"image-{number}", f"mask-{mask}")


def tree_of(nodes: Nodes, entries: dict[int, int]) -> Tree:
    return apply(None, {sample(n): entry(n, mask) for n, mask in entries.items()}, nodes.get, nodes.put)


# None removes the sample; numbers are few, so that removals and changes meet what is there.
Changes = st.dictionaries(st.integers(0, 60), st.one_of(st.none(), st.integers(0, 3)), max_size=40)


@pytest.fixture
def small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "LEAF_ENTRIES_MAX", 3)


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(Changes, max_size=6))
def test_a_tree_says_what_its_history_of_changes_says_and_forgets_the_way(steps) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "LEAF_ENTRIES_MAX", 3)
        nodes = Nodes()
        model: dict[int, int] = {}
        tree = tree_of(nodes, {})
        before = [(tree, dict(model))]
        for changes in steps:
            for number, mask in changes.items():
                if mask is None:
                    model.pop(number, None)
                else:
                    model[number] = mask
            step = {sample(n): None if mask is None else entry(n, mask) for n, mask in changes.items()}
            tree = apply(tree.tree_id, step, nodes.get, nodes.put)
            before.append((tree, dict(model)))
        expected = sorted(entry(n, mask) for n, mask in model.items())
        assert list(walk(tree.tree_id, nodes.get)) == expected
        assert tree.num_entries == len(model)
        assert tree_of(Nodes(), model) == tree
        for position in range(0, len(expected) + 1, 5):
            after = expected[position - 1].sample_id if position else ""
            assert list(walk(tree.tree_id, nodes.get, after)) == expected[position:]
        for number in range(0, 61, 7):
            known = entry(number, model[number]) if number in model else None
            assert find(tree.tree_id, sample(number), nodes.get) == known
        for old_tree, old in before:
            differences = list(compare(old_tree.tree_id, tree.tree_id, nodes.get))
            naive = sorted(
                (
                    (entry(n, old[n]) if n in old else None, entry(n, model[n]) if n in model else None)
                    for n in old.keys() | model.keys()
                    if old.get(n) != model.get(n)
                ),
                key=lambda pair: (pair[0] or pair[1]).sample_id,
            )
            assert differences == naive


def test_a_commit_of_a_few_samples_writes_a_few_nodes_of_a_large_version() -> None:
    nodes = Nodes()
    tree = tree_of(nodes, dict.fromkeys(range(20_000), 0))
    total_bytes = sum(map(len, nodes.data.values()))
    known = set(nodes.data)
    nodes.num_put = nodes.num_get = 0
    changed = apply(tree.tree_id, {sample(n): entry(n, 1) for n in range(5)}, nodes.get, nodes.put)
    new_bytes = sum(len(data) for digest, data in nodes.data.items() if digest not in known)
    assert nodes.num_put <= 5 * 3 + 1
    assert new_bytes < total_bytes / 40
    nodes.num_get = 0
    assert len(list(compare(tree.tree_id, changed.tree_id, nodes.get))) == 5
    assert nodes.num_get < 50


def test_only_nodes_of_the_new_version_are_written(small_leaves: None) -> None:
    nodes = Nodes()
    tree = tree_of(nodes, dict.fromkeys(range(40), 0))
    nodes.num_put = 0
    # So much goes that inner nodes merge into one leaf; what was merged on the way must not be stored.
    apply(tree.tree_id, {sample(n): None for n in range(2, 40)}, nodes.get, nodes.put)
    assert nodes.num_put == 1


def test_a_sample_id_of_another_form_is_refused() -> None:
    nodes = Nodes()
    with pytest.raises(ValueError, match="24 hex digits"):
        apply(None, {"smp_x": None}, nodes.get, nodes.put)
