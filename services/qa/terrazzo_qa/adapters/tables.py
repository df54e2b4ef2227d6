"""The QA service's tables. Every row names its organisation; lists and boxes are JSON."""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)


def _id(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(100), nullable=False, primary_key=primary_key)


def _hash(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), nullable=nullable)


def _owner() -> list[sa.Column[str]]:
    return [_id("organisation_id"), _id("project_id")]


def _sample() -> list[sa.Column[object]]:
    return [
        sa.Column("sample_id", sa.String(100), nullable=False),
        sa.Column("image_hash", sa.String(64), nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
    ]


projects = sa.Table(
    "projects",
    metadata,
    _id("organisation_id"),
    _id("project_id", primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("ontology_version", sa.Integer, nullable=False),
    sa.Column("ontology_json", sa.Text, nullable=False),
    sa.Column("held_out_percent", sa.Integer, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("settings_problem", sa.Text, nullable=True),
)

submissions = sa.Table(
    "submissions",
    metadata,
    *_owner(),
    _id("submission_id", primary_key=True),
    _id("task_id"),
    _id("batch_id"),
    sa.Column("kind", sa.String(20), nullable=False),
    *_sample(),
    sa.Column("mask_id", sa.String(64), nullable=False),
    _id("annotator_id"),
    sa.Column("seconds_spent", sa.Float, nullable=False),
    sa.Column("redundancy", sa.Integer, nullable=False),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("submissions_of_task", "task_id"),
    sa.Index("submissions_of_project", "project_id", "submission_id"),
    sa.Index("submissions_of_sample", "project_id", "sample_id"),
)

consensus = sa.Table(
    "consensus",
    metadata,
    *_owner(),
    _id("task_id", primary_key=True),
    _id("batch_id"),
    *_sample(),
    _hash("mask_id"),
    _hash("posterior_hash"),
    _hash("disagreement_hash"),
    _hash("disputed_hash"),
    sa.Column("method", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("agreement", sa.Float, nullable=False),
    sa.Column("disputed_pixels", sa.BigInteger, nullable=False),
    sa.Column("region", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("submission_ids", sa.JSON, nullable=False),
    sa.Column("annotator_ids", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("consensus_of_project", "project_id", "task_id"),
)

adjudications = sa.Table(
    "adjudications",
    metadata,
    *_owner(),
    _id("adjudication_id", primary_key=True),
    sa.Column("task_id", sa.String(100), nullable=False, unique=True),
    _id("batch_id"),
    *_sample(),
    _hash("consensus_mask_id"),
    sa.Column("region", sa.JSON, nullable=False),
    sa.Column("disputed_pixels", sa.BigInteger, nullable=False),
    sa.Column("candidate_mask_ids", sa.JSON, nullable=False),
    sa.Column("annotator_ids", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("decided_by", sa.String(100), nullable=True),
    sa.Column("submission_id", sa.String(100), nullable=True),
    _hash("mask_id", nullable=True),
    sa.Column("merge_id", sa.String(100), nullable=True),
    _hash("base_mask_id", nullable=True),
    sa.Column("removed_by", sa.String(10), nullable=True),
    sa.Index("adjudications_of_project", "project_id", "adjudication_id"),
)

acceptances = sa.Table(
    "acceptances",
    metadata,
    _id("organisation_id"),
    _id("project_id", primary_key=True),
    sa.Column("sample_id", sa.String(100), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("image_hash", sa.String(64), nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    _id("task_id"),
    _id("batch_id"),
    _hash("mask_id"),
    sa.Column("decided_by", sa.String(20), nullable=False),
    sa.Column("submission_ids", sa.JSON, nullable=False),
    sa.Column("annotator_ids", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("acceptances_of_task", "task_id"),
    sa.Index("acceptances_of_batch", "batch_id"),
)

audits = sa.Table(
    "audits",
    metadata,
    *_owner(),
    _id("audit_id", primary_key=True),
    _id("batch_id"),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("num_items", sa.Integer, nullable=False),
    sa.Column("num_judged", sa.Integer, nullable=False),
    sa.Column("num_errors", sa.Integer, nullable=False),
    sa.Column("error_rate_upper", sa.Float, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("audits_of_project", "project_id", "audit_id"),
)

audit_items = sa.Table(
    "audit_items",
    metadata,
    *_owner(),
    _id("audit_item_id", primary_key=True),
    sa.Column("audit_id", sa.String(100), sa.ForeignKey("audits.audit_id"), nullable=False),
    _id("task_id"),
    *_sample(),
    _hash("mask_id"),
    sa.Column("submission_ids", sa.JSON, nullable=False),
    sa.Column("annotator_ids", sa.JSON, nullable=False),
    sa.Column("verdict", sa.String(10), nullable=True),
    sa.Column("auditor_id", sa.String(100), nullable=True),
    _hash("corrected_mask_id", nullable=True),
    sa.Index("audit_items_of_audit", "audit_id", "sample_id"),
)

scorecards = sa.Table(
    "scorecards",
    metadata,
    _id("organisation_id"),
    _id("project_id", primary_key=True),
    _id("annotator_id", primary_key=True),
    sa.Column("num_submissions", sa.Integer, nullable=False),
    sa.Column("num_returned", sa.Integer, nullable=False),
    sa.Column("num_late", sa.Integer, nullable=False),
    sa.Column("num_multi", sa.Integer, nullable=False),
    sa.Column("num_agreement", sa.Integer, nullable=False),
    sa.Column("agreement_ppb", sa.BigInteger, nullable=False),
    sa.Column("num_adjudicated", sa.Integer, nullable=False),
    sa.Column("num_audited", sa.Integer, nullable=False),
    sa.Column("num_audit_errors", sa.Integer, nullable=False),
    sa.Column("worked_ms", sa.BigInteger, nullable=False),
)
