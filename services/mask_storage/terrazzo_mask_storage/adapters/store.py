"""The Store over SQLAlchemy Core: SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.merge_store import MergeStore
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.packs import Pack, Part
from terrazzo_mask_storage.ports import Acceptance, Commit, Image, Mask, Project, Scope, Tag

# Both databases take more values in one IN than this; statements stay short enough to be planned quickly.
_IN_MAX = 1_000


class SqlStore(MergeStore):
    """Implements ports.Store on one connection, inside its transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # projects

    def project(self, scope: Scope) -> Project | None:
        row = self._first(sa.select(tables.projects).where(*_in(tables.projects, scope)))
        if row is None:
            return None
        return Project(row.name, row.held_out_percent, row.ontology_version, row.ontology_json)

    def put_project(self, scope: Scope, project: Project) -> None:
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

    # parts

    def parts(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        parts, packs = tables.parts, tables.packs
        query = (
            sa.select(parts, packs.c.digest.label("pack"))
            .join(packs, packs.c.pack_id == parts.c.pack_id)
            .where(parts.c.organisation_id == organisation_id)
        )
        return {row.digest: _part(row) for row in self._by_ids(query, parts.c.digest, digests)}

    def add_parts(self, organisation_id: str, packs: Sequence[Pack], parts: Sequence[Part]) -> None:
        ids = self._add_packs(organisation_id, packs)
        # By digest: two writers that add the same parts at once then never wait for each other in a ring.
        rows = [
            {
                "organisation_id": organisation_id,
                "digest": part.digest,
                "pack_id": ids[part.pack],
                "offset": part.offset,
                "size_bytes": part.size_bytes,
                "kind": part.kind,
                "encoding": part.encoding,
                "base": part.base,
                "depth": part.depth,
            }
            for part in sorted(parts, key=lambda part: part.digest)
        ]
        self._add(tables.parts, rows)

    def _add_packs(self, organisation_id: str, packs: Sequence[Pack]) -> dict[str, int]:
        """Pack ids by digest."""
        table = tables.packs
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
        self._add(table, rows)
        query = sa.select(table.c.digest, table.c.pack_id).where(table.c.organisation_id == organisation_id)
        found = self._by_ids(query, table.c.digest, [pack.digest for pack in packs])
        return {row.digest: row.pack_id for row in found}

    # pyramids

    def pyramid(self, scope: Scope, image_hash: str) -> str | None:
        pyramids = tables.pyramids
        query = sa.select(pyramids.c.digest).where(*_in(pyramids, scope), pyramids.c.image_hash == image_hash)
        row = self._first(query)
        return None if row is None else str(row.digest)

    def add_pyramid(self, scope: Scope, image_hash: str, digest: str) -> None:
        self._add(tables.pyramids, [{**_keys(scope), "image_hash": image_hash, "digest": digest}])

    # masks

    def mask(self, scope: Scope, mask_id: str) -> Mask | None:
        return self.masks(scope, [mask_id]).get(mask_id)

    def masks(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, Mask]:
        masks = tables.masks
        rows = self._by_ids(sa.select(masks).where(*_in(masks, scope)), masks.c.mask_id, mask_ids)
        return {
            row.mask_id: Mask(row.mask_id, row.height, row.width, row.dtype, dict(row.counts), row.size_bytes)
            for row in rows
        }

    def add_masks(self, scope: Scope, masks: Iterable[Mask]) -> None:
        rows = [
            {
                **_keys(scope),
                "mask_id": mask.mask_id,
                "height": mask.height,
                "width": mask.width,
                "dtype": mask.dtype,
                "counts": _pairs(mask.counts),
                "size_bytes": mask.size_bytes,
            }
            for mask in masks
        ]
        self._add(tables.masks, rows)

    def origins(self, scope: Scope, mask_id: str) -> list[tuple[str, Origin]]:
        table = tables.provenance
        query = sa.select(table).where(*_in(table, scope), table.c.mask_id == mask_id).order_by(table.c.sequence)
        return [
            (
                row.sample_id,
                Origin(
                    row.source,
                    row.actor,
                    row.submission_id or None,
                    row.parent_mask_id,
                    tuple(row.source_mask_ids),
                ),
            )
            for row in self._connection.execute(query)
        ]

    def add_origins(self, scope: Scope, rows: Iterable[tuple[str, str, Origin]]) -> None:
        listed = [
            {
                **_keys(scope),
                "mask_id": mask_id,
                "source": origin.source,
                "sample_id": sample_id,
                "submission_id": origin.submission_id or "",
                "actor": origin.actor,
                "parent_mask_id": origin.parent_mask_id,
                "source_mask_ids": list(origin.source_mask_ids),
            }
            for mask_id, sample_id, origin in rows
        ]
        self._add(tables.provenance, listed)

    # accepted masks and working sets

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

    def staged(self, scope: Scope, branch: str) -> dict[str, str | None]:
        table = tables.staged
        query = sa.select(table.c.sample_id, table.c.mask_id).where(*_in(table, scope), table.c.branch == branch)
        return {row.sample_id: row.mask_id for row in self._connection.execute(query.order_by(table.c.sample_id))}

    def stage(self, scope: Scope, branch: str, items: Mapping[str, str | None]) -> None:
        self._put(
            tables.staged,
            [
                {**_keys(scope), "branch": branch, "sample_id": sample_id, "mask_id": mask_id}
                for sample_id, mask_id in items.items()
            ],
        )

    def unstage(self, scope: Scope, branch: str, sample_ids: Iterable[str]) -> None:
        table = tables.staged
        for chunk in _chunks(sample_ids):
            self._connection.execute(
                table.delete().where(*_in(table, scope), table.c.branch == branch, table.c.sample_id.in_(chunk))
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
        if row is None:
            return None
        return Commit(
            row.commit_id,
            row.tree_id,
            row.branch,
            tuple(row.parent_ids),
            row.message,
            row.author,
            row.num_samples,
            row.num_changed,
            dict(row.counts),
            row.created_at,
        )

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

    # statements

    def _first(self, query: sa.Select[Any]) -> Any:
        return self._connection.execute(query).first()

    def _by_ids(self, query: sa.Select[Any], column: sa.Column[Any], ids: Iterable[str]) -> Iterator[Any]:
        for chunk in _chunks(ids):
            yield from self._connection.execute(query.where(column.in_(chunk)))

    def _add(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert the rows that are not there."""
        if rows:
            self._connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _put(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert, or replace what is not part of the primary key."""
        if not rows:
            return
        insert = self._insert(table)
        keys = [column.name for column in table.primary_key.columns]
        changed = {name: insert.excluded[name] for name in rows[0] if name not in keys}
        self._connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        is_sqlite = self._connection.dialect.name == "sqlite"
        return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


def _in(table: sa.Table, scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.organisation_id == scope.organisation_id, table.c.project_id == scope.project_id)


def _keys(scope: Scope) -> dict[str, str]:
    return {"organisation_id": scope.organisation_id, "project_id": scope.project_id}


def _pairs(counts: Mapping[int, int]) -> list[list[int]]:
    """JSON has no integer keys."""
    return [[class_id, pixels] for class_id, pixels in sorted(counts.items())]


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), _IN_MAX):
        yield distinct[start : start + _IN_MAX]


def _part(row: Any) -> Part:
    return Part(row.digest, row.kind, row.encoding, row.base, row.depth, row.pack, row.offset, row.size_bytes)


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
