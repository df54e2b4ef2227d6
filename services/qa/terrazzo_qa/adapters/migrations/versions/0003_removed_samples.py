"""Adjudications of samples that one side of a merge removed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("adjudications", sa.Column("removed_by", sa.String(length=10), nullable=True))


def downgrade() -> None:
    op.drop_column("adjudications", "removed_by")
