"""Rows that were made at revision 0004 say the same after 0005, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from terrazzo_mask_storage.adapters.store import SqlStore
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.packs import Part
from terrazzo_mask_storage.ports import Acceptance, Mask, Scope
from terrazzo_mask_storage.service import MIGRATIONS
from terrazzo_runtime.database import Database, sqlite_url

ORG, OTHER = "org_one000001", "org_two000001"
ONE, TWO, FAR = Scope(ORG, "prj_one"), Scope(ORG, "prj_two"), Scope(OTHER, "prj_one")
PACK, ROOT, NEXT, LAST, TILE, LONELY = (f"{number:02x}" * 32 for number in range(0xA0, 0xA6))
SAMPLE = "smp_" + "0b" * 12
NOW = "2026-01-02 03:04:05"


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database at 0004 with two organisations' rows."""
    if request.param == "SQLite":
        database = Database(sqlite_url(tmp_path / "mask_storage.sqlite"))
    else:
        database = request.getfixturevalue("postgres_database")
    command.upgrade(database.alembic_config(MIGRATIONS), "0004")
    with database.write() as connection:
        for table, rows in ROWS.items():
            for row in rows:
                names = ", ".join(f'"{name}"' for name in row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
    yield database
    database.close()


def part(digest: str, kind: str, encoding: str, base: str | None, depth: int, **more: Any) -> dict[str, Any]:
    place = {"pack_id": 7, "offset": depth * 100, "size_bytes": 50 + depth, "organisation_id": ORG}
    of = {"digest": bytes.fromhex(digest), "base": None if base is None else bytes.fromhex(base)}
    return {**place, **of, "kind": kind, "encoding": encoding, "depth": depth, **more}


def owned(scope: Scope, **more: Any) -> dict[str, Any]:
    return {"organisation_id": scope.organisation_id, "project_id": scope.project_id, **more}


def mask(scope: Scope, mask_id: str, counts: list[list[int]], dtype: str = "uint8") -> dict[str, Any]:
    of = {"height": 20, "width": 30, "dtype": dtype, "counts": json.dumps(counts), "size_bytes": 99}
    return owned(scope, mask_id=bytes.fromhex(mask_id), **of)


def origin(scope: Scope, sequence: int, mask_id: str, source: str, actor: str, **more: Any) -> dict[str, Any]:
    rest = {"sample_id": SAMPLE, "submission_id": "", "parent_mask_id": None, "source_mask_ids": "[]"}
    of = {"mask_id": bytes.fromhex(mask_id), "source": source, "actor": actor}
    return owned(scope, sequence=sequence, **{**rest, **of, **more})


def pack(pack_id: int, organisation_id: str) -> dict[str, Any]:
    of = {"digest": bytes.fromhex(PACK), "size_bytes": 1_000, "settled": pack_id == 7, "stored_at": NOW}
    return {"pack_id": pack_id, "organisation_id": organisation_id, **of}


CONFLICT = {
    "conflict_id": "cfl_1",
    "merge_id": "mrg_1",
    "sample_id": SAMPLE,
    "kind": "pixels",
    "base_mask_id": ROOT,
    "ours_mask_id": NEXT,
    "theirs_mask_id": LAST,
    "merged_mask_id": None,
    "num_pixels": 5,
    "box": "[1, 2, 3, 4]",
    "boxes": "[[1, 2, 3, 4]]",
    "flow": "[[1, 2, 5]]",
    "state": "open",
    "mask_id": None,
    "resolved_by": None,
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "packs": [pack(7, ORG), pack(9, OTHER)],
    "parts": [
        # The deepest comes first in order of digests: what it lies on must be there before it.
        part("01" * 32, "node", "zstd_patch", LAST, 3),
        part(LAST, "node", "zstd_patch", NEXT, 2),
        part(NEXT, "node", "zstd_patch", ROOT, 1),
        part(ROOT, "node", "raw", None, 0),
        part(TILE, "tile", "small", None, 0),
        part(ROOT, "node", "zstd", None, 0, organisation_id=OTHER, pack_id=9),
    ],
    "masks": [
        mask(ONE, ROOT, [[0, 100], [3, 500]]),
        mask(ONE, NEXT, [[0, 100], [300, 500]], "uint16"),
        mask(TWO, NEXT, [[0, 100], [300, 500]], "uint16"),
        mask(FAR, ROOT, [[255, 600]]),
    ],
    "provenance": [
        origin(ONE, 1, NEXT, "submission", "zoe", submission_id="sub_2", parent_mask_id=bytes.fromhex(ROOT)),
        origin(ONE, 2, ROOT, "prediction", "model", sample_id=""),
        origin(ONE, 3, NEXT, "consensus", "adam", source_mask_ids=json.dumps([ROOT, LAST])),
        origin(FAR, 4, ROOT, "import", "far", sample_id="other ids 1"),
    ],
    "staged": [
        owned(ONE, branch="main", sample_id=SAMPLE, mask_id=NEXT),
        owned(ONE, branch="main", sample_id="old-form-1", mask_id=None),
        owned(Scope(ORG, "prj_three"), branch="main", sample_id=SAMPLE, mask_id=ROOT),
    ],
    "acceptances": [
        owned(
            ONE,
            sample_id=SAMPLE,
            task_id="tsk_1",
            revision=1,
            mask_id=NEXT,
            decided_by="single",
            submission_ids='["sub_2"]',
        )
    ],
    "merge_conflicts": [owned(ONE, **CONFLICT)],
    "projects": [owned(TWO, name="two", held_out_percent=3, ontology_version=1, ontology_json="{}")],
}


def test_parts_and_packs_stay_where_they_are_with_their_chains(old: Database) -> None:
    old.migrate(MIGRATIONS)
    with old.read() as connection:
        store = SqlStore(connection)
        chain = store.part_chains(ORG, ["01" * 32, TILE])
        assert chain == {
            "01" * 32: Part("01" * 32, "node", "zstd_patch", LAST, 3, PACK, 300, 53),
            LAST: Part(LAST, "node", "zstd_patch", NEXT, 2, PACK, 200, 52),
            NEXT: Part(NEXT, "node", "zstd_patch", ROOT, 1, PACK, 100, 51),
            ROOT: Part(ROOT, "node", "raw", None, 0, PACK, 0, 50),
            TILE: Part(TILE, "tile", "small", None, 0, PACK, 0, 50),
        }
        assert store.parts(OTHER, [ROOT, NEXT]) == {ROOT: Part(ROOT, "node", "zstd", None, 0, PACK, 0, 50)}
        loads = {load.organisation_id: load for load in store.pack_loads()}
        assert {owner: (load.num_parts, load.pack.settled) for owner, load in loads.items()} == {
            ORG: (5, True),
            OTHER: (1, False),
        }
        assert loads[ORG].pack.stored_at.isoformat().startswith("2026-01-02T03:04:05")


def test_masks_and_what_was_told_of_them_are_the_same(old: Database) -> None:
    old.migrate(MIGRATIONS)
    with old.read() as connection:
        store = SqlStore(connection)
        wide = Mask(NEXT, 20, 30, "uint16", {0: 100, 300: 500}, 99)
        narrow = Mask(ROOT, 20, 30, "uint8", {0: 100, 3: 500}, 99)
        assert store.masks(ONE, [ROOT, NEXT, LAST]) == {ROOT: narrow, NEXT: wide}
        assert store.masks(TWO, [ROOT, NEXT]) == {NEXT: wide}
        assert store.masks(FAR, [ROOT, NEXT]) == {ROOT: Mask(ROOT, 20, 30, "uint8", {255: 600}, 99)}
        assert store.origins(ONE, NEXT) == [
            (SAMPLE, Origin("submission", "zoe", "sub_2", ROOT)),
            (SAMPLE, Origin("consensus", "adam", None, None, (ROOT, LAST))),
        ]
        assert store.origins(ONE, ROOT) == [("", Origin("prediction", "model"))]
        assert store.origins(FAR, ROOT) == [("other ids 1", Origin("import", "far"))]
        assert store.staged(ONE, "main") == {"old-form-1": None, SAMPLE: NEXT}
        assert store.acceptances(ONE, SAMPLE) == [Acceptance(SAMPLE, "tsk_1", 1, NEXT, "single", ("sub_2",))]
        conflict = store.conflict(ONE, "cfl_1")
        assert conflict is not None
        clashing = conflict.clashing
        assert (clashing.base_mask_id, clashing.ours_mask_id, clashing.theirs_mask_id) == (ROOT, NEXT, LAST)
        assert (clashing.box, clashing.flow) == ((1, 2, 3, 4), ((1, 2, 5),))
        assert store.samples_of_masks(ONE, [NEXT]) == {NEXT: {SAMPLE}}
        assert list(store.all_masks(OTHER)) == [[("prj_one", ROOT)]]
        assert (store.count(ORG, "masks"), store.count(ORG, "packs")) == (3, 1)


def test_new_rows_are_written_beside_the_old_ones(old: Database) -> None:
    old.migrate(MIGRATIONS)
    with old.write() as connection:
        store = SqlStore(connection)
        [known] = store.packs(ORG)
        fresh = type(known)("ee" * 32, 10, False, known.stored_at)
        store.add_parts(ORG, [fresh], [Part(LONELY, "node", "raw", None, 0, fresh.digest, 9, 1)])
        store.add_masks(ONE, [Mask(LONELY, 20, 30, "uint8", {1: 600}, 1, ROOT, {(0, 1): 2})])
        told = Origin("submission", "zoe", "sub_2", ROOT)
        again = [(NEXT, SAMPLE, told), (NEXT, SAMPLE, Origin("audit", "bob"))]
        store.add_origins(ONE, again)
        assert store.origins(ONE, NEXT)[0] == (SAMPLE, told)
        assert [row.source for _, row in store.origins(ONE, NEXT)] == ["submission", "consensus", "audit"]
        assert store.mask_flows(ONE, [LONELY, NEXT]) == {LONELY: (ROOT, {(0, 1): 2})}
        assert {pack.digest for pack in store.packs(ORG)} == {PACK, fresh.digest}


def test_a_database_with_masks_is_not_taken_back(old: Database) -> None:
    old.migrate(MIGRATIONS)
    with pytest.raises(RuntimeError, match="can't be written as an older release stores them"):
        command.downgrade(old.alembic_config(MIGRATIONS), "0004")
    with old.read() as connection:
        assert set(SqlStore(connection).masks(ONE, [ROOT, NEXT])) == {ROOT, NEXT}
