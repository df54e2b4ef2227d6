"""The task service's tables. Running counts are rows of their own, so that progress never scans."""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)
_ID = sa.String(100)
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up only an INTEGER primary key


def _sequence() -> sa.Column[int]:
    return sa.Column("sequence", _SEQUENCE, primary_key=True)


organisations = sa.Table(
    "organisations",
    metadata,
    sa.Column("organisation_id", _ID, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", _ID, primary_key=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("vendor", sa.String(200)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Index("ix_keys_organisation", "organisation_id", "key_id"),
)
projects = sa.Table(
    "projects",
    metadata,
    _sequence(),
    sa.Column("project_id", _ID, nullable=False, unique=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("held_out_percent", sa.Integer, nullable=False),
    sa.Column("lease_s", sa.Integer, nullable=False),
    sa.Column("ontology_version", sa.Integer, nullable=False),
    sa.Column("model_id", _ID),
    sa.Column("model_at", UtcDateTime),
    sa.Column("num_samples", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_projects_organisation", "organisation_id", "sequence"),
    sqlite_autoincrement=True,
)
ontologies = sa.Table(
    "ontologies",
    metadata,
    sa.Column("project_id", _ID, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("ontology_json", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
samples = sa.Table(
    "samples",
    metadata,
    sa.Column("project_id", _ID, primary_key=True),
    sa.Column("sample_id", _ID, primary_key=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("image_hash", sa.String(64), nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("split", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("mask_id", sa.String(64)),
    sa.Column("mask_revision", sa.Integer, nullable=False),
    sa.Column("entropy_mean", sa.Float),
    sa.Column("scored_by", _ID),
    sa.Column("scored_at", UtcDateTime),
    sa.Column("classes", sa.JSON, nullable=False),  # [[class_id, share, entropy], ...]
    sa.Column("embedding", sa.LargeBinary),  # float32, little endian
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_samples_state", "project_id", "state", "split", "sample_id"),
)
batches = sa.Table(
    "batches",
    metadata,
    _sequence(),
    sa.Column("batch_id", _ID, nullable=False, unique=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("project_id", _ID, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("strategy", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("model_id", _ID),
    sa.Column("sample_ids", sa.JSON, nullable=False),
    sa.Column("num_tasks", sa.Integer, nullable=False),
    sa.Column("num_tasks_final", sa.Integer, nullable=False),
    sa.Column("num_waiting", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("proposed_at", UtcDateTime, nullable=False),  # when a proposal last came in
    sa.Column("closed_at", UtcDateTime),
    sa.Index("ix_batches_project", "project_id", "sequence"),
    sa.Index("ix_batches_waiting", "state", "proposed_at"),
    sqlite_autoincrement=True,
)
tasks = sa.Table(
    "tasks",
    metadata,
    _sequence(),
    sa.Column("task_id", _ID, nullable=False, unique=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("project_id", _ID, nullable=False),
    sa.Column("batch_id", _ID, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("sample_id", _ID, nullable=False),
    sa.Column("sample_name", sa.Text, nullable=False),
    sa.Column("image_hash", sa.String(64), nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("queue_rank", sa.Integer, nullable=False),  # -priority: an index runs one way
    sa.Column("redundancy", sa.Integer, nullable=False),
    sa.Column("num_submissions", sa.Integer, nullable=False),
    sa.Column("num_returned", sa.Integer, nullable=False),
    sa.Column("chosen_by", sa.String(20)),
    sa.Column("proposal_mask_id", sa.String(64)),
    sa.Column("proposal_model_id", _ID),
    sa.Column("region", sa.JSON(none_as_null=True)),  # [y, x, height, width]
    sa.Column("mask_id", sa.String(64)),
    sa.Column("candidate_mask_ids", sa.JSON, nullable=False),
    sa.Column("base_mask_id", sa.String(64)),
    sa.Column("removed_by", sa.String(10)),
    sa.Column("parent_task_id", _ID),
    sa.Column("subject_id", _ID),
    sa.Column("returned_reason", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime),
    sa.UniqueConstraint("organisation_id", "kind", "subject_id", name="uq_tasks_subject"),
    # In the queue's own order, so that the next task is found without sorting those behind it.
    sa.Index("ix_tasks_queue", "project_id", "state", "queue_rank", "sequence"),
    sa.Index("ix_tasks_project", "project_id", "sequence"),
    sa.Index("ix_tasks_batch", "batch_id", "sample_id"),
    sa.Index("ix_tasks_parent", "parent_task_id"),
    sqlite_autoincrement=True,
)
exclusions = sa.Table(
    "exclusions",
    metadata,
    sa.Column("task_id", _ID, primary_key=True),
    sa.Column("annotator_id", _ID, primary_key=True),
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("lease_id", _ID, primary_key=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("project_id", _ID, nullable=False),
    sa.Column("task_id", _ID, nullable=False),
    sa.Column("annotator_id", _ID, nullable=False),
    sa.Column("vendor", sa.String(200)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Index("ix_leases_task", "task_id", "state", "expires_at"),
    sa.Index("ix_leases_person", "annotator_id", "state", "expires_at"),
    sa.Index("ix_leases_vendor", "vendor", "task_id"),
    sa.Index("ix_leases_project", "project_id", "state", "expires_at"),
    sa.Index("ix_leases_expiry", "state", "expires_at"),
)
submissions = sa.Table(
    "submissions",
    metadata,
    _sequence(),
    sa.Column("submission_id", _ID, nullable=False, unique=True),
    sa.Column("organisation_id", _ID, nullable=False),
    sa.Column("project_id", _ID, nullable=False),
    sa.Column("batch_id", _ID, nullable=False),
    sa.Column("task_id", _ID, nullable=False),
    sa.Column("lease_id", _ID, nullable=False, unique=True),  # a lease is used once
    sa.Column("sample_id", _ID, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("annotator_id", _ID, nullable=False),
    sa.Column("annotator", sa.String(200), nullable=False),
    sa.Column("vendor", sa.String(200)),
    sa.Column("mask_id", sa.String(64)),
    sa.Column("verdict", sa.String(10)),
    sa.Column("seconds_spent", sa.Float, nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("is_counted", sa.Boolean, nullable=False),
    sa.Column("codes", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_submissions_task", "task_id", "annotator_id"),
    sa.Index("ix_submissions_project", "project_id", "sequence"),
    sa.Index("ix_submissions_annotator", "project_id", "annotator_id", "sequence"),
    sqlite_autoincrement=True,
)
counts = sa.Table(
    "counts",
    metadata,
    sa.Column("project_id", _ID, primary_key=True),
    sa.Column("scope", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
class_pixels = sa.Table(
    "class_pixels",
    metadata,
    sa.Column("project_id", _ID, primary_key=True),
    sa.Column("class_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("labelled", sa.Boolean, primary_key=True),
    sa.Column("pixels", sa.BigInteger, nullable=False),
    sa.Column("num_samples", sa.Integer, nullable=False),
)
worked = sa.Table(
    "worked",
    metadata,
    sa.Column("project_id", _ID, primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("person", sa.String(200), primary_key=True),  # key id, or the vendor's name
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("num_tasks", sa.Integer, nullable=False),
    sa.Column("num_submissions", sa.Integer, nullable=False),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
)
