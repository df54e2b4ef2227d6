"""Packs and their parts in the database: a part of `store.SqlStore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.statements import Statements, chunks
from terrazzo_mask_storage.domain.packs import Pack, PackLoad, Part


class PartsStore(Statements):
    """Implements the part of ports.Store that is about what lies where."""

    def parts(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        return self._parts_by(_named_parts(), organisation_id, digests)

    def part_chains(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        return self._parts_by(_part_chains(), organisation_id, digests)

    def _parts_by(self, query: sa.Select[Any], organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for chunk in chunks(digests):
            rows = self._connection.execute(query, {"of_organisation": organisation_id, "digests": chunk})
            found.update((row.digest, _part(row)) for row in rows)
        return found

    def parts_in(self, organisation_id: str, pack: str) -> list[Part]:
        parts, packs = tables.parts, tables.packs
        query = _located().where(parts.c.organisation_id == organisation_id, packs.c.digest == pack)
        return [_part(row) for row in self._connection.execute(query)]

    def add_parts(self, organisation_id: str, packs: Sequence[Pack], parts: Sequence[Part]) -> None:
        ids = self._add_packs(organisation_id, packs)
        # By digest: two writers that add the same parts at once then never wait for each other in a ring.
        rows = [
            {"organisation_id": organisation_id, "digest": part.digest, **_place(part, ids[part.pack])}
            for part in sorted(parts, key=lambda part: part.digest)
        ]
        self._add(tables.parts, rows)

    def move_parts(self, organisation_id: str, packs: Sequence[Pack], moves: Sequence[tuple[Part, Part]]) -> None:
        """Parts from where they lie to where they lie now; one that was moved by another meanwhile stays there."""
        ids = self._add_packs(organisation_id, packs)
        old_ids = self._pack_ids(organisation_id, {old.pack for old, _ in moves})
        table = tables.parts
        statement = table.update().where(
            table.c.organisation_id == organisation_id,
            table.c.digest == sa.bindparam("of_digest", type_=tables.Digest),
            table.c.pack_id == sa.bindparam("of_pack"),
        )
        rows = [
            {"of_digest": old.digest, "of_pack": old_ids[old.pack], **_place(new, ids[new.pack])}
            for old, new in sorted(moves, key=lambda move: move[0].digest)
            if old.pack in old_ids
        ]
        if rows:
            self._connection.execute(statement.values({name: sa.bindparam(name) for name in _PLACE}), rows)

    def _add_packs(self, organisation_id: str, packs: Sequence[Pack]) -> dict[str, int]:
        """Pack ids by digest; held against being dropped before this transaction ends."""
        rows = [
            {
                "organisation_id": organisation_id,
                "digest": pack.digest,
                "size_bytes": pack.size_bytes,
                "settled": pack.settled,
                "stored_at": pack.stored_at,
            }
            for pack in packs
        ]
        self._add(tables.packs, rows)
        return self._pack_ids(organisation_id, [pack.digest for pack in packs])

    def _pack_ids(self, organisation_id: str, digests: Iterable[str]) -> dict[str, int]:
        table = tables.packs
        query = sa.select(table.c.digest, table.c.pack_id).where(table.c.organisation_id == organisation_id)
        rows = self._by_ids(query.with_for_update(read=True), table.c.digest, digests)
        return {row.digest: row.pack_id for row in rows}

    def drop_empty_packs(self, organisation_id: str, listed: Mapping[str, Sequence[str]]) -> None:
        """Forget packs (digest -> the digests of its parts) in which no part lies any more."""
        table = tables.packs
        mine = table.c.organisation_id == organisation_id
        for pack, digests in listed.items():
            query = sa.select(table.c.pack_id).where(mine, table.c.digest == pack)
            row = self._connection.execute(query.with_for_update()).first()
            if row is not None and not any(p.pack == pack for p in self.parts(organisation_id, digests).values()):
                self._connection.execute(table.delete().where(table.c.pack_id == row.pack_id))

    def settle_packs(self, organisation_id: str, digests: Iterable[str]) -> None:
        table = tables.packs
        for digest in digests:
            where = (table.c.organisation_id == organisation_id, table.c.digest == digest)
            self._connection.execute(table.update().where(*where).values(settled=True))

    def packs_to_settle(self, before: datetime, limit: int) -> list[tuple[str, Pack]]:
        """(organisation, pack) of those that were stored before that, the oldest first."""
        table = tables.packs
        query = sa.select(table).where(table.c.settled.is_(False), table.c.stored_at < before)
        rows = self._connection.execute(query.order_by(table.c.stored_at, table.c.pack_id).limit(limit))
        return [(row.organisation_id, _pack(row)) for row in rows]

    def pack_digests(self) -> set[str]:
        """The packs of every organisation."""
        return set(self._connection.execute(sa.select(tables.packs.c.digest)).scalars())

    def packs(self, organisation_id: str) -> list[Pack]:
        table = tables.packs
        query = sa.select(table).where(table.c.organisation_id == organisation_id).order_by(table.c.pack_id)
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
        query = sa.select(packs, used.c.num_parts, used.c.num_patches, used.c.num_bytes).outerjoin(
            used, used.c.pack_id == packs.c.pack_id
        )
        if organisation_id is not None:
            query = query.where(packs.c.organisation_id == organisation_id)
        for row in self._connection.execute(query.order_by(packs.c.pack_id)):
            yield PackLoad(
                row.organisation_id, _pack(row), row.num_parts or 0, row.num_patches or 0, int(row.num_bytes or 0)
            )

    def part_totals(self, organisation_id: str) -> list[tuple[str, str, int, int]]:
        """(kind, encoding, number of parts, bytes)."""
        c = tables.parts.c
        query = (
            sa.select(c.kind, c.encoding, sa.func.count(), sa.func.sum(c.size_bytes))
            .where(c.organisation_id == organisation_id)
            .group_by(c.kind, c.encoding)
            .order_by(c.kind, c.encoding)
        )
        return [(kind, encoding, num, int(size)) for kind, encoding, num, size in self._connection.execute(query)]


_PLACE = ("pack_id", "offset", "size_bytes", "kind", "encoding", "base", "depth")


def _place(part: Part, pack_id: int) -> dict[str, Any]:
    return {
        "pack_id": pack_id,
        "offset": part.offset,
        "size_bytes": part.size_bytes,
        "kind": part.kind,
        "encoding": part.encoding,
        "base": part.base,
        "depth": part.depth,
    }


# Read paths ask these over and over: they are put together once.
_OF_ORGANISATION = sa.bindparam("of_organisation", type_=sa.String)
_DIGESTS = sa.bindparam("digests", type_=tables.Digest, expanding=True)


@cache
def _named_parts() -> sa.Select[Any]:
    parts = tables.parts
    return _located().where(parts.c.organisation_id == _OF_ORGANISATION, parts.c.digest.in_(_DIGESTS))


@cache
def _part_chains() -> sa.Select[Any]:
    """Parts, what their patches lie on, what those lie on, and so on."""
    parts = tables.parts
    named = sa.select(parts.c.digest, parts.c.base).where(
        parts.c.organisation_id == _OF_ORGANISATION, parts.c.digest.in_(_DIGESTS)
    )
    chain = named.cte("chain", recursive=True)
    below = parts.alias("below")
    chain = chain.union(
        sa.select(below.c.digest, below.c.base).where(
            below.c.organisation_id == _OF_ORGANISATION, below.c.digest == chain.c.base
        )
    )
    # IN, not a join: SQLite would otherwise walk all parts of the organisation and ask which are in the chain.
    in_chain = parts.c.digest.in_(sa.select(chain.c.digest))
    return _located().where(parts.c.organisation_id == _OF_ORGANISATION, in_chain)


def _located() -> sa.Select[Any]:
    parts, packs = tables.parts, tables.packs
    joined = parts.join(packs, packs.c.pack_id == parts.c.pack_id)
    return sa.select(parts, packs.c.digest.label("pack")).select_from(joined)


def _part(row: Any) -> Part:
    return Part(row.digest, row.kind, row.encoding, row.base, row.depth, row.pack, row.offset, row.size_bytes)


def _pack(row: Any) -> Pack:
    return Pack(row.digest, row.size_bytes, row.settled, row.stored_at)
