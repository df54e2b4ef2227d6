"""The Store over SQLAlchemy Core: SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.audit_store import AuditStore
from terrazzo_mask_storage.adapters.masks_store import MasksStore
from terrazzo_mask_storage.adapters.merge_store import MergeStore
from terrazzo_mask_storage.adapters.parts_store import PartsStore
from terrazzo_mask_storage.adapters.scale_store import ScaleStore, commit_of
from terrazzo_mask_storage.ports import Acceptance, Commit, Image, Project, Scope, Tag


class SqlStore(PartsStore, MasksStore, AuditStore, MergeStore, ScaleStore):
    """Implements ports.Store on one connection, inside its transaction."""

    # projects

    def project(self, scope: Scope) -> Project | None:
        row = self._first(sa.select(tables.projects).where(*_in(tables.projects, scope)))
        if row is None:
            return None
        return Project(row.name, row.held_out_percent, row.ontology_version, row.ontology_json)

    def put_project(self, scope: Scope, project: Project) -> None:
        self._owner_for_change(scope.organisation_id, scope.project_id)
        self._put(
            tables.projects,
            [
                {
                    **_keys(scope),
                    "name": project.name,
                    "held_out_percent": project.held_out_percent,
                    "ontology_version": project.ontology_version,
                    "ontology_json": project.ontology_json,
                }
            ],
        )

    # images

    def image(self, scope: Scope, image_hash: str) -> Image | None:
        images = tables.images
        row = self._first(sa.select(images).where(*_in(images, scope), images.c.image_hash == image_hash))
        return None if row is None else _image(row)

    def images_of(self, scope: Scope, sample_ids: Sequence[str]) -> dict[str, Image]:
        images = tables.images
        query = sa.select(images).where(*_in(images, scope))
        rows = self._by_ids(query, images.c.sample_id, sample_ids)
        return {row.sample_id: _image(row) for row in rows}

    def images(self, scope: Scope, after: str, limit: int) -> list[Image]:
        images = tables.images
        query = sa.select(images).where(*_in(images, scope), images.c.image_hash > after)
        return [_image(row) for row in self._connection.execute(query.order_by(images.c.image_hash).limit(limit))]

    def add_image(self, scope: Scope, image: Image) -> None:
        self._connection.execute(
            tables.images.insert().values(
                **_keys(scope),
                image_hash=image.image_hash,
                sample_id=image.sample_id,
                names=list(image.names),
                attributes=dict(image.attributes),
                height=image.height,
                width=image.width,
                channels=image.channels,
                media_type=image.media_type,
                size_bytes=image.size_bytes,
                created_at=image.created_at,
            )
        )

    def rename_image(
        self, scope: Scope, image_hash: str, names: Sequence[str], attributes: Mapping[str, str]
    ) -> None:
        images = tables.images
        self._connection.execute(
            images.update()
            .where(*_in(images, scope), images.c.image_hash == image_hash)
            .values(names=list(names), attributes=dict(attributes))
        )

    # pyramids

    def pyramid(self, scope: Scope, image_hash: str) -> str | None:
        pyramids = tables.pyramids
        query = sa.select(pyramids.c.digest).where(*_in(pyramids, scope), pyramids.c.image_hash == image_hash)
        row = self._first(query)
        return None if row is None else str(row.digest)

    def add_pyramid(self, scope: Scope, image_hash: str, digest: str) -> None:
        self._add(tables.pyramids, [{**_keys(scope), "image_hash": image_hash, "digest": digest}])

    # accepted masks

    def acceptances(self, scope: Scope, sample_id: str) -> list[Acceptance]:
        table = tables.acceptances
        query = sa.select(table).where(*_in(table, scope), table.c.sample_id == sample_id)
        return [
            Acceptance(
                row.sample_id, row.task_id, row.revision, row.mask_id, row.decided_by, tuple(row.submission_ids)
            )
            for row in self._connection.execute(query.order_by(table.c.task_id, table.c.revision))
        ]

    def put_acceptance(self, scope: Scope, acceptance: Acceptance) -> None:
        self._put(
            tables.acceptances,
            [
                {
                    **_keys(scope),
                    "sample_id": acceptance.sample_id,
                    "task_id": acceptance.task_id,
                    "revision": acceptance.revision,
                    "mask_id": acceptance.mask_id,
                    "decided_by": acceptance.decided_by,
                    "submission_ids": list(acceptance.submission_ids),
                }
            ],
        )

    # history

    def head(self, scope: Scope, branch: str) -> str | None:
        table = tables.branches
        row = self._first(sa.select(table.c.commit_id).where(*_in(table, scope), table.c.name == branch))
        return None if row is None else str(row.commit_id)

    def set_head(self, scope: Scope, branch: str, commit_id: str) -> None:
        self._put(tables.branches, [{**_keys(scope), "name": branch, "commit_id": commit_id}])

    def branches(self, scope: Scope) -> list[tuple[str, str]]:
        table = tables.branches
        query = sa.select(table.c.name, table.c.commit_id).where(*_in(table, scope)).order_by(table.c.name)
        return [(row.name, row.commit_id) for row in self._connection.execute(query)]

    def commit(self, scope: Scope, commit_id: str) -> Commit | None:
        table = tables.commits
        row = self._first(sa.select(table).where(*_in(table, scope), table.c.commit_id == commit_id))
        return None if row is None else commit_of(row)

    def commits_like(self, scope: Scope, prefix: str) -> list[str]:
        table = tables.commits
        # A range instead of LIKE: the prefix needs no escaping, and the primary key serves it.
        query = sa.select(table.c.commit_id).where(
            *_in(table, scope), table.c.commit_id >= prefix, table.c.commit_id < prefix + "g"
        )
        return [row.commit_id for row in self._connection.execute(query.limit(2))]

    def add_commit(self, scope: Scope, commit: Commit) -> None:
        self._connection.execute(
            tables.commits.insert().values(
                **_keys(scope),
                commit_id=commit.commit_id,
                tree_id=commit.tree_id,
                branch=commit.branch,
                parent_ids=list(commit.parent_ids),
                message=commit.message,
                author=commit.author,
                num_samples=commit.num_samples,
                num_changed=commit.num_changed,
                counts=_pairs(commit.counts),
                created_at=commit.created_at,
            )
        )

    def tag(self, scope: Scope, name: str) -> Tag | None:
        table = tables.tags
        row = self._first(sa.select(table).where(*_in(table, scope), table.c.name == name))
        return None if row is None else Tag(row.name, row.commit_id, row.created_at)

    def tags(self, scope: Scope, after: str, limit: int) -> list[Tag]:
        table = tables.tags
        query = sa.select(table).where(*_in(table, scope), table.c.name > after).order_by(table.c.name)
        return [
            Tag(row.name, row.commit_id, row.created_at) for row in self._connection.execute(query.limit(limit))
        ]

    def add_tag(self, scope: Scope, tag: Tag) -> None:
        self._connection.execute(
            tables.tags.insert().values(
                **_keys(scope), name=tag.name, commit_id=tag.commit_id, created_at=tag.created_at
            )
        )


def _in(table: sa.Table, scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.organisation_id == scope.organisation_id, table.c.project_id == scope.project_id)


def _keys(scope: Scope) -> dict[str, str]:
    return {"organisation_id": scope.organisation_id, "project_id": scope.project_id}


def _pairs(counts: Mapping[int, int]) -> list[list[int]]:
    """JSON has no integer keys."""
    return [[class_id, pixels] for class_id, pixels in sorted(counts.items())]


def _image(row: Any) -> Image:
    return Image(
        row.image_hash,
        row.sample_id,
        tuple(row.names),
        dict(row.attributes),
        row.height,
        row.width,
        row.channels,
        row.media_type,
        row.size_bytes,
        row.created_at,
    )
