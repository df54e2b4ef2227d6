"""A folder of label files beside a dataset: what changed in it is staged, and a version is written into it.

    folder = LabelFolder(client, "prj_...", Path("labels"))
    folder.add(message="night scenes")      # the files that changed: staged and committed
    folder.checkout("v1")                   # the files that differ: written or removed

A file is an index PNG named like its image, or by its sample id. Which files changed, size and time say (as they
do to git and DVC): they are kept in `.terrazzo-labels.json` in the folder.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo_schema.label_bundle import frame, frames
from terrazzo_schema.rest.mask_storage import CommitView, SkippedFile

if TYPE_CHECKING:
    from terrazzo_client.client import TerrazzoClient

STATE = ".terrazzo-labels.json"
SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_BATCH_FILES, _BATCH_BYTES = 4_000, 2**23
# A file that is this young may change again within the clock's grain: it is looked at again next time.
_GRAIN_NS = 20_000_000


class LocalChanges(ValueError):
    """Files were changed and not added: a checkout would lose that."""


@dataclass(frozen=True)
class Added:
    """`num_files` were sent, `commit` was made of them if a message was given and anything was new."""

    num_files: int
    num_removed: int
    skipped: tuple[SkippedFile, ...]
    commit: CommitView | None


@dataclass(frozen=True)
class CheckedOut:
    commit_id: str
    num_written: int
    num_removed: int


@dataclass
class _State:
    """What the folder held last: file name -> [sample id, size, mtime in ns].

    The files are those of `commit_id`, but for `masks`: sample id -> mask id of files that were added since; None:
    there is no file.
    """

    commit_id: str | None = None
    files: dict[str, list[Any]] = field(default_factory=dict)
    masks: dict[str, str | None] = field(default_factory=dict)


class LabelFolder:
    """See the module's text. One process at a time works on a folder."""

    def __init__(self, client: TerrazzoClient, project_id: str, folder: Path) -> None:
        self._datasets = client.datasets
        self._project_id = project_id
        self._folder = folder

    def add(self, *, branch: str = "main", message: str | None = None, remove: bool = False) -> Added:
        """Stage the files that changed; `remove`: and that samples go whose files are gone. Commit if told why.

        A file that can't be taken is in `skipped`, and looked at again next time. Raises ApiError, NoAnswer.
        """
        state = self._load()
        there = self._scan()
        changed = [name for name, stat in there.items() if state.files.get(name, [None])[1:] != [*stat]]
        skipped: list[SkippedFile] = []
        for batch in self._batches(changed, there):
            self._send(state, batch, branch, skipped)
        gone = [name for name in state.files if name not in there] if remove else []
        if gone:
            removed: dict[str, str | None] = {state.files[name][0]: None for name in gone}
            self._datasets.stage(self._project_id, removed, branch=branch)
            state.masks |= removed
            for name in gone:
                del state.files[name]
        made = None
        if message is not None and (changed or gone) and self._is_staged(branch):
            made = self._datasets.commit(self._project_id, message, branch=branch)
            state.commit_id, state.masks = made.commit_id, {}
        self._save(state)
        return Added(len(changed) - len(skipped), len(gone), tuple(skipped), made)

    def changed(self) -> list[str]:
        """Files that are not as they were last added or checked out, those that are gone included."""
        state, there = self._load(), self._scan()
        return sorted(
            name for name in state.files.keys() | there.keys() if self._differs(state, name, there.get(name))
        )

    def checkout(self, ref: str = "main", *, force: bool = False) -> CheckedOut:
        """Make the folder's files those of a version; files that are so already are not touched.

        Raises LocalChanges that names files that were changed and not added, unless forced. A forced checkout
        overwrites those that the version says otherwise, and leaves files that it does not know.
        """
        state, there = self._load(), self._scan()
        dirty = [name for name in state.files if self._differs(state, name, there.get(name))]
        if dirty and not force:
            names = ", ".join(sorted(dirty)[:5])
            raise LocalChanges(f"{len(dirty)} files of {self._folder} were changed and not added: {names}")
        for name in dirty:
            state.masks[state.files.pop(name)[0]] = None
        file_of = {row[0]: name for name, row in state.files.items()}
        commit_id, num_written, num_removed = "", 0, 0
        body = self._datasets.checkout(self._project_id, ref=ref, base=state.commit_id, masks=state.masks)
        for head, files in frames(body):
            commit_id = head.get("commit_id", commit_id)
            for sample_id in head.get("removed", ()):
                if sample_id in file_of:
                    name = file_of.pop(sample_id)
                    (self._folder / name).unlink(missing_ok=True)
                    del state.files[name]
                    num_removed += 1
            for stem, data, (sample_id, _mask_id) in files:
                name = file_of.get(sample_id) or self._free_name(state, stem, sample_id)
                file_of[sample_id] = name
                state.files[name] = [sample_id, *self._write(name, data)]
                num_written += 1
        state.commit_id, state.masks = commit_id, {}
        self._save(state)
        return CheckedOut(commit_id, num_written, num_removed)

    def _differs(self, state: _State, name: str, stat: tuple[int, int] | None) -> bool:
        known = state.files.get(name)
        return known is None or stat is None or known[1:] != [*stat]

    def _free_name(self, state: _State, stem: str, sample_id: str) -> str:
        """Named like its image, unless another sample's file is."""
        name = f"{stem}.png"
        safe = "/" not in stem and "\\" not in stem and not stem.startswith(".") and name not in state.files
        return name if safe and stem else f"{sample_id}.png"

    def _is_staged(self, branch: str) -> bool:
        return self._datasets.status(self._project_id, branch=branch).staged > 0

    def _scan(self) -> dict[str, tuple[int, int]]:
        """(size, mtime in ns) of the folder's label files by name."""
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file():
                    stat = entry.stat()
                    found[entry.name] = (stat.st_size, stat.st_mtime_ns)
        return found

    def _batches(self, names: Sequence[str], there: dict[str, tuple[int, int]]) -> Iterator[list[str]]:
        batch: list[str] = []
        num_bytes = 0
        for name in sorted(names):
            if batch and (len(batch) == _BATCH_FILES or num_bytes + there[name][0] > _BATCH_BYTES):
                yield batch
                batch, num_bytes = [], 0
            batch.append(name)
            num_bytes += there[name][0]
        if batch:
            yield batch

    def _send(self, state: _State, names: Sequence[str], branch: str, skipped: list[SkippedFile]) -> None:
        """Stage files; each is known by what it was before it was read."""
        young_ns = time.time_ns() - _GRAIN_NS
        stats, files = {}, []
        for name in names:
            with open(f"{self._folder}/{name}", "rb", buffering=0) as file:
                stat = os.fstat(file.fileno())
                stats[name] = (stat.st_size, stat.st_mtime_ns if stat.st_mtime_ns < young_ns else 0)
                known = state.files.get(name)
                # A file whose sample is known needs not be looked up by its name.
                sent = name if known is None else f"{known[0]}{os.path.splitext(name)[1]}"
                files.append((sent, file.read(), ()))
        name_of = {sent: name for (sent, _, _), name in zip(files, names, strict=True)}
        report = self._datasets.put_labels(self._project_id, frame(files), branch=branch)
        for taken in report.files:
            name = name_of[taken.name]
            state.files[name] = [taken.sample_id, *stats[name]]
            state.masks[taken.sample_id] = taken.mask_id
        skipped += [SkippedFile(file=name_of[row.file], reason=row.reason) for row in report.skipped]

    def _write(self, name: str, data: bytes) -> tuple[int, int]:
        # Without Python's buffers and path objects: a checkout may write tens of thousands of files.
        with open(f"{self._folder}/{name}", "wb", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "no room for all of it", f"{self._folder}/{name}")
            stat = os.fstat(file.fileno())
        return stat.st_size, stat.st_mtime_ns

    def _load(self) -> _State:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / STATE
        if not path.exists():
            return _State()
        said = json.loads(path.read_bytes())
        return _State(said["commit_id"], said["files"], said["masks"])

    def _save(self, state: _State) -> None:
        said = {"commit_id": state.commit_id, "files": state.files, "masks": state.masks}
        new = self._folder / f"{STATE}.new"
        new.write_text(json.dumps(said, separators=(",", ":")))
        new.replace(self._folder / STATE)
