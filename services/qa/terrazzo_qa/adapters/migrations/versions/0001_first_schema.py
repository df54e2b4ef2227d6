"""The first schema of the QA service."""

import sqlalchemy as sa
from alembic import op

from terrazzo_runtime.tables import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acceptances",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("batch_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("decided_by", sa.String(length=20), nullable=False),
        sa.Column("submission_ids", sa.JSON(), nullable=False),
        sa.Column("annotator_ids", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "sample_id", "revision"),
    )
    op.create_index("acceptances_of_batch", "acceptances", ["batch_id"], unique=False)
    op.create_index("acceptances_of_task", "acceptances", ["task_id"], unique=False)
    op.create_table(
        "adjudications",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("adjudication_id", sa.String(length=100), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("batch_id", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("consensus_mask_id", sa.String(length=64), nullable=False),
        sa.Column("region", sa.JSON(), nullable=False),
        sa.Column("disputed_pixels", sa.BigInteger(), nullable=False),
        sa.Column("candidate_mask_ids", sa.JSON(), nullable=False),
        sa.Column("annotator_ids", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=100), nullable=True),
        sa.Column("submission_id", sa.String(length=100), nullable=True),
        sa.Column("mask_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("adjudication_id"),
        sa.UniqueConstraint("task_id"),
    )
    op.create_index("adjudications_of_project", "adjudications", ["project_id", "adjudication_id"], unique=False)
    op.create_table(
        "audits",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("audit_id", sa.String(length=100), nullable=False),
        sa.Column("batch_id", sa.String(length=100), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("num_items", sa.Integer(), nullable=False),
        sa.Column("num_judged", sa.Integer(), nullable=False),
        sa.Column("num_errors", sa.Integer(), nullable=False),
        sa.Column("error_rate_upper", sa.Float(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("audit_id"),
    )
    op.create_index("audits_of_project", "audits", ["project_id", "audit_id"], unique=False)
    op.create_table(
        "consensus",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("batch_id", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("posterior_hash", sa.String(length=64), nullable=False),
        sa.Column("disagreement_hash", sa.String(length=64), nullable=False),
        sa.Column("disputed_hash", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("agreement", sa.Float(), nullable=False),
        sa.Column("disputed_pixels", sa.BigInteger(), nullable=False),
        sa.Column("region", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("submission_ids", sa.JSON(), nullable=False),
        sa.Column("annotator_ids", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_index("consensus_of_project", "consensus", ["project_id", "task_id"], unique=False)
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
        sa.Column("first_failed_at", UtcDateTime, nullable=False),
        sa.Column("parked_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index(op.f("ix_dead_letters_organisation_id"), "dead_letters", ["organisation_id"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("handled_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index(op.f("ix_inbox_handled_at"), "inbox", ["handled_at"], unique=False)
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
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ontology_version", sa.Integer(), nullable=False),
        sa.Column("ontology_json", sa.Text(), nullable=False),
        sa.Column("held_out_percent", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("settings_problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "requests",
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("answered_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "caller", "key"),
    )
    op.create_index(op.f("ix_requests_answered_at"), "requests", ["answered_at"], unique=False)
    op.create_table(
        "revoked_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "scorecards",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("annotator_id", sa.String(length=100), nullable=False),
        sa.Column("num_submissions", sa.Integer(), nullable=False),
        sa.Column("num_returned", sa.Integer(), nullable=False),
        sa.Column("num_late", sa.Integer(), nullable=False),
        sa.Column("num_multi", sa.Integer(), nullable=False),
        sa.Column("num_agreement", sa.Integer(), nullable=False),
        sa.Column("agreement_ppb", sa.BigInteger(), nullable=False),
        sa.Column("num_adjudicated", sa.Integer(), nullable=False),
        sa.Column("num_audited", sa.Integer(), nullable=False),
        sa.Column("num_audit_errors", sa.Integer(), nullable=False),
        sa.Column("worked_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "annotator_id"),
    )
    op.create_table(
        "submissions",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("submission_id", sa.String(length=100), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("batch_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("annotator_id", sa.String(length=100), nullable=False),
        sa.Column("seconds_spent", sa.Float(), nullable=False),
        sa.Column("redundancy", sa.Integer(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("submission_id"),
    )
    op.create_index("submissions_of_project", "submissions", ["project_id", "submission_id"], unique=False)
    op.create_index("submissions_of_task", "submissions", ["task_id"], unique=False)
    op.create_table(
        "audit_items",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("audit_item_id", sa.String(length=100), nullable=False),
        sa.Column("audit_id", sa.String(length=100), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("submission_ids", sa.JSON(), nullable=False),
        sa.Column("annotator_ids", sa.JSON(), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=True),
        sa.Column("auditor_id", sa.String(length=100), nullable=True),
        sa.Column("corrected_mask_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["audit_id"],
            ["audits.audit_id"],
        ),
        sa.PrimaryKeyConstraint("audit_item_id"),
    )
    op.create_index("audit_items_of_audit", "audit_items", ["audit_id", "sample_id"], unique=False)


def downgrade() -> None:
    op.drop_index("audit_items_of_audit", table_name="audit_items")
    op.drop_table("audit_items")
    op.drop_index("submissions_of_task", table_name="submissions")
    op.drop_index("submissions_of_project", table_name="submissions")
    op.drop_table("submissions")
    op.drop_table("scorecards")
    op.drop_table("revoked_keys")
    op.drop_index(op.f("ix_requests_answered_at"), table_name="requests")
    op.drop_table("requests")
    op.drop_table("projects")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_inbox_handled_at"), table_name="inbox")
    op.drop_table("inbox")
    op.drop_index(op.f("ix_dead_letters_organisation_id"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index("consensus_of_project", table_name="consensus")
    op.drop_table("consensus")
    op.drop_index("audits_of_project", table_name="audits")
    op.drop_table("audits")
    op.drop_index("adjudications_of_project", table_name="adjudications")
    op.drop_table("adjudications")
    op.drop_index("acceptances_of_task", table_name="acceptances")
    op.drop_index("acceptances_of_batch", table_name="acceptances")
    op.drop_table("acceptances")
