"""What a check of everything stored goes through, organisation by organisation: a part of `store.SqlStore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.statements import Statements
from terrazzo_mask_storage.ports import Scope

_PAGE = 1_000


class AuditStore(Statements):
    """Implements the part of ports.Store that verification and statistics need."""

    def count(self, organisation_id: str, what: str) -> int:
        """How many rows of the table `what` are the organisation's."""
        table = tables.metadata.tables[what]
        query = sa.select(sa.func.count()).select_from(table)
        if "owner" in table.c:
            query = query.where(table.c.owner.in_(_numbers_of(organisation_id)))
        else:
            query = query.where(table.c.organisation_id == organisation_id)
        return int(self._connection.execute(query).scalar_one())

    def image_bytes(self, organisation_id: str) -> int:
        table = tables.images
        query = sa.select(sa.func.sum(table.c.size_bytes)).where(table.c.organisation_id == organisation_id)
        return int(self._connection.execute(query).scalar_one() or 0)

    def all_masks(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, mask id) of every mask, a page at a time."""
        owners, masks, parts = tables.owners, tables.masks, tables.parts
        joined = owners.join(masks, masks.c.owner == owners.c.owner)
        joined = joined.join(parts, parts.c.part_id == masks.c.part_id)
        query = sa.select(owners.c.project_id, parts.c.digest).select_from(joined)
        yield from self._pages(organisation_id, query, owners, (masks.c.owner, masks.c.part_id))

    def all_images(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, image hash) of every image, a page at a time."""
        c = tables.images.c
        query = sa.select(c.project_id, c.image_hash)
        yield from self._pages(organisation_id, query, tables.images, (c.project_id, c.image_hash))

    def _pages(
        self,
        organisation_id: str,
        query: sa.Select[Any],
        owned: sa.Table,
        by: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]],
    ) -> Iterator[list[tuple[str, str]]]:
        """(project, id) of what `query` finds, by two columns that are a key."""
        first, second = by
        query = query.add_columns(*by).where(owned.c.organisation_id == organisation_id)
        query = query.order_by(*by).limit(_PAGE)
        rows = self._connection.execute(query).all()
        while rows:
            yield [(row[0], row[1]) for row in rows]
            last_first, last_second = rows[-1][2:]
            behind = sa.or_(first > last_first, sa.and_(first == last_first, second > last_second))
            rows = self._connection.execute(query.where(behind)).all()

    def all_commits(self, organisation_id: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
        """(project, commit id, tree id, parents) of every commit, the oldest first."""
        c = tables.commits.c
        query = sa.select(c.project_id, c.commit_id, c.tree_id, c.parent_ids)
        query = query.where(c.organisation_id == organisation_id).order_by(c.created_at, c.commit_id)
        return [
            (project, commit, tree, tuple(parents))
            for project, commit, tree, parents in self._connection.execute(query)
        ]

    def all_pyramids(self, organisation_id: str) -> list[tuple[str, str, str]]:
        """(project, image hash, digest of the list of its tiles)."""
        c = tables.pyramids.c
        query = sa.select(c.project_id, c.image_hash, c.digest).where(c.organisation_id == organisation_id)
        return [(row.project_id, row.image_hash, row.digest) for row in self._connection.execute(query)]

    def samples_of_masks(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, set[str]]:
        """Mask id -> the samples that it was put for, is staged for or was accepted for."""
        wanted = list(mask_ids)
        project = self._owner(scope.organisation_id, scope.project_id)
        parts, provenance, staged, acceptances = (
            tables.parts,
            tables.provenance.c,
            tables.staged.c,
            tables.acceptances.c,
        )
        put = (
            sa.select(parts.c.digest, provenance.sample_id)
            .join_from(parts, tables.provenance, provenance.part_id == parts.c.part_id)
            .where(parts.c.owner == self._owner(scope.organisation_id), provenance.owner == project)
        )
        in_work = sa.select(staged.mask_id, staged.sample_id).where(staged.owner == project)
        accepted = sa.select(acceptances.mask_id, acceptances.sample_id).where(
            acceptances.organisation_id == scope.organisation_id, acceptances.project_id == scope.project_id
        )
        found: dict[str, set[str]] = {}
        for query, column in (
            (put, parts.c.digest),
            (in_work, staged.mask_id),
            (accepted, acceptances.mask_id),
        ):
            for mask_id, sample_id in self._by_ids(query, column, wanted):
                if sample_id:
                    found.setdefault(mask_id, set()).add(sample_id)
        return found


def _numbers_of(organisation_id: str) -> sa.Select[Any]:
    """Of the organisation and its projects."""
    c = tables.owners.c
    return sa.select(c.owner).where(c.organisation_id == organisation_id)
