"""Packs and their parts in the database: a part of `store.SqlStore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.columns import Bytes, Digest
from terrazzo_mask_storage.adapters.statements import Statements, chunks
from terrazzo_mask_storage.domain.packs import Pack, PackLoad, Part, form_of, read_form

_NUMBER = "(SELECT part_id FROM parts WHERE owner = ? AND digest = ?)"
_ADD_PART = f"""
INSERT INTO parts (owner, digest, pack_id, "offset", size_bytes, form, depth, base)
VALUES (?, ?, ?, ?, ?, ?, ?, {_NUMBER})
ON CONFLICT DO NOTHING"""
_MOVE_PART = f"""
UPDATE parts SET pack_id = ?, "offset" = ?, size_bytes = ?, form = ?, depth = ?, base = {_NUMBER}
WHERE owner = ? AND digest = ? AND pack_id = ?"""
_LOCATED = """
SELECT parts.digest, parts.form, base.digest, parts.depth, packs.digest, parts."offset", parts.size_bytes
FROM parts JOIN packs ON packs.pack_id = parts.pack_id LEFT JOIN parts AS base ON base.part_id = parts.base"""


class PartsStore(Statements):
    """Implements the part of ports.Store that is about what lies where."""

    def parts(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        values = (self._owner(organisation_id),)
        rows = self._by_digests(f"{_LOCATED} WHERE parts.owner = ? AND parts.digest", values, digests)
        return _by_digest(rows)

    def part_chains(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        found: dict[str, Part] = {}
        owner = self._owner(organisation_id)
        for chunk in chunks(digests):
            asked = {"of_owner": owner, "digests": chunk}
            found |= _by_digest(self._connection.execute(_part_chains(), asked).all())
        return found

    def parts_in(self, organisation_id: str, pack: str) -> list[Part]:
        parts, packs = tables.parts, tables.packs
        query = _located().where(parts.c.owner == self._owner(organisation_id), packs.c.digest == pack)
        return list(_by_digest(self._connection.execute(query)).values())

    def add_parts(self, organisation_id: str, packs: Sequence[Pack], parts: Sequence[Part]) -> None:
        owner = self._owner_for_change(organisation_id)
        ids = self._add_packs(owner, packs)
        # Bases before what lies on them; then by digest: two writers that add the same parts at once then do not
        # wait for each other in a ring.
        self._each(
            _ADD_PART,
            [
                (owner, bytes.fromhex(part.digest), ids[part.pack], *_stored(part, owner))
                for part in sorted(parts, key=lambda part: (part.depth, part.digest))
            ],
        )

    def move_parts(self, organisation_id: str, packs: Sequence[Pack], moves: Sequence[tuple[Part, Part]]) -> None:
        """Parts from where they lie to where they lie now; one that was moved by another meanwhile stays there."""
        owner = self._owner_for_change(organisation_id)
        ids = self._add_packs(owner, packs)
        old_ids = self._pack_ids(owner, {old.pack for old, _ in moves})
        self._each(
            _MOVE_PART,
            [
                (ids[new.pack], *_stored(new, owner), owner, bytes.fromhex(old.digest), old_ids[old.pack])
                for old, new in sorted(moves, key=lambda move: move[0].digest)
                if old.pack in old_ids
            ],
        )

    def _add_packs(self, owner: int, packs: Sequence[Pack]) -> dict[str, int]:
        """Pack ids by digest; held against being dropped before this transaction ends."""
        rows = [
            {
                "owner": owner,
                "digest": pack.digest,
                "size_bytes": pack.size_bytes,
                "settled": pack.settled,
                "stored_at": pack.stored_at,
            }
            for pack in packs
        ]
        self._add(tables.packs, rows)
        return self._pack_ids(owner, [pack.digest for pack in packs])

    def _pack_ids(self, owner: int, digests: Iterable[str]) -> dict[str, int]:
        table = tables.packs
        query = sa.select(table.c.digest, table.c.pack_id).where(table.c.owner == owner)
        rows = self._by_ids(query.with_for_update(read=True), table.c.digest, digests)
        return {row.digest: row.pack_id for row in rows}

    def drop_empty_packs(self, organisation_id: str, listed: Mapping[str, Sequence[str]]) -> None:
        """Forget packs (digest -> the digests of its parts) in which no part lies any more."""
        table = tables.packs
        mine = table.c.owner == self._owner(organisation_id)
        for pack, digests in listed.items():
            query = sa.select(table.c.pack_id).where(mine, table.c.digest == pack)
            row = self._connection.execute(query.with_for_update()).first()
            if row is not None and not any(p.pack == pack for p in self.parts(organisation_id, digests).values()):
                self._connection.execute(table.delete().where(table.c.pack_id == row.pack_id))

    def settle_packs(self, organisation_id: str, digests: Iterable[str]) -> None:
        table = tables.packs
        owner = self._owner(organisation_id)
        for digest in digests:
            where = (table.c.owner == owner, table.c.digest == digest)
            self._connection.execute(table.update().where(*where).values(settled=True))

    def packs_to_settle(self, before: datetime, limit: int) -> list[tuple[str, Pack]]:
        """(organisation, pack) of those that were stored before that, the oldest first."""
        table = tables.packs
        query = _owned_packs().where(table.c.settled.is_(False), table.c.stored_at < before)
        rows = self._connection.execute(query.order_by(table.c.stored_at, table.c.pack_id).limit(limit))
        return [(row.organisation_id, _pack(row)) for row in rows]

    def pack_digests(self) -> set[str]:
        """The packs of every organisation."""
        return set(self._connection.execute(sa.select(tables.packs.c.digest)).scalars())

    def packs(self, organisation_id: str) -> list[Pack]:
        table = tables.packs
        query = sa.select(table).where(table.c.owner == self._owner(organisation_id)).order_by(table.c.pack_id)
        return [_pack(row) for row in self._connection.execute(query)]

    def pack_loads(self, organisation_id: str | None = None) -> Iterator[PackLoad]:
        """How much of each pack is in use; reads the whole table of parts once."""
        parts, packs = tables.parts, tables.packs
        used = (
            sa.select(
                parts.c.pack_id,
                sa.func.count().label("num_parts"),
                sa.func.count(parts.c.base).label("num_patches"),
                sa.func.sum(parts.c.size_bytes).label("num_bytes"),
            )
            .group_by(parts.c.pack_id)
            .subquery()
        )
        query = (
            _owned_packs()
            .add_columns(used.c.num_parts, used.c.num_patches, used.c.num_bytes)
            .outerjoin(used, used.c.pack_id == packs.c.pack_id)
        )
        if organisation_id is not None:
            query = query.where(packs.c.owner == self._owner(organisation_id))
        for row in self._connection.execute(query.order_by(packs.c.pack_id)):
            yield PackLoad(
                row.organisation_id, _pack(row), row.num_parts or 0, row.num_patches or 0, int(row.num_bytes or 0)
            )

    def part_totals(self, organisation_id: str) -> list[tuple[str, str, int, int]]:
        """(kind, encoding, number of parts, bytes)."""
        c = tables.parts.c
        query = (
            sa.select(c.form, sa.func.count(), sa.func.sum(c.size_bytes))
            .where(c.owner == self._owner(organisation_id))
            .group_by(c.form)
        )
        rows = self._connection.execute(query)
        return sorted((*read_form(form), num, int(size)) for form, num, size in rows)


def _stored(part: Part, owner: int) -> tuple[Any, ...]:
    """What a part's row says after the pack in which it lies."""
    base = None if part.base is None else bytes.fromhex(part.base)
    return part.offset, part.size_bytes, form_of(part.kind, part.encoding), part.depth, owner, base


