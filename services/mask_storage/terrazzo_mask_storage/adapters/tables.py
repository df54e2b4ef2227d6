"""The tables of the mask storage service."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)


class Digest(TypeDecorator[str]):
    """A hash of 32 bytes, 64 hex digits to the program and half of that to the database."""

    impl = sa.LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else bytes(value).hex()


def _organisation() -> sa.Column[str]:
    return sa.Column("organisation_id", sa.String(100), primary_key=True)


def _project() -> sa.Column[str]:
    return sa.Column("project_id", sa.String(100), primary_key=True)


projects = sa.Table(
    "projects",
    metadata,
    _organisation(),
    _project(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("held_out_percent", sa.Integer, nullable=False),
    sa.Column("ontology_version", sa.Integer, nullable=False),
    sa.Column("ontology_json", sa.Text, nullable=False),
)
images = sa.Table(
    "images",
    metadata,
    _organisation(),
    _project(),
    sa.Column("image_hash", sa.String(64), primary_key=True),
    sa.Column("sample_id", sa.String(100), nullable=False),
    sa.Column("names", sa.JSON, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("channels", sa.Integer, nullable=False),
    sa.Column("media_type", sa.String(100), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("organisation_id", "project_id", "sample_id", name="images_by_sample"),
)
pyramids = sa.Table(
    "pyramids",
    metadata,
    _organisation(),
    _project(),
    sa.Column("image_hash", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
)
# Blobs of parts. `settled`: the tiles in it are stored small, or there was nothing to gain.
packs = sa.Table(
    "packs",
    metadata,
    sa.Column("pack_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("organisation_id", sa.String(100), nullable=False),
    sa.Column("digest", Digest, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),
    sa.Column("stored_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("organisation_id", "digest", name="packs_once"),
    sa.Index("packs_to_settle", "settled", "stored_at"),
)
# Tiles, manifest nodes, tree nodes by digest: where in which pack, and how. Shared by an organisation's projects.
# There are millions of rows: no row id, no second index, hashes as bytes.
parts = sa.Table(
    "parts",
    metadata,
    _organisation(),
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("pack_id", sa.BigInteger, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("encoding", sa.String(10), nullable=False),
    sa.Column("base", Digest, nullable=True),  # what a patch is laid on
    sa.Column("depth", sa.SmallInteger, nullable=False),  # patches on patches: how many
    sqlite_with_rowid=False,
)
masks = sa.Table(
    "masks",
    metadata,
    _organisation(),
    _project(),
    sa.Column("mask_id", Digest, primary_key=True),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("dtype", sa.String(10), nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),  # [[class id, pixels], ...]
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("base_mask_id", Digest, nullable=True),
    sa.Column("flow", sa.LargeBinary, nullable=True),  # packed: see domain/packed.py
    sqlite_with_rowid=False,
)
provenance = sa.Table(
    "provenance",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("organisation_id", sa.String(100), nullable=False),
    sa.Column("project_id", sa.String(100), nullable=False),
    sa.Column("mask_id", Digest, nullable=False),
    sa.Column("source", sa.String(20), nullable=False),
    sa.Column("sample_id", sa.String(100), nullable=False),
    sa.Column("submission_id", sa.String(100), nullable=False),  # "" for none: NULLs would never be equal
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("parent_mask_id", Digest, nullable=True),
    sa.Column("source_mask_ids", sa.JSON, nullable=False),
    sa.UniqueConstraint(
        "organisation_id",
        "project_id",
        "mask_id",
        "source",
        "sample_id",
        "submission_id",
        "actor",
        name="provenance_once",
    ),
)
acceptances = sa.Table(
    "acceptances",
    metadata,
    _organisation(),
    _project(),
    sa.Column("sample_id", sa.String(100), primary_key=True),
    sa.Column("task_id", sa.String(100), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("mask_id", sa.String(64), nullable=False),
    sa.Column("decided_by", sa.String(20), nullable=False),
    sa.Column("submission_ids", sa.JSON, nullable=False),
)
staged = sa.Table(
    "staged",
    metadata,
    _organisation(),
    _project(),
    sa.Column("branch", sa.String(100), primary_key=True),
    sa.Column("sample_id", sa.String(100), primary_key=True),
    sa.Column("mask_id", sa.String(64), nullable=True),
)
branches = sa.Table(
    "branches",
    metadata,
    _organisation(),
    _project(),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("commit_id", sa.String(64), nullable=False),
)
commits = sa.Table(
    "commits",
    metadata,
    _organisation(),
    _project(),
    sa.Column("commit_id", sa.String(64), primary_key=True),
    sa.Column("tree_id", sa.String(64), nullable=False),
    sa.Column("branch", sa.String(100), nullable=False),
    sa.Column("parent_ids", sa.JSON, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("num_samples", sa.Integer, nullable=False),
    sa.Column("num_changed", sa.Integer, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),  # [[class id, pixels], ...]
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("commits_by_time", "organisation_id", "project_id", "created_at"),
)
tags = sa.Table(
    "tags",
    metadata,
    _organisation(),
    _project(),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("commit_id", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
merges = sa.Table(
    "merges",
    metadata,
    _organisation(),
    _project(),
    sa.Column("merge_id", sa.String(100), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("source", sa.String(200), nullable=False),
    sa.Column("source_commit_id", sa.String(64), nullable=False),
    sa.Column("target", sa.String(100), nullable=False),
    sa.Column("target_commit_id", sa.String(64), nullable=True),
    sa.Column("base_commit_ids", sa.JSON, nullable=False),
    sa.Column("strategy", sa.String(20), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("commit_id", sa.String(64), nullable=True),
    sa.Column("num_changed", sa.Integer, nullable=False),
    sa.Column("num_blended", sa.Integer, nullable=False),
    sa.Column("num_conflicts", sa.Integer, nullable=False),
    sa.Column("num_resolved", sa.Integer, nullable=False),
    sa.Column("report_id", sa.String(100), nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime, nullable=True),
    sa.Index("merges_by_state", "state"),
)
merge_conflicts = sa.Table(
    "merge_conflicts",
    metadata,
    _organisation(),
    _project(),
    sa.Column("conflict_id", sa.String(100), primary_key=True),
    sa.Column("merge_id", sa.String(100), nullable=False),
    sa.Column("sample_id", sa.String(100), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("base_mask_id", sa.String(64), nullable=True),
    sa.Column("ours_mask_id", sa.String(64), nullable=True),
    sa.Column("theirs_mask_id", sa.String(64), nullable=True),
    sa.Column("merged_mask_id", sa.String(64), nullable=True),
    sa.Column("num_pixels", sa.BigInteger, nullable=False),
    sa.Column("box", sa.JSON(none_as_null=True), nullable=True),  # [y, x, height, width]
    sa.Column("boxes", sa.JSON, nullable=False),
    sa.Column("flow", sa.JSON, nullable=False),  # [[ours, theirs, pixels], ...]
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("mask_id", sa.String(64), nullable=True),
    sa.Column("resolved_by", sa.String(200), nullable=True),
    sa.Index("conflicts_of_merge", "merge_id", "sample_id"),
)
gates = sa.Table(
    "gates",
    metadata,
    _organisation(),
    _project(),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("num_rules", sa.Integer, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
gate_reports = sa.Table(
    "gate_reports",
    metadata,
    _organisation(),
    _project(),
    sa.Column("report_id", sa.String(100), primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("branch", sa.String(100), nullable=False),
    sa.Column("tree_id", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),  # of the gates file
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("outcomes", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
agreements = sa.Table(
    "agreements",
    metadata,
    _organisation(),
    _project(),
    sa.Column("sample_id", sa.String(100), primary_key=True),
    sa.Column("task_id", sa.String(100), nullable=False),
    sa.Column("agreement", sa.Float, nullable=False),
    sa.Column("num_votes", sa.Integer, nullable=False),
    sa.Column("said_at", UtcDateTime, nullable=False),
)
