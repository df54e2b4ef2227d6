"""The first schema: projects, runs and their epochs, models; and the runtime's tables."""

import sqlalchemy as sa
from alembic import op

import terrazzo_runtime.tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("event_type", sa.String(length=100), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("parked_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index(op.f("ix_dead_letters_organisation_id"), "dead_letters", ["organisation_id"], unique=False)
    op.create_table(
        "epochs",
        sa.Column("run_id", sa.String(length=70), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("organisation_id", sa.String(length=70), nullable=False),
        sa.Column("loss", sa.Float(), nullable=False),
        sa.Column("learning_rate", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "epoch"),
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("handled_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index(op.f("ix_inbox_handled_at"), "inbox", ["handled_at"], unique=False)
    op.create_table(
        "models",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_id", sa.String(length=70), nullable=False),
        sa.Column("organisation_id", sa.String(length=70), nullable=False),
        sa.Column("project_id", sa.String(length=70), nullable=False),
        sa.Column("run_id", sa.String(length=70), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=False),
        sa.Column("eval_commit_id", sa.String(length=64), nullable=False),
        sa.Column("parent_model_id", sa.String(length=70), nullable=True),
        sa.Column("model_name", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("arch", sa.String(length=100), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("code_version", sa.String(length=100), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("weights_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("created_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("promoted_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("model_id"),
        sa.UniqueConstraint("project_id", "version", name="uq_models_version"),
        sa.UniqueConstraint("run_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_models_project", "models", ["organisation_id", "project_id", "state"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "projects",
        sa.Column("project_id", sa.String(length=70), nullable=False),
        sa.Column("organisation_id", sa.String(length=70), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("ontology_json", sa.Text(), nullable=False),
        sa.Column("ontology_version", sa.Integer(), nullable=False),
        sa.Column("held_out_percent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "requests",
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("answered_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "caller", "key"),
    )
    op.create_index(op.f("ix_requests_answered_at"), "requests", ["answered_at"], unique=False)
    op.create_table(
        "revoked_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("revoked_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "runs",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(length=70), nullable=False),
        sa.Column("organisation_id", sa.String(length=70), nullable=False),
        sa.Column("project_id", sa.String(length=70), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("ref", sa.String(length=200), nullable=False),
        sa.Column("eval_ref", sa.String(length=200), nullable=True),
        sa.Column("init_from", sa.String(length=70), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=True),
        sa.Column("eval_commit_id", sa.String(length=64), nullable=True),
        sa.Column("model_id", sa.String(length=70), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("code_version", sa.String(length=100), nullable=True),
        sa.Column("num_starts", sa.Integer(), nullable=False),
        sa.Column("num_crashes", sa.Integer(), nullable=False),
        sa.Column("started_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("finished_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("run_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_project", "runs", ["organisation_id", "project_id", "sequence"], unique=False)
    op.create_index(op.f("ix_runs_state"), "runs", ["state"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_state"), table_name="runs")
    op.drop_index("ix_runs_project", table_name="runs")
    op.drop_table("runs")
    op.drop_table("revoked_keys")
    op.drop_index(op.f("ix_requests_answered_at"), table_name="requests")
    op.drop_table("requests")
    op.drop_table("projects")
    op.drop_table("outbox")
    op.drop_index("ix_models_project", table_name="models")
    op.drop_table("models")
    op.drop_index(op.f("ix_inbox_handled_at"), table_name="inbox")
    op.drop_table("inbox")
    op.drop_table("epochs")
    op.drop_index(op.f("ix_dead_letters_organisation_id"), table_name="dead_letters")
    op.drop_table("dead_letters")
