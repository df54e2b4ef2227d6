"""The service's tables."""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)

# SQLite counts up only an INTEGER primary key.
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("project_id", sa.String(100), primary_key=True),
    sa.Column("organisation_id", sa.String(64), nullable=False, index=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("ontology_json", sa.Text, nullable=False),
    sa.Column("ontology_version", sa.Integer, nullable=False),
    sa.Column("held_out_percent", sa.Integer, nullable=False),
    sa.Column("qa_settings", sa.Text, nullable=False),
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("project_id", sa.String(100), primary_key=True),
    sa.Column("sample_id", sa.String(100), primary_key=True),
    sa.Column("organisation_id", sa.String(64), nullable=False),
    sa.Column("image_hash", sa.String(64), nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("split", sa.String(20), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
)

# Every model version that was ever promoted in a project.
models = sa.Table(
    "models",
    metadata,
    sa.Column("project_id", sa.String(100), primary_key=True),
    sa.Column("model_id", sa.String(100), primary_key=True),
    sa.Column("organisation_id", sa.String(64), nullable=False),
    sa.Column("model_name", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("class_ids", sa.JSON, nullable=False),
    sa.Column("tile_px", sa.Integer, nullable=False),
    sa.Column("loaded_at", UtcDateTime, nullable=False),
)

# Which of them answers for the project now.
predictors = sa.Table(
    "predictors",
    metadata,
    sa.Column("project_id", sa.String(100), primary_key=True),
    sa.Column("organisation_id", sa.String(64), nullable=False),
    sa.Column("model_id", sa.String(100), nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("sequence", _SEQUENCE, primary_key=True),
    sa.Column("job_id", sa.String(64), nullable=False, unique=True),
    sa.Column("organisation_id", sa.String(64), nullable=False),
    sa.Column("project_id", sa.String(100), nullable=False),
    sa.Column("purpose", sa.String(20), nullable=False),
    sa.Column("model_id", sa.String(100), nullable=False),
    sa.Column("batch_id", sa.String(100), nullable=False),
    sa.Column("num_samples", sa.Integer, nullable=False),
    sa.Column("num_done", sa.Integer, nullable=False),
    sa.Column("num_failed", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=True),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    sa.Index("jobs_of_project", "project_id", "sequence"),
    sa.Index("jobs_of_batch", "project_id", "batch_id"),
    sqlite_autoincrement=True,
)

# What a job still has to do, and why what failed did. A done item is its prediction.
job_items = sa.Table(
    "job_items",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),  # 0 before 1: proposals before scores
    sa.Column("job_sequence", _SEQUENCE, nullable=False),
    sa.Column("sample_id", sa.String(100), nullable=False),
    sa.Column("image_hash", sa.String(64), nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),  # waiting, done, failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("not_before", UtcDateTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("job_items_in_order", "state", "rank", "job_sequence", "position"),
)

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("sequence", _SEQUENCE, primary_key=True),
    sa.Column("prediction_id", sa.String(64), nullable=False, unique=True),
    sa.Column("organisation_id", sa.String(64), nullable=False),
    sa.Column("project_id", sa.String(100), nullable=False),
    sa.Column("sample_id", sa.String(100), nullable=False),
    sa.Column("model_id", sa.String(100), nullable=False),
    sa.Column("job_id", sa.String(64), nullable=False),
    sa.Column("batch_id", sa.String(100), nullable=False),
    sa.Column("purpose", sa.String(20), nullable=False),
    sa.Column("mask_id", sa.String(64), nullable=True),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("entropy_mean", sa.Float, nullable=False),
    sa.Column("margin_mean", sa.Float, nullable=False),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("embedding", sa.LargeBinary, nullable=False),  # float32, little endian
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("predictions_of_project", "project_id", "sequence"),
    sa.Index("predictions_of_sample", "project_id", "sample_id", "sequence"),
    sa.Index("predictions_of_model", "project_id", "model_id", "sequence"),
    sqlite_autoincrement=True,
)
