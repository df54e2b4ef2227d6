"""A log reads a project's commits by time."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("commits_by_time", "commits", ["organisation_id", "project_id", "created_at"])


def downgrade() -> None:
    op.drop_index("commits_by_time", table_name="commits")
