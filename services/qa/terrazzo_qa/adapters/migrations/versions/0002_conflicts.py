"""Adjudications of a merge's conflicts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("adjudications", sa.Column("merge_id", sa.String(length=100), nullable=True))
    op.add_column("adjudications", sa.Column("base_mask_id", sa.String(length=64), nullable=True))
    op.create_index("submissions_of_sample", "submissions", ["project_id", "sample_id"], unique=False)


def downgrade() -> None:
    op.drop_index("submissions_of_sample", table_name="submissions")
    op.drop_column("adjudications", "base_mask_id")
    op.drop_column("adjudications", "merge_id")
