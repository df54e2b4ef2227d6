"""Packs and their parts, and masks by the new engine.

The manifests of 0.1.0 (JSON, BLAKE2b) are not read any more: a data folder that holds such masks is refused.
"""

import sqlalchemy as sa
from alembic import op

from terrazzo_mask_storage.adapters.columns import Digest
from terrazzo_runtime.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("masks", "commits"):
        if op.get_bind().execute(sa.text(f"SELECT 1 FROM {table} LIMIT 1")).first() is not None:
            raise RuntimeError(
                f"this database holds {table} of Terrazzo 0.1.0, whose stored form 0.2.0 does not read; "
                "export the datasets with 0.1.0 and import them into a new data folder"
            )
    # Pyramids are cut again when they are asked for.
    op.execute("DELETE FROM pyramids")
    for table in ("parts", "masks", "provenance"):
        op.drop_table(table)
    op.create_table(
        "packs",
        sa.Column("pack_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("digest", Digest(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("stored_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pack_id"),
        sa.UniqueConstraint("organisation_id", "digest", name="packs_once"),
    )
    op.create_index("packs_to_settle", "packs", ["settled", "stored_at"], unique=False)
    op.create_table(
        "parts",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("digest", Digest(), nullable=False),
        sa.Column("pack_id", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("encoding", sa.String(length=10), nullable=False),
        sa.Column("base", Digest(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "digest"),
        sqlite_with_rowid=False,
    )
    _masks(Digest())


def _masks(digest: sa.types.TypeEngine[str]) -> None:
    """The tables of masks and of where they come from, with ids of that type."""
    op.create_table(
        "masks",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", digest, nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.String(length=10), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "mask_id"),
        sqlite_with_rowid=not isinstance(digest, Digest),
    )
    op.create_table(
        "provenance",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", digest, nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("submission_id", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("parent_mask_id", digest, nullable=True),
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


def downgrade() -> None:
    op.execute("DELETE FROM pyramids")
    op.drop_table("provenance")
    op.drop_table("masks")
    op.drop_table("parts")
    op.drop_index("packs_to_settle", table_name="packs")
    op.drop_table("packs")
    op.create_table(
        "parts",
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("pack", sa.String(length=64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "digest"),
    )
    _masks(sa.String(length=64))
