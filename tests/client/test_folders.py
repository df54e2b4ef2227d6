"""A folder that is sent as an archive: the same files give the same bytes, links do not lead out."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from terrazzo_client.folders import files_of, zipped


def test_a_folder_is_sent_as_a_zip_of_its_files_without_hidden_ones(tmp_path: Path) -> None:
    for name, data in (("images/a.png", b"png"), ("masks/a.png", b"mask"), (".cache/x", b"x"), ("readme", b"r")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    data = b"".join(zipped(tmp_path))
    assert b"".join(zipped(tmp_path)) == data
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "images/a.png": b"png",
        "masks/a.png": b"mask",
        "readme": b"r",
    }


def test_a_link_that_leads_out_of_the_folder_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="has no files"):
        files_of(tmp_path / "in")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="leads out"):
        files_of(tmp_path / "in")


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    assert sum(len(chunk) for chunk in zipped(tmp_path)) > 64 * 2**20
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()
