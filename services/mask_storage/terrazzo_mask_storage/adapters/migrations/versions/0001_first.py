"""The first schema."""

import sqlalchemy as sa
from alembic import op

import terrazzo_runtime.tables

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
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("decided_by", sa.String(length=20), nullable=False),
        sa.Column("submission_ids", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "sample_id", "task_id", "revision"),
    )
    op.create_table(
        "branches",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "name"),
    )
    op.create_table(
        "commits",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=False),
        sa.Column("tree_id", sa.String(length=64), nullable=False),
        sa.Column("branch", sa.String(length=100), nullable=False),
        sa.Column("parent_ids", sa.JSON(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("num_samples", sa.Integer(), nullable=False),
        sa.Column("num_changed", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "commit_id"),
    )
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
        "images",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "image_hash"),
        sa.UniqueConstraint("organisation_id", "project_id", "sample_id", name="images_by_sample"),
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("handled_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index(op.f("ix_inbox_handled_at"), "inbox", ["handled_at"], unique=False)
    op.create_table(
        "masks",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.String(length=10), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "mask_id"),
    )
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
        "parts",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("pack", sa.String(length=64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "digest"),
    )
    op.create_table(
        "projects",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("held_out_percent", sa.Integer(), nullable=False),
        sa.Column("ontology_version", sa.Integer(), nullable=False),
        sa.Column("ontology_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id"),
    )
    op.create_table(
        "provenance",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("submission_id", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("parent_mask_id", sa.String(length=64), nullable=True),
        sa.Column("source_mask_ids", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
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
    op.create_table(
        "pyramids",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("image_hash", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "image_hash"),
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
        "staged",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("branch", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "branch", "sample_id"),
    )
    op.create_table(
        "tags",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", terrazzo_runtime.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "name"),
    )


def downgrade() -> None:
    op.drop_table("tags")
    op.drop_table("staged")
    op.drop_table("revoked_keys")
    op.drop_index(op.f("ix_requests_answered_at"), table_name="requests")
    op.drop_table("requests")
    op.drop_table("pyramids")
    op.drop_table("provenance")
    op.drop_table("projects")
    op.drop_table("parts")
    op.drop_table("outbox")
    op.drop_table("masks")
    op.drop_index(op.f("ix_inbox_handled_at"), table_name="inbox")
    op.drop_table("inbox")
    op.drop_table("images")
    op.drop_index(op.f("ix_dead_letters_organisation_id"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("commits")
    op.drop_table("branches")
    op.drop_table("acceptances")
