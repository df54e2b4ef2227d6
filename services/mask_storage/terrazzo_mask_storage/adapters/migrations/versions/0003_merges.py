"""Merges, their conflicts, gates and their reports, and the agreement of annotators."""

import sqlalchemy as sa
from alembic import op

from terrazzo_runtime.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _owner() -> list[sa.Column[str]]:
    return [
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "merges",
        *_owner(),
        sa.Column("merge_id", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("source_commit_id", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=100), nullable=False),
        sa.Column("target_commit_id", sa.String(length=64), nullable=True),
        sa.Column("base_commit_ids", sa.JSON(), nullable=False),
        sa.Column("strategy", sa.String(length=20), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=True),
        sa.Column("num_changed", sa.Integer(), nullable=False),
        sa.Column("num_blended", sa.Integer(), nullable=False),
        sa.Column("num_conflicts", sa.Integer(), nullable=False),
        sa.Column("num_resolved", sa.Integer(), nullable=False),
        sa.Column("report_id", sa.String(length=100), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("closed_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "merge_id"),
    )
    op.create_index("merges_by_state", "merges", ["state"], unique=False)
    op.create_table(
        "merge_conflicts",
        *_owner(),
        sa.Column("conflict_id", sa.String(length=100), nullable=False),
        sa.Column("merge_id", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("base_mask_id", sa.String(length=64), nullable=True),
        sa.Column("ours_mask_id", sa.String(length=64), nullable=True),
        sa.Column("theirs_mask_id", sa.String(length=64), nullable=True),
        sa.Column("merged_mask_id", sa.String(length=64), nullable=True),
        sa.Column("num_pixels", sa.BigInteger(), nullable=False),
        sa.Column("box", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("boxes", sa.JSON(), nullable=False),
        sa.Column("flow", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=True),
        sa.Column("resolved_by", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "conflict_id"),
    )
    op.create_index("conflicts_of_merge", "merge_conflicts", ["merge_id", "sample_id"], unique=False)
    op.create_table(
        "gates",
        *_owner(),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("num_rules", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "version"),
    )
    op.create_table(
        "gate_reports",
        *_owner(),
        sa.Column("report_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("branch", sa.String(length=100), nullable=False),
        sa.Column("tree_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("outcomes", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "report_id"),
    )
    op.create_table(
        "agreements",
        *_owner(),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("agreement", sa.Float(), nullable=False),
        sa.Column("num_votes", sa.Integer(), nullable=False),
        sa.Column("said_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "sample_id"),
    )


def downgrade() -> None:
    op.drop_table("agreements")
    op.drop_table("gate_reports")
    op.drop_table("gates")
    op.drop_index("conflicts_of_merge", table_name="merge_conflicts")
    op.drop_table("merge_conflicts")
    op.drop_index("merges_by_state", table_name="merges")
    op.drop_table("merges")
