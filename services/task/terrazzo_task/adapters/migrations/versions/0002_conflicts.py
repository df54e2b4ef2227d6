"""Tasks for a merge's conflicts show what both sides came from, and which side removed the sample."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("base_mask_id", sa.String(length=64), nullable=True))
    op.add_column("tasks", sa.Column("removed_by", sa.String(length=10), nullable=True))


def downgrade() -> None:
    op.drop_column("tasks", "removed_by")
    op.drop_column("tasks", "base_mask_id")
