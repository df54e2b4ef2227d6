"""The training database."""

from __future__ import annotations

import sqlalchemy as sa

from terrazzo_runtime.tables import UtcDateTime, runtime_tables

metadata = sa.MetaData()
runtime = runtime_tables(metadata)


def _sequence() -> sa.Column[int]:
    # SQLite counts up only an INTEGER primary key.
    return sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


projects = sa.Table(
    "projects",
    metadata,
    sa.Column("project_id", sa.String(70), primary_key=True),
    sa.Column("organisation_id", sa.String(70), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("ontology_json", sa.Text, nullable=False),
    sa.Column("ontology_version", sa.Integer, nullable=False),
    sa.Column("held_out_percent", sa.Integer, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    _sequence(),
    sa.Column("run_id", sa.String(70), nullable=False, unique=True),
    sa.Column("organisation_id", sa.String(70), nullable=False),
    sa.Column("project_id", sa.String(70), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("ref", sa.String(200), nullable=False),
    sa.Column("eval_ref", sa.String(200)),
    sa.Column("init_from", sa.String(70)),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("commit_id", sa.String(64)),
    sa.Column("eval_commit_id", sa.String(64)),
    sa.Column("model_id", sa.String(70)),
    sa.Column("reason", sa.Text),
    sa.Column("code_version", sa.String(100)),
    sa.Column("num_starts", sa.Integer, nullable=False),
    sa.Column("num_crashes", sa.Integer, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Index("ix_runs_project", "organisation_id", "project_id", "sequence"),
    sqlite_autoincrement=True,
)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("run_id", sa.String(70), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("organisation_id", sa.String(70), nullable=False),
    sa.Column("loss", sa.Float, nullable=False),
    sa.Column("learning_rate", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    _sequence(),
    sa.Column("model_id", sa.String(70), nullable=False, unique=True),
    sa.Column("organisation_id", sa.String(70), nullable=False),
    sa.Column("project_id", sa.String(70), nullable=False),
    sa.Column("run_id", sa.String(70), nullable=False, unique=True),
    sa.Column("commit_id", sa.String(64), nullable=False),
    sa.Column("eval_commit_id", sa.String(64), nullable=False),
    sa.Column("parent_model_id", sa.String(70)),
    sa.Column("model_name", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("arch", sa.String(100), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("code_version", sa.String(100), nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("weights_hash", sa.String(64), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("promoted_at", UtcDateTime),
    sa.UniqueConstraint("project_id", "version", name="uq_models_version"),
    sa.Index("ix_models_project", "organisation_id", "project_id", "state"),
    sqlite_autoincrement=True,
)
