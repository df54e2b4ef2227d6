"""The model repository as a folder, in Triton's layout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class FolderRepository:
    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, model_name: str, version: int, version_folder: Path) -> None:
        """See `ports.ModelRepository`. Files are synced before the rename that shows them."""
        folder = self._root / model_name
        folder.mkdir(parents=True, exist_ok=True)
        target, staging = folder / str(version), folder / f".{version}.new"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            shutil.copytree(version_folder, staging)
            for path in (*staging.rglob("*"), staging):
                _sync(path)
            config = folder / ".config.pbtxt.new"
            shutil.copyfile(version_folder.parent / "config.pbtxt", config)
            _sync(config)
            config.replace(folder / "config.pbtxt")
            shutil.rmtree(target, ignore_errors=True)  # there only when a crash came before its registration
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
