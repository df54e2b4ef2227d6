"""What changed between a mask and its base."""

import sqlalchemy as sa
from alembic import op

from terrazzo_mask_storage.adapters.tables import Digest

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("masks", sa.Column("base_mask_id", Digest(), nullable=True))
    op.add_column("masks", sa.Column("flow", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("masks", "flow")
    op.drop_column("masks", "base_mask_id")
