"""A folder of label files beside a dataset: what changed in it is staged, and a version is written into it.

    folder = LabelFolder(client, "prj_...", Path("labels"))
    folder.add(message="night scenes")      # the files that changed: staged and committed
    folder.checkout("v1")                   # the files that differ: written or removed

A file is an index PNG named like its image, or by its sample id. Which files changed, size and time say (as they
do to git and DVC): they are kept in `.terrazzo-labels.json` in the folder. A folder may hold very many files: they
are read and written by bare system calls, and only those are looked at that must be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from terrazzo_client.errors import Conflict
from terrazzo_client.folder_state import STATE, FolderState, Stat, load, save
from terrazzo_schema.label_bundle import files_at, frame, heads
from terrazzo_schema.rest.mask_storage import MESSAGE_MAX, CommitView, SkippedFile

if TYPE_CHECKING:
    from terrazzo_client.client import TerrazzoClient

__all__ = ["STATE", "Added", "CheckedOut", "LabelFolder", "LocalChanges"]

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_BATCH_FILES, _BATCH_BYTES = 10_000, 2**24
# A file that is this young may change again within the clock's grain: it is looked at again next time.
_GRAIN_NS = 20_000_000
# Of so many files what is known is kept between calls: some 20 MB.
_KEPT_FILES_MAX = 100_000


_BINARY = getattr(os, "O_BINARY", 0)


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


class LabelFolder:
    """See the module's text. One process at a time works on a folder."""

    def __init__(self, client: TerrazzoClient, project_id: str, folder: Path) -> None:
        self._datasets = client.datasets
        self._project_id = project_id
        self._folder = folder
        # What is known of the files when a call ended well, with what the file that says it was then.
        self._kept: tuple[tuple[int, int, int], FolderState] | None = None

    def add(self, *, branch: str = "main", message: str | None = None, remove: bool = False) -> Added:
        """Stage the files that changed; `remove`: and that samples go whose files are gone. Commit if told why.

        A file that can't be taken is in `skipped`, and looked at again next time. Raises ApiError, NoAnswer.
        """
        state = self._load()
        changed, gone = self._compare(state)
        if not remove:
            gone = []
        skipped: list[SkippedFile] = []
        made = None
        batches = list(_batches(changed))
        # The last batch may say what its commit is for: a request less.
        is_said = message is not None and len(message) <= MESSAGE_MAX and bool(batches) and not gone
        for batch in batches:
            made = self._send(state, batch, branch, skipped, message if is_said and batch is batches[-1] else None)
        if gone:
            removed: dict[str, str | None] = {state.sample(name) or "": None for name in gone}
            self._datasets.stage(self._project_id, removed, branch=branch)
            state.masks |= removed
            for name in gone:
                state.forget(name)
        if message is not None and not is_said and (changed or gone):
            made = self._commit(message, branch)
        if made is not None:
            state.commit_id, state.masks = made.commit_id, {}
        if changed or gone or made is not None:
            save(self._folder, state)
        self._keep(state)
        return Added(len(changed) - len(skipped), len(gone), tuple(skipped), made)

    def changed(self) -> list[str]:
        """Files that are not as they were last added or checked out, those that are gone included."""
        state = self._load()
        changed, gone = self._compare(state)
        self._keep(state)
        return sorted([*changed, *gone])

    def checkout(self, ref: str = "main", *, force: bool = False) -> CheckedOut:
        """Make the folder's files those of a version; files that are so already are not touched.

        Raises LocalChanges, before anything is written, that names files which were changed and not added, or are
        unknown, and which the version would overwrite or remove; what it says nothing of stays (as with git). A
        forced checkout overwrites those, undoes all other changes, and leaves files that it does not know.
        """
        state = self._load()
        if force:
            changed, lost = self._compare(state)
            for name in [*changed, *lost]:
                sample_id = state.sample(name)
                if sample_id is not None:
                    state.masks[sample_id] = None
                    state.forget(name)
        body = self._datasets.checkout(self._project_id, ref=ref, base=state.commit_id, masks=state.masks)
        file_of = state.files()
        parsed = list(heads(body))
        commit_id, gone, come = self._plan(state, file_of, [head for head, _ in parsed])
        if not force:
            self._refuse_local_changes(state, [*gone, *come.values()])
        for name in gone:
            (self._folder / name).unlink(missing_ok=True)
            state.forget(name)
        for head, at in parsed:
            for _, data, (sample_id, _mask_id) in files_at(body, head, at):
                name = come[sample_id]
                state.note(name, sample_id, _write(f"{self._folder}/{name}", data))
        state.commit_id, state.masks = commit_id, {}
        save(self._folder, state)
        self._keep(state)
        return CheckedOut(commit_id, len(come), len(gone))

    def _load(self) -> FolderState:
        """What is known of the files: as the last call left it, unless another process wrote it since."""
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] == self._mark():
            return kept[1]
        return load(self._folder)

    def _keep(self, state: FolderState) -> None:
        """For the next call. One that raises keeps nothing: what it noted is in memory alone."""
        mark = self._mark()
        if mark is not None and len(state.places) <= _KEPT_FILES_MAX:
            self._kept = (mark, state)

    def _mark(self) -> tuple[int, int, int] | None:
        """What tells one writing of the state from another; None if there is none."""
        try:
            stat = os.stat(self._folder / STATE)
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _plan(
        self, state: FolderState, file_of: Mapping[str, str], told: Iterable[dict[str, Any]]
    ) -> tuple[str, list[str], dict[str, str]]:
        """(commit id, names of the files that go, sample id -> name of those that come) by a bundle's heads."""
        commit_id, gone, come = "", [], {}
        taken = set(state.places)
        rows: list[list[str]] = []
        for head in told:
            commit_id = head.get("commit_id", commit_id)
            gone += [file_of[sample_id] for sample_id in head.get("removed", ()) if sample_id in file_of]
            rows += head["files"]
        # By sample id: files come in the order in which they are stored, and names must not depend on that.
        for stem, _, sample_id, _ in sorted(rows, key=itemgetter(2)):
            name = file_of.get(sample_id)
            if name is None:
                # Named like its image, unless another sample's file is.
                name = f"{stem}.png"
                if not _is_plain(stem) or name in taken:
                    name = f"{sample_id}.png"
                taken.add(name)
            come[sample_id] = name
        return commit_id, gone, come

    def _refuse_local_changes(self, state: FolderState, names: Sequence[str]) -> None:
        """Of a few files each is looked at; of many, all at once."""
        if len(names) * 4 > len(state.places):
            changed, lost = self._compare(state)
            differing = {*changed, *lost}
            dirty = [name for name in names if name in differing]
        else:
            dirty = [name for name in names if self._stat(name) != state.stat(name)]
        if dirty:
            some = ", ".join(sorted(dirty)[:5])
            raise LocalChanges(f"{len(dirty)} files of {self._folder} were changed and not added: {some}")

    def _commit(self, message: str, branch: str) -> CommitView | None:
        """None: what was sent was committed already."""
        try:
            return self._datasets.commit(self._project_id, message, branch=branch)
        except Conflict:
            if self._datasets.status(self._project_id, branch=branch).staged:
                raise
            return None

    def _stat(self, name: str) -> Stat | None:
        try:
            stat = os.stat(f"{self._folder}/{name}")
        except FileNotFoundError:
            return None
        return stat.st_size, stat.st_mtime_ns

    def _compare(self, state: FolderState) -> tuple[dict[str, int], list[str]]:
        """(sizes of the label files that are not as they were noted, names of those that are gone).

        Each is compared as it is met: nothing is kept of a file that is as it was. Names are listed and files
        looked at in two passes, the known ones in the order of the state: the processor's caches are small.
        """
        changed: dict[str, int] = {}
        gone: list[str] = []
        places, numbers, stat = state.places, state.numbers, os.stat
        unknown = [name for name in os.listdir(self._folder) if name not in places and _may_be_label(name)]
        # By the open folder where that can be done: the system then needs not walk down the path for each file.
        folder = os.open(self._folder, os.O_RDONLY) if stat in os.supports_dir_fd else None
        path = "" if folder is not None else f"{self._folder}/"
        try:
            for name, place in places.items():
                try:
                    found = stat(path + name, dir_fd=folder)
                except FileNotFoundError:
                    gone.append(name)
                    continue
                if found.st_mtime_ns != numbers[place + 1] or found.st_size != numbers[place]:
                    if S_ISREG(found.st_mode):
                        changed[name] = found.st_size
                    else:
                        gone.append(name)  # something else has its name
            for name in unknown:
                try:
                    found = stat(path + name, dir_fd=folder)
                except FileNotFoundError:
                    continue  # a link to nothing, or a file that was removed just now
                if S_ISREG(found.st_mode):
                    changed[name] = found.st_size
        finally:
            if folder is not None:
                os.close(folder)
        return changed, sorted(gone)

    def _send(
        self,
        state: FolderState,
        names: Sequence[str],
        branch: str,
        skipped: list[SkippedFile],
        message: str | None,
    ) -> CommitView | None:
        """Stage files, and commit if told why; each is known by what it was before it was read."""
        young_ns = time.time_ns() - _GRAIN_NS
        stats: list[Stat] = []
        files: list[tuple[str, bytes, tuple[str, ...]]] = []
        for name in names:
            data, (size, time_ns) = _read(f"{self._folder}/{name}")
            stats.append((size, time_ns if time_ns < young_ns else 0))
            # A file whose sample is known needs not be looked up by its name.
            known = state.sample(name)
            files.append((name if known is None else f"{known}{os.path.splitext(name)[1]}", data, ()))
        report = self._datasets.put_labels(self._project_id, frame(files), branch=branch, message=message)
        for name, stat, sample_id, mask_id in zip(names, stats, report.sample_ids, report.mask_ids, strict=True):
            if sample_id is not None:
                state.note(name, sample_id, stat)
                state.masks[sample_id] = mask_id
        if report.skipped:
            name_of = {sent: name for (sent, _, _), name in zip(files, names, strict=True)}
            skipped += [SkippedFile(file=name_of[row.file], reason=row.reason) for row in report.skipped]
        return report.commit


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The files that go in one request, by name."""
    batch: list[str] = []
    num_bytes = 0
    for name, size in sorted(sizes.items()):
        if batch and (len(batch) == _BATCH_FILES or num_bytes + size > _BATCH_BYTES):
            yield batch
            batch, num_bytes = [], 0
        batch.append(name)
        num_bytes += size
    if batch:
        yield batch


def _may_be_label(name: str) -> bool:
    return name.endswith(SUFFIXES) and name[0] != "."


def _is_plain(stem: str) -> bool:
    """Whether a file may be called so: an image's name is whatever its owner says."""
    return bool(stem) and "/" not in stem and "\\" not in stem and "\0" not in stem and not stem.startswith(".")


def _read(path: str) -> tuple[bytes, Stat]:
    """(a file's bytes, what it was before they were read)."""
    file = os.open(path, os.O_RDONLY | _BINARY)
    try:
        stat = os.fstat(file)
        data = os.read(file, stat.st_size + 1)
        while len(data) > stat.st_size and (more := os.read(file, 2**20)):
            data += more  # it grows as it is read
    finally:
        os.close(file)
    return data, (stat.st_size, stat.st_mtime_ns)


def _write(path: str, data: bytes) -> Stat:
    """Make a file hold `data`, in its place: it is not emptied first, which some file systems wait for.

    A file that is half written has another time than is noted of it: it counts as changed.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | _BINARY, 0o666)
    try:
        num_written = os.write(file, data)
        while num_written < len(data):
            num_written += os.write(file, data[num_written:])
        stat = os.fstat(file)
        if stat.st_size != len(data):
            os.ftruncate(file, len(data))
            stat = os.fstat(file)
    finally:
        os.close(file)
    return stat.st_size, stat.st_mtime_ns
