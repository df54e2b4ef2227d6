"""Numbers instead of text and hashes where there are millions of rows; masks say what they were made from.

What was stored goes on: every table's rows are written anew, in the same transaction.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from terrazzo_mask_storage.adapters.columns import Bytes, Digest, SampleId
from terrazzo_mask_storage.domain.blame import SOURCES
from terrazzo_mask_storage.domain.packed import pack_counts
from terrazzo_mask_storage.domain.packs import ENCODINGS, KINDS
from terrazzo_runtime.tables import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ROWS_AT_ONCE = 5_000
_REWRITTEN = ("packs", "parts", "masks", "provenance", "staged", "acceptances", "merge_conflicts")
_CONFLICT_MASKS = ("base_mask_id", "ours_mask_id", "theirs_mask_id", "merged_mask_id", "mask_id")
Change = Callable[[Any], Any]


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _set_aside()
    _create_parts()
    made = {table.name: table for table in (*_create_masks(), *_create_with_text_keys(Digest()))}
    _number_owners()
    _move_parts()
    _move_masks(made)
    _move_the_rest(made)
    for name in _REWRITTEN:
        op.drop_table(f"{name}_0004")


def _set_aside() -> None:
    """The old rows under other names; a copy, so that names of keys and indices are free."""
    for name in _REWRITTEN:
        op.execute(f"CREATE TABLE {name}_0004 AS SELECT * FROM {name}")
        op.drop_table(name)


def _create_parts() -> None:
    op.create_table(
        "owners",
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
        sa.UniqueConstraint("organisation_id", "project_id", name="owners_once"),
    )
    op.create_table(
        "packs",
        sa.Column("pack_id", _number(), nullable=False),
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("digest", Digest(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("stored_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pack_id"),
        sa.UniqueConstraint("owner", "digest", name="packs_once"),
    )
    op.create_index("packs_to_settle", "packs", ["settled", "stored_at"], unique=False)
    op.create_table(
        "parts",
        sa.Column("part_id", _number(), nullable=False),
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("digest", Digest(), nullable=False),
        sa.Column("pack_id", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("form", sa.SmallInteger(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("part_id"),
        sa.UniqueConstraint("owner", "digest", name="parts_once"),
        sa.CheckConstraint("(base IS NULL) = (depth = 0)", name="patches_have_bases"),
    )


def _create_masks() -> list[sa.Table]:
    masks = op.create_table(
        "masks",
        sa.Column("owner", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("counts", Bytes(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=True),
        sa.Column("flow", Bytes(), nullable=True),
        sa.PrimaryKeyConstraint("owner", "part_id"),
        sqlite_with_rowid=False,
    )
    provenance = op.create_table(
        "provenance",
        sa.Column("owner", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sample_id", SampleId(), nullable=False),
        sa.Column("submission_id", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=True),
        sa.Column("source_masks", Bytes(), nullable=True),
        sa.PrimaryKeyConstraint("owner", "part_id", "source", "sample_id", "submission_id", "actor"),
        sqlite_with_rowid=False,
    )
    staged = op.create_table(
        "staged",
        sa.Column("owner", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("branch", sa.String(length=100), nullable=False),
        sa.Column("sample_id", SampleId(), nullable=False),
        sa.Column("mask_id", Digest(), nullable=True),
        sa.PrimaryKeyConstraint("owner", "branch", "sample_id"),
        sqlite_with_rowid=False,
    )
    return [masks, provenance, staged]


def _text_keys() -> list[sa.Column[str]]:
    return [
        sa.Column("organisation_id", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=100), nullable=False),
    ]


def _create_with_text_keys(digest: sa.types.TypeEngine[str]) -> list[sa.Table]:
    """The tables whose mask ids become bytes, and nothing else."""
    acceptances = op.create_table(
        "acceptances",
        *_text_keys(),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("task_id", sa.String(length=100), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("mask_id", digest, nullable=False),
        sa.Column("decided_by", sa.String(length=20), nullable=False),
        sa.Column("submission_ids", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "sample_id", "task_id", "revision"),
    )
    conflicts = op.create_table(
        "merge_conflicts",
        *_text_keys(),
        sa.Column("conflict_id", sa.String(length=100), nullable=False),
        sa.Column("merge_id", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        *(sa.Column(name, digest, nullable=True) for name in _CONFLICT_MASKS[:-1]),
        sa.Column("num_pixels", sa.BigInteger(), nullable=False),
        sa.Column("box", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("boxes", sa.JSON(), nullable=False),
        sa.Column("flow", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("mask_id", digest, nullable=True),
        sa.Column("resolved_by", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "conflict_id"),
    )
    op.create_index("conflicts_of_merge", "merge_conflicts", ["merge_id", "sample_id"], unique=False)
    return [acceptances, conflicts]


def _number_owners() -> None:
    of_projects = " UNION ".join(
        f"SELECT organisation_id, project_id FROM {name}"
        for name in ("projects", "masks_0004", "provenance_0004", "staged_0004")
    )
    with_packs = ("projects", *(f"{name}_0004" for name in _REWRITTEN[:5]))
    organisations = " UNION ".join(f"SELECT organisation_id FROM {name}" for name in with_packs)
    op.execute(
        "INSERT INTO owners (organisation_id, project_id) SELECT organisation_id, project_id FROM "
        f"(SELECT organisation_id, '' AS project_id FROM ({organisations}) AS o UNION {of_projects}) AS names "
        "ORDER BY organisation_id, project_id"
    )


def _move_parts() -> None:
    op.execute(
        "INSERT INTO packs (pack_id, owner, digest, size_bytes, settled, stored_at) "
        "SELECT old.pack_id, o.owner, old.digest, old.size_bytes, old.settled, old.stored_at "
        "FROM packs_0004 AS old JOIN owners AS o ON o.organisation_id = old.organisation_id AND o.project_id = ''"
    )
    _count_on("packs", "pack_id")
    kinds = " ".join(f"WHEN '{kind}' THEN {place << 4}" for place, kind in enumerate(KINDS))
    encodings = " ".join(f"WHEN '{encoding}' THEN {place}" for place, encoding in enumerate(ENCODINGS))
    deepest = op.get_bind().execute(sa.text("SELECT max(depth) FROM parts_0004")).scalar()
    # Bases are there before what lies on them.
    for depth in range((-1 if deepest is None else deepest) + 1):
        op.execute(
            'INSERT INTO parts (owner, digest, pack_id, "offset", size_bytes, form, depth, base) '
            f'SELECT o.owner, old.digest, old.pack_id, old."offset", old.size_bytes, '
            f"(CASE old.kind {kinds} END) + (CASE old.encoding {encodings} END), old.depth, base.part_id "
            "FROM parts_0004 AS old "
            "JOIN owners AS o ON o.organisation_id = old.organisation_id AND o.project_id = '' "
            "LEFT JOIN parts AS base ON base.owner = o.owner AND base.digest = old.base "
            f"WHERE old.depth = {depth} ORDER BY old.digest"
        )


def _count_on(table: str, column: str) -> None:
    """Let PostgreSQL number new rows behind those that were written with their numbers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + 1, false) "
            f"FROM {table}"
        )


