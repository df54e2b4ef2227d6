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
        owners, masks, parts = tables.owners.c, tables.masks.c, tables.parts.c
        named = sa.select(owners.owner, owners.project_id).where(owners.organisation_id == organisation_id)
        for owner, project_id in self._connection.execute(named.order_by(owners.project_id)).all():
            query = (
                sa.select(parts.digest, masks.part_id)
                .join_from(tables.masks, tables.parts, parts.part_id == masks.part_id)
                .where(masks.owner == owner)
                .order_by(masks.part_id)
                .limit(_PAGE)
            )
            rows = self._connection.execute(query).all()
            while rows:
                yield [(project_id, row.digest) for row in rows]
                rows = self._connection.execute(query.where(masks.part_id > rows[-1].part_id)).all()

    def all_images(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, image hash) of every image, a page at a time."""
        c = tables.images.c
        query = sa.select(c.project_id, c.image_hash).where(c.organisation_id == organisation_id)
        query = query.order_by(c.project_id, c.image_hash).limit(_PAGE)
        rows = self._connection.execute(query).all()
        while rows:
            yield [(row.project_id, row.image_hash) for row in rows]
            last_project, last = rows[-1]
            behind = sa.or_(
                c.project_id > last_project, sa.and_(c.project_id == last_project, c.image_hash > last)
            )
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
