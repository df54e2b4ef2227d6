"""Data of 0.1.0: a folder without masks goes on; one with masks is refused and left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from terrazzo_mask_storage.service import MIGRATIONS
from terrazzo_runtime.database import Database, sqlite_url

MASK = (
    "INSERT INTO masks (organisation_id, project_id, mask_id, height, width, dtype, counts, size_bytes) "
    "VALUES ('org', 'prj', 'aa', 1, 1, 'uint8', '[]', 1)"
)
PYRAMID = (
    "INSERT INTO pyramids (organisation_id, project_id, image_hash, digest) VALUES ('org', 'prj', 'aa', 'bb')"
)


@pytest.fixture
def old(tmp_path: Path) -> Database:
    database = Database(sqlite_url(tmp_path / "mask_storage.sqlite"))
    command.upgrade(database.alembic_config(MIGRATIONS), "0001")
    return database


def test_a_folder_with_masks_of_0_1_0_is_refused_and_nothing_of_it_is_lost(old: Database) -> None:
    with old.write() as connection:
        connection.execute(sa.text(MASK))
    with pytest.raises(RuntimeError, match=r"holds masks of Terrazzo 0\.1\.0.*export the datasets with 0\.1\.0"):
        old.migrate(MIGRATIONS)
    with old.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "0001"
        assert connection.execute(sa.text("SELECT count(*) FROM masks")).scalar_one() == 1


def test_a_folder_without_masks_goes_on_and_its_pyramids_are_cut_again(old: Database) -> None:
    with old.write() as connection:
        connection.execute(sa.text(PYRAMID))
    old.migrate(MIGRATIONS)
    with old.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM pyramids")).scalar_one() == 0
        assert connection.execute(sa.text("SELECT count(*) FROM parts")).scalar_one() == 0