# Read paths ask these over and over: they are put together once.
_OF_OWNER = sa.bindparam("of_owner", type_=sa.Integer)
_DIGESTS = sa.bindparam("digests", type_=Digest, expanding=True)


@cache
def _part_chains() -> sa.Select[Any]:
    """Parts, what their patches lie on, what those lie on, and so on."""
    parts = tables.parts
    named = sa.select(parts.c.part_id, parts.c.base).where(
        parts.c.owner == _OF_OWNER, parts.c.digest.in_(_DIGESTS)
    )
    chain = named.cte("chain", recursive=True)
    below = parts.alias("below")
    chain = chain.union(sa.select(below.c.part_id, below.c.base).where(below.c.part_id == chain.c.base))
    # IN, not a join: SQLite would otherwise walk all parts and ask which are in the chain.
    return _located().where(parts.c.part_id.in_(sa.select(chain.c.part_id)))


def _located() -> sa.Select[Any]:
    parts, packs, base = tables.parts, tables.packs, tables.parts.alias("base")
    joined = parts.join(packs, packs.c.pack_id == parts.c.pack_id)
    joined = joined.outerjoin(base, base.c.part_id == parts.c.base)
    c, plain = parts.c, Bytes()
    hashes = (sa.type_coerce(column, plain) for column in (c.digest, base.c.digest, packs.c.digest))
    digest, of_base, pack = hashes
    return sa.select(digest, c.form, of_base, c.depth, pack, c.offset, c.size_bytes).select_from(joined)


def _by_digest(rows: Iterable[Any]) -> dict[str, Part]:
    """Parts from what `_LOCATED` finds."""
    found = {}
    for digest, form, base, depth, pack, offset, size_bytes in rows:
        name = digest.hex()
        base_name = None if base is None else base.hex()
        found[name] = Part(name, *read_form(form), base_name, depth, pack.hex(), offset, size_bytes)
    return found


def _owned_packs() -> sa.Select[Any]:
    """Packs with the organisations that they are of."""
    packs, owners = tables.packs, tables.owners
    joined = packs.join(owners, owners.c.owner == packs.c.owner)
    return sa.select(packs, owners.c.organisation_id).select_from(joined)


def _pack(row: Any) -> Pack:
    return Pack(row.digest, row.size_bytes, row.settled, row.stored_at)
