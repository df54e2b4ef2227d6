"""Masks, where they come from, and working sets: a part of `store.SqlStore`.

A mask's row and those of its provenance name it by the number of its manifest's root (`tables.parts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from terrazzo_mask_storage.adapters import tables
from terrazzo_mask_storage.adapters.columns import Digest, sample_key, sample_of_key
from terrazzo_mask_storage.adapters.statements import Statements
from terrazzo_mask_storage.domain.blame import SOURCES, Origin
from terrazzo_mask_storage.domain.packed import pack_counts, pack_flow, total_counts, unpack_counts, unpack_flow
from terrazzo_mask_storage.ports import Mask, Scope

_ROOT = "(SELECT part_id FROM parts WHERE owner = ? AND digest = ?)"
_ADD_MASK = f"""
INSERT INTO masks (owner, part_id, height, width, size_bytes, counts, base, flow)
VALUES (?, {_ROOT}, ?, ?, ?, ?, {_ROOT}, ?)
ON CONFLICT DO NOTHING"""
_ADD_ORIGIN = f"""
INSERT INTO provenance
    (owner, part_id, source, sample_id, submission_id, actor, place, parent, source_masks)
VALUES
    (?, {_ROOT}, ?, ?, ?, ?,
     (SELECT coalesce(max(place), 0) + 1 FROM provenance WHERE owner = ? AND part_id = {_ROOT}),
     {_ROOT}, ?)
