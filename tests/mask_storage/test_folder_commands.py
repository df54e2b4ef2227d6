"""`terrazzo dataset add` and `checkout`, typed."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from terrazzo.cli import label_folders
from terrazzo.cli.dataset import app
from terrazzo_client import TerrazzoClient

from .conftest import PROJECT, World


@pytest.fixture
def connected(world: World, key_of, monkeypatch: pytest.MonkeyPatch) -> World:
    client = TerrazzoClient("http://testserver", key_of("manager"), transport=world.client._transport)
    monkeypatch.setattr(label_folders, "connect", lambda *_: nullcontext(client))
    return world


def type_(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words])
    return done.exit_code, done.output


def write(path: Path, class_id: int) -> None:
    Image.fromarray(np.full((60, 80), class_id, np.uint8)).save(path)
    os.utime(path, ns=(class_id * 10**15, class_id * 10**15))


def test_a_folder_is_added_and_checked_out_by_commands(connected: World, tmp_path: Path) -> None:
    labels, other = tmp_path / "labels", tmp_path / "other"
    labels.mkdir()
    connected.sample(1, "a.png")
    connected.sample(2, "b.png")
    write(labels / "a.png", 1)
    write(labels / "b.png", 1)
    code, said = type_("add", PROJECT, str(labels), "-m", "first")
    assert (code, said.startswith("2 files, 0 removed, commit ")) == (0, True)
    first = said.split()[-1]
    write(labels / "b.png", 3)
    write(labels / "c.png", 3)
    code, said = type_("add", PROJECT, str(labels), "-m", "second", "--json")
    assert (code, json.loads(said)["num_files"]) == (1, 1)  # a script sees that a file was not taken
    assert [row["file"] for row in json.loads(said)["skipped"]] == ["c.png"]
    assert "2 files written" in type_("checkout", PROJECT, "main", str(other))[1]
    assert int(np.asarray(Image.open(other / "b.png"))[0, 0]) == 3
    write(other / "b.png", 2)
    done = CliRunner().invoke(app, ["checkout", PROJECT, first, str(other)])
    assert "changed and not added: b.png" in str(done.exception)
    code, said = type_("checkout", PROJECT, "main", str(other), "--force", "--json")
    assert (code, json.loads(said)["num_written"]) == (0, 1)
