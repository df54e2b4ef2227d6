"""`terrazzo dataset export` and `import`: archives and folders, a bar for people, JSON for scripts."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from terrazzo.cli import dataset as commands
from terrazzo.cli import exchange, output
from terrazzo_client import TerrazzoClient

from .conftest import PROJECT, World, picture_bytes, random_picture


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    @contextmanager
    def connect(*_: Any) -> Iterator[TerrazzoClient]:
        with TerrazzoClient(
            "http://testserver", world.key_of("admin"), transport=world.client._transport
        ) as client:
            yield client

    monkeypatch.setattr(exchange, "connect", connect)
    return lambda *arguments: CliRunner().invoke(commands.app, [str(argument) for argument in arguments])


def committed(world: World, *class_ids: int) -> None:
    staged = {
        world.sample(n, f"{n}.png"): world.put(np.full((60, 80), class_id, np.uint16))
        for n, class_id in enumerate(class_ids)
    }
    world.stage(dict(staged))
    world.commit()


def test_an_export_says_what_it_wrote(world: World, run: Callable[..., Result], tmp_path: Path) -> None:
    committed(world, 1, 2)
    done = run("export", PROJECT, tmp_path / "out.zip", "--format", "voc")
    assert done.exit_code == 0, done.output
    assert "2 samples" in done.output
    as_json = run("export", PROJECT, tmp_path / "out.zip", "--format", "voc", "--json")
    document = json.loads(as_json.stdout)
    assert (document["num_samples"], document["refused"], document["format"]) == (2, [], "voc")
    assert document["size_bytes"] == (tmp_path / "out.zip").stat().st_size


def test_samples_that_do_not_fit_are_listed_and_the_status_is_1(
    world: World, run: Callable[..., Result], tmp_path: Path
) -> None:
    committed(world, 1, 300)
    done = run("export", PROJECT, tmp_path / "out.zip", "--format", "ade20k")
    assert done.exit_code == 1
    assert "1 samples" in done.output
    assert "left out 1: class id 300 does not fit" in done.output


def test_a_folder_is_imported_as_its_zip_would_be(
    world: World, run: Callable[..., Result], tmp_path: Path
) -> None:
    for n in (0, 1, 3):
        for folder, data in (
            ("images", picture_bytes(random_picture(n))),
            ("masks", picture_bytes(np.full((60, 80), n, np.uint8))),
        ):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / folder / f"{n}.png").write_bytes(data)
    (tmp_path / "data" / "masks" / "stranger.png").write_bytes(picture_bytes(np.ones((6, 8), np.uint8)))
    done = run("import", PROJECT, tmp_path / "data")
    assert done.exit_code == 1
    assert "3 staged, 1 skipped" in done.output
    assert "skipped masks/stranger.png: there is no image of this name" in done.output
    (tmp_path / "data" / "masks" / "stranger.png").unlink()
    done = run("import", PROJECT, tmp_path / "data", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["num_imported"], document["skipped"], document["losses"]) == (3, [], [])
    assert run("import", PROJECT, tmp_path / "nowhere").exit_code == 2


def test_a_bar_is_shown_to_people_and_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(output.sys, "stderr", shown)
    with output.byte_progress("exporting", 100, quiet=True) as at:
        at(50)
    assert shown.getvalue() == ""
    with output.byte_progress("exporting", 100, quiet=False) as at:
        at(50)
    assert "exporting" in shown.getvalue()


def test_the_archive_is_a_zip_that_others_can_read(
    world: World, run: Callable[..., Result], tmp_path: Path
) -> None:
    committed(world, 1)
    run("export", PROJECT, tmp_path / "out.zip")
    assert zipfile.ZipFile(tmp_path / "out.zip").testzip() is None