ON CONFLICT DO NOTHING"""
_STAGE = """
INSERT INTO staged (owner, branch, sample_id, mask_id) VALUES (?, ?, ?, ?)
ON CONFLICT (owner, branch, sample_id) DO UPDATE SET mask_id = excluded.mask_id"""
_STAGED = "SELECT sample_id, mask_id FROM staged WHERE owner = ? AND branch = ? ORDER BY sample_id"
_UNSTAGE = "DELETE FROM staged WHERE owner = ? AND branch = ? AND sample_id = ?"
_ID_BYTES = 32


class MasksStore(Statements):
    """Implements the part of ports.Store that says what masks there are."""

    def mask(self, scope: Scope, mask_id: str) -> Mask | None:
        return self.masks(scope, [mask_id]).get(mask_id)

    def masks(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, Mask]:
        found = {}
        columns = "masks.height, masks.width, masks.counts, masks.size_bytes, base.digest, masks.flow"
        for root, height, width, packed, size_bytes, base, flow in self._of_masks(columns, scope, mask_ids):
            mask_id, counts = root.hex(), dict(unpack_counts(packed))
            found[mask_id] = Mask(
                mask_id,
                height,
                width,
                # As a manifest says it: see docs/storage-format.md.
                "uint8" if max(counts, default=0) < 256 else "uint16",
                counts,
                size_bytes,
                None if base is None else base.hex(),
                None if flow is None else unpack_flow(flow),
            )
        return found

    def mask_bytes(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, int]:
        rows = self._of_masks("masks.size_bytes", scope, mask_ids)
        return {root.hex(): size_bytes for root, size_bytes in rows}

    def mask_sizes(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        rows = self._of_masks("masks.height, masks.width", scope, mask_ids)
        return {root.hex(): (height, width) for root, height, width in rows}

    def total_counts(self, scope: Scope, weights: Mapping[str, int]) -> dict[int, int]:
        rows = list(self._of_masks("masks.counts", scope, weights))
        if len(rows) < len(weights):
            raise KeyError(min(weights.keys() - {root.hex() for root, _ in rows}))
        return total_counts([counts for _, counts in rows], [weights[root.hex()] for root, _ in rows])

    def mask_counts(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
        rows = self._of_masks("masks.counts", scope, mask_ids)
        return {root.hex(): unpack_counts(counts) for root, counts in rows}

    def mask_flows(
        self, scope: Scope, mask_ids: Iterable[str]
    ) -> dict[str, tuple[str, dict[tuple[int, int], int]]]:
        rows = self._of_masks("base.digest, masks.flow", scope, mask_ids)
        return {
            root.hex(): (base.hex(), unpack_flow(flow))
            for root, base, flow in rows
            if base is not None and flow is not None
        }

    def _of_masks(self, columns: str, scope: Scope, mask_ids: Iterable[str]) -> Iterator[Any]:
        """(mask id, columns) of those that the project has."""
        with_bases = "LEFT JOIN parts AS base ON base.part_id = masks.base" if "base." in columns else ""
        query = (
            f"SELECT root.digest, {columns} FROM parts AS root "
            f"JOIN masks ON masks.part_id = root.part_id AND masks.owner = ? {with_bases} "
            "WHERE root.owner = ? AND root.digest"
        )
        project = self._owner(scope.organisation_id, scope.project_id)
        return self._by_digests(query, (project, self._owner(scope.organisation_id)), mask_ids)

    def add_masks(self, scope: Scope, masks: Iterable[Mask]) -> None:
        organisation = self._owner_for_change(scope.organisation_id)
        project = self._owner_for_change(scope.organisation_id, scope.project_id)
        rows = [
            (
                project,
                organisation,
                bytes.fromhex(mask.mask_id),
                mask.height,
                mask.width,
                mask.size_bytes,
                pack_counts(mask.counts),
                organisation,
                None if mask.base_mask_id is None else bytes.fromhex(mask.base_mask_id),
                None if mask.flow is None else pack_flow(mask.flow),
            )
            # By id: two writers of the same masks then never wait for each other in a ring.
            for mask in sorted(masks, key=lambda mask: mask.mask_id)
        ]
        self._each(_ADD_MASK, rows)

    # provenance

    def origins(self, scope: Scope, mask_id: str) -> list[tuple[str, Origin]]:
        asked = {
            "of_organisation": self._owner(scope.organisation_id),
            "of_project": self._owner(scope.organisation_id, scope.project_id),
            "of_mask": mask_id,
        }
        return [
            (sample_id, Origin(SOURCES[source], actor, submission_id or None, parent, _ids(source_masks)))
            for source, sample_id, submission_id, actor, parent, source_masks in self._connection.execute(
                _origins(), asked
            )
        ]

    def add_origins(self, scope: Scope, rows: Iterable[tuple[str, str, Origin]]) -> None:
        organisation = self._owner_for_change(scope.organisation_id)
        project = self._owner_for_change(scope.organisation_id, scope.project_id)
        listed = []
        for mask_id, sample_id, origin in sorted(rows, key=lambda row: row[0]):
            root = (organisation, bytes.fromhex(mask_id))
            sources = b"".join(map(bytes.fromhex, origin.source_mask_ids)) or None
            listed.append(
                (
                    project,
                    *root,
                    SOURCES.index(origin.source),
                    sample_key(sample_id),
                    origin.submission_id or "",
                    origin.actor,
                    project,
                    *root,
                    organisation,
                    None if origin.parent_mask_id is None else bytes.fromhex(origin.parent_mask_id),
                    sources,
                )
            )
        self._each(_ADD_ORIGIN, listed)

    # working sets

    def staged(self, scope: Scope, branch: str) -> dict[str, str | None]:
        asked = (self._owner(scope.organisation_id, scope.project_id), branch)
        rows = self._connection.exec_driver_sql(self._sql(_STAGED), asked).all()
        return dict(sorted((sample_of_key(key), None if mask is None else mask.hex()) for key, mask in rows))

    def stage(self, scope: Scope, branch: str, items: Mapping[str, str | None]) -> None:
        project = self._owner_for_change(scope.organisation_id, scope.project_id)
        rows = [
            (project, branch, sample_key(sample_id), None if mask_id is None else bytes.fromhex(mask_id))
            for sample_id, mask_id in sorted(items.items(), key=lambda item: item[0])
        ]
        self._each(_STAGE, rows)

    def unstage(self, scope: Scope, branch: str, sample_ids: Iterable[str]) -> None:
        project = self._owner(scope.organisation_id, scope.project_id)
        self._each(_UNSTAGE, [(project, branch, sample_key(sample_id)) for sample_id in sorted(sample_ids)])


def _ids(joined: bytes | None) -> tuple[str, ...]:
    text = (joined or b"").hex()
    return tuple(text[at : at + 2 * _ID_BYTES] for at in range(0, len(text), 2 * _ID_BYTES))


@cache
def _origins() -> sa.Select[Any]:
    """A mask's rows of provenance, in the order in which they were told."""
    c, root = tables.provenance.c, tables.parts.c
    parent = tables.parts.alias("parent")
    joined = tables.provenance.join(tables.parts, root.part_id == c.part_id)
    joined = joined.outerjoin(parent, parent.c.part_id == c.parent)
    return (
        sa.select(c.source, c.sample_id, c.submission_id, c.actor, parent.c.digest, c.source_masks)
        .select_from(joined)
        .where(
            root.owner == sa.bindparam("of_organisation", type_=sa.Integer),
            root.digest == sa.bindparam("of_mask", type_=Digest),
            c.owner == sa.bindparam("of_project", type_=sa.Integer),
        )
        .order_by(c.place, c.source, c.sample_id, c.submission_id, c.actor)
    )
