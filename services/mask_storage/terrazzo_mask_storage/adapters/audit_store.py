"""What a check of everything stored goes through, organisation by organisation: a part of `store.SqlStore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
        query = sa.select(sa.func.count()).select_from(table).where(table.c.organisation_id == organisation_id)
        return int(self._connection.execute(query).scalar_one())

    def image_bytes(self, organisation_id: str) -> int:
        table = tables.images
        query = sa.select(sa.func.sum(table.c.size_bytes)).where(table.c.organisation_id == organisation_id)
        return int(self._connection.execute(query).scalar_one() or 0)

    def all_masks(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, mask id) of every mask, a page at a time."""
        yield from self._pages(organisation_id, tables.masks, "mask_id", "")

    def all_images(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, image hash) of every image, a page at a time."""
        yield from self._pages(organisation_id, tables.images, "image_hash", "")

    def _pages(
        self, organisation_id: str, table: sa.Table, id_column: str, after: str
    ) -> Iterator[list[tuple[str, str]]]:
        project, ident = table.c.project_id, table.c[id_column]
        query = sa.select(project, ident).where(table.c.organisation_id == organisation_id)
        query = query.order_by(project, ident).limit(_PAGE)
        rows = self._connection.execute(query).all()
        while rows:
            yield [(row[0], row[1]) for row in rows]
            last_project, last = rows[-1]
            behind = sa.or_(project > last_project, sa.and_(project == last_project, ident > last))
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
        found: dict[str, set[str]] = {}
        for table in (tables.provenance, tables.staged, tables.acceptances):
            query = sa.select(table.c.mask_id, table.c.sample_id).where(
                table.c.organisation_id == scope.organisation_id, table.c.project_id == scope.project_id
            )
            for row in self._by_ids(query, table.c.mask_id, wanted):
                if row.sample_id:
                    found.setdefault(row.mask_id, set()).add(row.sample_id)
        return found
