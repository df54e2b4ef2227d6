"""The tables of the mask storage service."""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)


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
# Tiles, manifests and tree nodes by digest: where in which blob. Shared by an organisation's projects.
parts = sa.Table(
    "parts",
    metadata,
    _organisation(),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("pack", sa.String(64), nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)
masks = sa.Table(
    "masks",
    metadata,
    _organisation(),
    _project(),
    sa.Column("mask_id", sa.String(64), primary_key=True),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("dtype", sa.String(10), nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),  # [[class id, pixels], ...]
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)
provenance = sa.Table(
    "provenance",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("organisation_id", sa.String(100), nullable=False),
    sa.Column("project_id", sa.String(100), nullable=False),
    sa.Column("mask_id", sa.String(64), nullable=False),
    sa.Column("source", sa.String(20), nullable=False),
    sa.Column("sample_id", sa.String(100), nullable=False),
    sa.Column("submission_id", sa.String(100), nullable=False),  # "" for none: NULLs would never be equal
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("parent_mask_id", sa.String(64), nullable=True),
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
