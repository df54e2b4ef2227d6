"""The tables of the mask storage service.

Parts, masks and their provenance are many: there an organisation, a project, a hash that was written before is a
number (`owner`, `part_id`), never text. What is told of them to the program is in `store`.
"""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_mask_storage.adapters.columns import Bytes, Digest, SampleId
from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)


def _organisation() -> sa.Column[str]:
    return sa.Column("organisation_id", sa.String(100), primary_key=True)


def _number() -> sa.types.TypeEngine[int]:
    """Of rows that are numbered as they come. SQLite counts up only an INTEGER primary key."""
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


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
# Organisations (project_id is "") and projects by small numbers. A row never changes and is never removed.
owners = sa.Table(
    "owners",
    metadata,
    sa.Column("owner", sa.Integer, primary_key=True),
    sa.Column("organisation_id", sa.String(100), nullable=False),
    sa.Column("project_id", sa.String(100), nullable=False),
    sa.UniqueConstraint("organisation_id", "project_id", name="owners_once"),
)
# Blobs of parts. `settled`: the tiles in it are stored small, or there was nothing to gain.
packs = sa.Table(
    "packs",
    metadata,
    sa.Column("pack_id", _number(), primary_key=True),
    sa.Column("owner", sa.Integer, nullable=False),  # an organisation
    sa.Column("digest", Digest, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),
    sa.Column("stored_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("owner", "digest", name="packs_once"),
    sa.Index("packs_to_settle", "settled", "stored_at"),
)
# Tiles, manifest nodes, tree nodes: where in which pack, and how. Shared by an organisation's projects. Rows are
# written one behind the other; hashes, which fall anywhere, are in the index alone besides.
parts = sa.Table(
    "parts",
    metadata,
    sa.Column("part_id", _number(), primary_key=True),
    sa.Column("owner", sa.Integer, nullable=False),  # an organisation
    sa.Column("digest", Digest, nullable=False),
    sa.Column("pack_id", sa.BigInteger, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("form", sa.SmallInteger, nullable=False),  # kind and encoding: see domain/packs.py
    sa.Column("base", sa.BigInteger, nullable=True),  # the part that a patch is laid on
    sa.Column("depth", sa.SmallInteger, nullable=False),  # patches on patches: how many
    sa.UniqueConstraint("owner", "digest", name="parts_once"),
    sa.CheckConstraint("(base IS NULL) = (depth = 0)", name="patches_have_bases"),
)
# `part_id` is the root of the mask's manifest, whose digest is the mask's id.
masks = sa.Table(
    "masks",
    metadata,
    sa.Column("owner", sa.Integer, primary_key=True, autoincrement=False),  # a project
    sa.Column("part_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("counts", Bytes, nullable=False),  # packed: see domain/packed.py
    sa.Column("base", sa.BigInteger, nullable=True),  # root of the mask that it was made from
    sa.Column("flow", Bytes, nullable=True),  # packed
    sqlite_with_rowid=False,
)
# All that makes a row another one than the rest is its key: it is stored once, and told once.
provenance = sa.Table(
    "provenance",
    metadata,
    sa.Column("owner", sa.Integer, primary_key=True, autoincrement=False),  # a project
    sa.Column("part_id", sa.BigInteger, primary_key=True, autoincrement=False),  # root of the mask
    sa.Column("source", sa.SmallInteger, primary_key=True, autoincrement=False),  # place in blame.SOURCES
    sa.Column("sample_id", SampleId, primary_key=True),  # "" for none
    sa.Column("submission_id", sa.String(100), primary_key=True),  # "" for none
    sa.Column("actor", sa.String(200), primary_key=True),
    sa.Column("place", sa.BigInteger, nullable=False),  # rises in the order in which a mask's rows were told
    sa.Column("parent", sa.BigInteger, nullable=True),  # root of the parent mask
    sa.Column("source_masks", Bytes, nullable=True),  # their ids, 32 bytes each
    sqlite_with_rowid=False,
)
acceptances = sa.Table(
    "acceptances",
    metadata,
    _organisation(),
    _project(),
    sa.Column("sample_id", sa.String(100), primary_key=True),
    sa.Column("task_id", sa.String(100), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("mask_id", Digest, nullable=False),
    sa.Column("decided_by", sa.String(20), nullable=False),
    sa.Column("submission_ids", sa.JSON, nullable=False),
)
staged = sa.Table(
    "staged",
    metadata,
    sa.Column("owner", sa.Integer, primary_key=True, autoincrement=False),  # a project
    sa.Column("branch", sa.String(100), primary_key=True),
    sa.Column("sample_id", SampleId, primary_key=True),
    sa.Column("mask_id", Digest, nullable=True),
    sqlite_with_rowid=False,
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
    sa.Column("base_mask_id", Digest, nullable=True),
    sa.Column("ours_mask_id", Digest, nullable=True),
    sa.Column("theirs_mask_id", Digest, nullable=True),
    sa.Column("merged_mask_id", Digest, nullable=True),
    sa.Column("num_pixels", sa.BigInteger, nullable=False),
    sa.Column("box", sa.JSON(none_as_null=True), nullable=True),  # [y, x, height, width]
    sa.Column("boxes", sa.JSON, nullable=False),
    sa.Column("flow", sa.JSON, nullable=False),  # [[ours, theirs, pixels], ...]
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("mask_id", Digest, nullable=True),
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
