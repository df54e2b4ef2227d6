"""Parts: stored once, as patches where that is smaller, in packs that say what is in them; damage is an error."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.encodings import DATA_BYTES_MAX, DamagedData, compress, decompress
from terrazzo_mask_storage.domain.packs import (
    ENCODINGS,
    KINDS,
    PACK_BYTES_MAX,
    PATCHES,
    DamagedPack,
    Encoded,
    Listed,
    group,
    is_pack,
    read_pack,
    write_pack,
)
from terrazzo_mask_storage.handlers.caches import Latest
from terrazzo_mask_storage.handlers.parts import DEPTH_MAX, NewParts, PackCache, PartsReader
from terrazzo_mask_storage.handlers.prepare import add_all, prepare_many
from terrazzo_mask_storage.handlers.projects import ontology_of
from terrazzo_mask_storage.ports import Scope
from terrazzo_masks.parts import digest_of, tile_digest
from terrazzo_schema.errors import StorageDamaged, Unprocessable

from .conftest import PROJECT, World
from .test_storage_upkeep import blobby, damage, deps_of, forget_caches

ORG = "org_test0001"


@given(st.binary(max_size=3_000), st.binary(max_size=3_000), st.integers(0, 3_000))
@settings(max_examples=60, deadline=None)
def test_bytes_come_back_whatever_they_are_stored_as(data: bytes, other: bytes, at: int) -> None:
    for base in (None, other, data[:at] + other + data[at:], data[:at] + other[: len(data) - at] + data[at:]):
        encoding, packed = compress(data, base)
        assert decompress(encoding, packed, base) == data
        assert len(packed) <= len(data)


def test_a_node_with_one_new_entry_costs_little_on_its_older_version() -> None:
    base = np.random.default_rng(0).bytes(8_000)
    data = base[:4_000] + np.random.default_rng(1).bytes(32) + base[4_032:]
    encoding, packed = compress(data, base)
    assert encoding == "splice"
    assert len(packed) < 40
    encoding, packed = compress(base[:4_000] + data[4_000:4_032] + base[4_000:], base)
    assert encoding == "zstd_patch"
    assert len(packed) < 80


def test_what_is_new_is_spliced_in_at_both_ends_and_near_pieces_are_one() -> None:
    base = bytes(range(1, 201))
    places = (0, 1, 50, 54, 100, 105, 199)
    data = bytes(0 if place in places else byte for place, byte in enumerate(base))
    encoding, packed = compress(data, base)
    assert encoding == "splice"
    assert decompress("splice", packed, base) == data
    assert packed.hex(" ") == "00 02 00 00 30 05 00 34 35 36 00 2d 01 00 04 01 00 5d 01 00"
    for damaged in (packed[:-1], packed + b"\x00", packed + b"\x00\x01\x00", b"\xff", b"\xc9\x01\x00"):
        with pytest.raises(DamagedData):
            decompress("splice", damaged, base)


@given(st.binary(max_size=200), st.sampled_from(["zstd", "zstd_patch", "splice"]))
@example(b"\x00\xe4\x00\x00\x00\x00\x00\x00\x00\x01", "zstd")
@settings(max_examples=300, deadline=None)
def test_hostile_bytes_are_damaged_data_or_some_bytes(data: bytes, encoding: Any) -> None:
    with contextlib.suppress(DamagedData):
        assert len(decompress(encoding, data, b"base")) <= DATA_BYTES_MAX


def test_a_size_over_the_limit_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(DamagedData, match="are allowed"):
        decompress("zstd", b"\xff\xff\xff\xff\x7f" + b"rest")


parts_lists = st.lists(
    st.tuples(
        st.binary(min_size=32, max_size=32),
        st.sampled_from(KINDS),
        st.sampled_from(ENCODINGS),
        st.binary(max_size=300),
    ),
    max_size=12,
)


@given(parts_lists)
@settings(max_examples=60, deadline=None)
def test_a_pack_says_what_is_in_it(rows: list[Any]) -> None:
    parts = [
        Encoded(
            digest_of(data) if how == "raw" else digest.hex(),
            kind,
            how,
            "ab" * 32 if how in PATCHES else None,
            0,
            data,
        )
        for digest, kind, how, data in rows
    ]
    pack, offsets = write_pack(parts)
    assert is_pack(pack[:5])
    listed = read_pack(pack)
    assert [(p.digest, p.kind, p.encoding, p.base, p.offset) for p in listed] == [
        (p.digest, p.kind, p.encoding, p.base, at) for p, at in zip(parts, offsets, strict=True)
    ]
    assert [pack[p.offset : p.offset + p.size_bytes] for p in listed] == [p.data for p in parts]
    with pytest.raises(DamagedPack):
        read_pack(pack + b"x")
    with pytest.raises(DamagedPack):
        read_pack(pack[:-1])


def test_a_pack_of_the_first_version_is_read_for_ever() -> None:
    first, second, base = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
    lines = first + b"\x10\x03" + second + b"\x05\x81\x01" + base
    pack = b"TZPK\x01\x02\x00\x00\x00" + lines + b"abc" + b"p" * 129
    assert is_pack(pack[:5])
    assert read_pack(pack) == [
        Listed(first.hex(), "node", "raw", None, 110, 3),
        Listed(second.hex(), "tile", "patch", base.hex(), 113, 129),
    ]
    for end in range(len(pack)):
        with pytest.raises(DamagedPack):
            read_pack(pack[:end])


def test_a_part_that_lies_in_a_pack_as_it_is_costs_two_bytes_more() -> None:
    data, [offset] = write_pack([Encoded(digest_of(b"abc"), "node", "raw", None, 0, b"abc")])
    assert data.hex() == "545a504b02010000001003616263"
    assert read_pack(data) == [Listed(digest_of(b"abc"), "node", "raw", None, offset, 3)]
    assert not is_pack(b"TZPK\x03")


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_hostile_packs_are_damaged_or_list_what_is_inside(data: bytes) -> None:
    for hostile in (data, b"TZPK\x01" + data, b"TZPK\x02" + data):
        try:
            listed = read_pack(hostile)
        except DamagedPack:
            continue
        assert all(part.offset + part.size_bytes <= len(hostile) for part in listed)


def test_packs_are_filled_and_a_part_over_their_size_is_alone() -> None:
    sizes = [10, PACK_BYTES_MAX - 20, 20, PACK_BYTES_MAX + 1, 30]
    parts = [Encoded(f"{n:064x}", "tree", "raw", None, 0, bytes(size)) for n, size in enumerate(sizes)]
    assert [[len(part.data) for part in pack] for pack in group(parts)] == [
        sizes[:2],
        [20],
        [PACK_BYTES_MAX + 1],
        [30],
    ]


def test_memory_for_what_was_read_is_bounded_and_the_oldest_goes_first() -> None:
    latest: Latest[bytes] = Latest(10_000)
    for n in range(100):
        latest.put(n, bytes(700), 700)
        latest.get(0)
    assert latest.get(0) is not None
    assert [n for n in range(100) if latest.get(n) is not None] == [0, *range(91, 100)]
    latest.put("large", bytes(20_000), 20_000)
    assert latest.get("large") is None


def stored(world: World, *puts: tuple[bytes, str | None]) -> list[str]:
    """Store tree nodes (bytes, base) in one write each."""
    deps, digests = deps_of(world), []
    for data, base in puts:
        with deps.uow.begin() as tx:
            parts = NewParts(PartsReader(tx.store, deps.packs, ORG))
            digests.append(parts.put(data, base))
            parts.write_blobs(tx.store, deps.blobs, ORG)
            parts.add_rows(tx.store, ORG)
    return digests


def test_chains_of_patches_are_bounded_and_every_version_reads(world: World) -> None:
    rng = np.random.default_rng(0)
    versions, base = [rng.bytes(5_000)], None
    for _ in range(40):
        at = int(rng.integers(0, 4_900))
        versions.append(versions[-1][:at] + rng.bytes(32) + versions[-1][at + 32 :])
    digests = []
    for data in versions:
        [base] = stored(world, (data, base))
        digests.append(base)
    with deps_of(world).uow.read() as store:
        rows = store.parts(ORG, digests)
        depths = [rows[digest].depth for digest in digests]
        assert max(depths) == DEPTH_MAX
        assert depths[: DEPTH_MAX + 2] == [*range(DEPTH_MAX + 1), 1]
        assert sum(row.size_bytes for row in rows.values()) < 5_000 + 40 * 700
        read = PartsReader(store, PackCache(deps_of(world).blobs), ORG)
        assert [read.node(digest) for digest in digests] == versions


def test_a_part_never_lies_on_itself_however_versions_go_back_and_forth(world: World) -> None:
    a, b = (np.random.default_rng(seed).bytes(3_000) for seed in (0, 0))
    b = b[:100] + b"changed!" * 4 + b[132:]
    [first] = stored(world, (a, None))
    [second] = stored(world, (b, first))
    assert stored(world, (a, second), (b, first), (a, first)) == [first, second, first]
    with deps_of(world).uow.read() as store:
        rows = store.parts(ORG, [first, second])
    assert (rows[first].base, rows[second].base) == (None, first)


def test_a_base_may_come_in_the_same_write(world: World) -> None:
    deps = deps_of(world)
    tile = blobby(1, 128, 128)
    edited = tile.copy()
    edited[10:20, 10:20] = 3
    node = np.random.default_rng(0).bytes(2_000)
    with deps.uow.begin() as tx:
        parts = NewParts(PartsReader(tx.store, deps.packs, ORG))
        first = parts.put_tile(tile)
        second = parts.put_tile(edited, first)
        below = parts.put_node(node)
        above = parts.put_node(node[:1_000] + bytes(8) + node[1_008:], below)
        assert (parts.tile(second) == edited).all()
        parts.write_blobs(tx.store, deps.blobs, ORG)
        assert (parts.tile(second) == edited).all()
        assert parts.node(below) == node
        parts.add_rows(tx.store, ORG)
    with deps.uow.read() as store:
        rows = store.parts(ORG, [first, second, below, above])
        assert (rows[second].base, rows[second].encoding) == (first, "patch")
        assert (rows[above].base, rows[above].encoding) == (below, "splice")
        read = PartsReader(store, PackCache(deps.blobs), ORG)
        read.prefetch([second, above])
        assert (read.tile(second) == edited).all()
        assert tile_digest(read.tile(first)) == first
        assert digest_of(read.node(above)) == above


def test_what_is_not_stored_or_damaged_is_said_and_not_a_crash(world: World) -> None:
    deps = deps_of(world)
    [digest] = stored(world, (np.random.default_rng(0).bytes(500), None))
    with deps.uow.read() as store:
        read = PartsReader(store, PackCache(deps.blobs), ORG)
        with pytest.raises(StorageDamaged, match="named, but not stored"):
            read.node("0" * 64)
        part = read.part(digest)
        damage(deps.blobs, part.pack, part.offset + 7)
        with pytest.raises(StorageDamaged, match="its bytes have the digest"):
            read.node(digest)
        del deps.blobs._data[part.pack]
        with pytest.raises(StorageDamaged, match="the pack is not there"):
            PartsReader(store, PackCache(deps.blobs), ORG).node(digest)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_of_a_chain_of_patches_the_one_that_is_damaged_is_named(world: World, place: int) -> None:
    deps, rng = deps_of(world), np.random.default_rng(0)
    versions, digests = [rng.bytes(3_000)], list[str]()
    for at in (100, 2_000):
        versions.append(versions[-1][:at] + rng.bytes(64) + versions[-1][at + 64 :])
    for data in versions:
        digests += stored(world, (data, digests[-1] if digests else None))
    with deps.uow.read() as store:
        read = PartsReader(store, PackCache(deps.blobs), ORG)
        assert [read.part(digest).depth for digest in digests] == [0, 1, 2]
        assert read.node(digests[-1]) == versions[-1]
        part = read.part(digests[place])
        damage(deps.blobs, part.pack, part.offset + part.size_bytes // 2)
        again = PartsReader(store, PackCache(deps.blobs), ORG)
        with pytest.raises(StorageDamaged, match=digests[place]):
            again.node(digests[-1])


def queries_of(world: World, action: Any) -> int:
    """How many statements `action()` sends to the database."""
    seen: list[str] = []
    engine = world.service.uow.database.engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        action()
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def test_many_masks_cost_a_handful_of_queries_one_pack_and_are_refused_one_by_one(world: World) -> None:
    deps, scope = deps_of(world), Scope(ORG, PROJECT)
    with deps.uow.read() as store:
        ontology = ontology_of(store.project(scope).ontology_json)
    maps = [blobby(seed, 100, 100) for seed in range(100)]
    stray = maps[3].copy()
    stray[5, 6] = 77
    num_blobs = len(list(deps.blobs.digests()))
    found: list[Any] = []
    asked = [(labels, None) for labels in [*maps, stray]]
    assert queries_of(world, lambda: found.extend(prepare_many(deps, scope, asked, ontology))) <= 4
    assert len(list(deps.blobs.digests())) == num_blobs + 1
    refused = found.pop()
    assert isinstance(refused, Unprocessable)
    assert "class id 77 (first at row 5, column 6" in refused.detail

    def add() -> None:
        with deps.uow.begin() as tx:
            add_all(tx.store, scope, [(p, f"smp_{n:024x}", Origin("import", "me")) for n, p in enumerate(found)])

    assert queries_of(world, add) <= 8
    edits = []
    for labels, prepared in zip(maps, found, strict=True):
        edited = labels.copy()
        edited[40:50, 40:60] = 2
        edits.append((edited, prepared.mask.mask_id))
    forget_caches(world)
    edited_masks: list[Any] = []
    assert queries_of(world, lambda: edited_masks.extend(prepare_many(deps, scope, edits, ontology))) <= 8
    assert sum(p.new_bytes for p in edited_masks) < sum(p.new_bytes for p in found) / 2
    found = edited_masks
    add()
    forget_caches(world)
    for (labels, _), prepared in zip(edits, found, strict=True):
        assert (world.labels(prepared.mask.mask_id) == labels).all()