def _move(table: sa.Table, query: str, change: dict[str, Change], **types: sa.types.TypeEngine[Any]) -> None:
    """Write what a query finds to a table, some thousand rows at a time; `types` of columns that have one."""
    connection = op.get_bind()
    found = connection.execute(
        sa.text(query).columns(**types), execution_options={"stream_results": True, "yield_per": _ROWS_AT_ONCE}
    )
    for page in found.mappings().partitions():
        rows = [dict(row) for row in page]
        for row in rows:
            row.update({name: changed(row[name]) for name, changed in change.items()})
        connection.execute(table.insert(), rows)


def _move_masks(made: dict[str, sa.Table]) -> None:
    named = (
        "JOIN owners AS o ON o.organisation_id = old.organisation_id AND o.project_id = old.project_id "
        "JOIN owners AS org ON org.organisation_id = old.organisation_id AND org.project_id = '' "
        "JOIN parts AS root ON root.owner = org.owner AND root.digest = old.mask_id "
    )
    _move(
        made["masks"],
        "SELECT o.owner, root.part_id, old.height, old.width, old.size_bytes, old.counts "
        f"FROM masks_0004 AS old {named} ORDER BY o.owner, root.part_id",
        {"counts": lambda counts: pack_counts(dict(counts))},
        counts=sa.JSON(),
    )
    _move(
        made["provenance"],
        "SELECT o.owner, root.part_id, old.source, old.sample_id, old.submission_id, old.actor, "
        "old.sequence AS place, parent.part_id AS parent, old.source_mask_ids AS source_masks "
        f"FROM provenance_0004 AS old {named} "
        "LEFT JOIN parts AS parent ON parent.owner = org.owner AND parent.digest = old.parent_mask_id "
        "ORDER BY o.owner, root.part_id",
        {"source": SOURCES.index, "source_masks": lambda ids: b"".join(map(bytes.fromhex, ids)) or None},
        source_masks=sa.JSON(),
    )


def _move_the_rest(made: dict[str, sa.Table]) -> None:
    """What the types of columns change alone."""
    _move(
        made["staged"],
        "SELECT o.owner, old.branch, old.sample_id, old.mask_id FROM staged_0004 AS old JOIN owners AS o "
        "ON o.organisation_id = old.organisation_id AND o.project_id = old.project_id",
        {},
    )
    _move(made["acceptances"], "SELECT * FROM acceptances_0004", {}, submission_ids=sa.JSON())
    box = sa.JSON(none_as_null=True)
    _move(
        made["merge_conflicts"],
        "SELECT * FROM merge_conflicts_0004",
        {},
        box=box,
        boxes=sa.JSON(),
        flow=sa.JSON(),
    )


def downgrade() -> None:
    for name in _REWRITTEN:
        if op.get_bind().execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first() is not None:
            raise RuntimeError(f"there are {name}: they can't be written as an older release stores them")
    for name in ("owners", *_REWRITTEN):
        op.drop_table(name)
    _create_with_text_keys(sa.String(length=64))
    op.create_table(
        "staged",
        *_text_keys(),
        sa.Column("branch", sa.String(length=100), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("mask_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "branch", "sample_id"),
    )
    _create_old_parts()
    _create_old_masks()


def _create_old_parts() -> None:
    op.create_table(
        "packs",
        sa.Column("pack_id", _number(), nullable=False),
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


def _create_old_masks() -> None:
    op.create_table(
        "masks",
        *_text_keys(),
        sa.Column("mask_id", Digest(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.String(length=10), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "project_id", "mask_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "provenance",
        sa.Column("sequence", _number(), nullable=False),
        *_text_keys(),
        sa.Column("mask_id", Digest(), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("sample_id", sa.String(length=100), nullable=False),
        sa.Column("submission_id", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("parent_mask_id", Digest(), nullable=True),
        sa.Column("source_mask_ids", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint(
            *("organisation_id", "project_id", "mask_id", "source", "sample_id", "submission_id", "actor"),
            name="provenance_once",
        ),
    )
