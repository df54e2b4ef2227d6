"""What a folder of label files held last, in `.terrazzo-labels.json`: lines of JSON, as there may be many files.

The first line is the whole, in columns; each further one what a later command changed of it:

    {"layout": 2, "commit_id": ..., "masks": {sample id: mask id or null}, "names": "a.png/b.png",
     "samples": "smp_.../smp_...", "stats": base64 of (size, mtime in ns) as int64, little-endian}
    {"commit_id": ..., "masks": {...}, "files": {"a.png": [sample id, size, mtime in ns], "b.png": null}}

A line that a crash cut short was not said: what it told of is looked at again.
"""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

STATE = ".terrazzo-labels.json"
LAYOUT = 2
# When more rows than this share of the files were changed since, the whole is written anew.
_CHANGED_SHARE = 0.25
Stat = tuple[int, int]


class FolderState:
    """What is known of each file, in columns: a folder may hold very many, and most are as they were.

    The files are those of `commit_id`, but for `masks`: sample id -> mask id of files that were added since; None:
    there is no file. `touched` are names that were changed since the last line, and `num_noted` those of the lines
    after the first (None: there is no whole to add lines to).

    `places` maps the name of a file to where its size lies in `numbers`; its time (mtime in ns) is the next.
    """

    def __init__(self) -> None:
        self.commit_id: str | None = None
        self.masks: dict[str, str | None] = {}
        self.touched: set[str] = set()
        self.num_noted: int | None = None
        self.places: dict[str, int] = {}
        self.numbers = array("q")
        self._samples: str | list[str] = []
        self._width = 0  # of an id in the text of them and the "/" behind it, if that is the same for all

    def stat(self, name: str) -> Stat | None:
        """(size, mtime in ns) of a file when it was noted."""
        place = self.places.get(name)
        return None if place is None else (self.numbers[place], self.numbers[place + 1])

    def sample(self, name: str) -> str | None:
        """Whose label a file is."""
        place = self.places.get(name)
        if place is None:
            return None
        if self._width:
            start = place // 2 * self._width
            return str(self._samples[start : start + self._width - 1])
        return self._column()[place // 2]

    def files(self) -> dict[str, str]:
        """Name of the file by sample id."""
        column = self._column()
        return {column[place // 2]: name for name, place in self.places.items()}

    def note(self, name: str, sample_id: str, stat: Stat) -> None:
        place = self.places.get(name)
        if place is None:
            self.places[name] = len(self.numbers)
            self.numbers.extend(stat)
            self._column().append(sample_id)
        else:
            self.numbers[place], self.numbers[place + 1] = stat
            if self.sample(name) != sample_id:
                self._column()[place // 2] = sample_id
        self.touched.add(name)

    def forget(self, name: str) -> None:
        del self.places[name]  # what is in the columns is left there until they are written anew
        self.touched.add(name)

    def columns(self) -> tuple[list[str], list[str], array[int]]:
        """(names, sample ids, sizes and times) of the files."""
        column, numbers = self._column(), array("q")
        for place in self.places.values():
            numbers.extend(self.numbers[place : place + 2])
        return list(self.places), [column[place // 2] for place in self.places.values()], numbers

    @classmethod
    def of_columns(cls, names: str, samples: str, numbers: array[int]) -> FolderState:
        """Of names and of sample ids with "/" between them."""
        state = cls()
        state.places = dict(zip(names.split("/") if names else (), range(0, len(numbers), 2), strict=True))
        state.numbers, state._samples = numbers, samples
        width = samples.find("/") + 1
        # Ids of one length, as all are that are given today: each is found by its place.
        if (
            width > 1
            and (len(samples) + 1) * 2 == len(numbers) * width
            and set(samples[width - 1 :: width]) == {"/"}
        ):
            state._width = width
        return state

    def _column(self) -> list[str]:
        """The sample ids; they are taken apart when the first is asked for: often none is."""
        if isinstance(self._samples, str):
            self._samples, self._width = self._samples.split("/") if self._samples else [], 0
        return self._samples


def load(folder: Path) -> FolderState:
    """What the folder held; empty if it is new, or its state of another layout: then no file is known."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # As text: JSON of bytes is decoded in a slower way.
        first, *rest = (folder / STATE).read_bytes().decode().split("\n")
    except FileNotFoundError:
        return FolderState()
    said = json.loads(first)
    if said.get("layout") != LAYOUT:
        return FolderState()
    numbers = array("q", b64decode(said["stats"]))
    if sys.byteorder == "big":
        numbers.byteswap()
    state = FolderState.of_columns(said["names"], said["samples"], numbers)
    state.commit_id, state.masks, state.num_noted = said["commit_id"], said["masks"], 0
    for line in rest[:-1]:
        _take(state, json.loads(line))
    state.touched.clear()
    if not rest or rest[-1]:
        state.num_noted = None  # the last line was cut short: no other is put behind it
    return state


def _take(state: FolderState, said: dict[str, Any]) -> None:
    """Apply a further line."""
    state.commit_id, state.masks = said["commit_id"], said["masks"]
    for name, row in said["files"].items():
        if row is not None:
            state.note(name, row[0], (row[1], row[2]))
        elif name in state.places:
            state.forget(name)
    state.num_noted = (state.num_noted or 0) + len(said["files"])


def save(folder: Path, state: FolderState) -> None:
    """Note what changed: a line more, or the whole anew, which replaces the old at once."""
    said: dict[str, Any] = {"commit_id": state.commit_id, "masks": state.masks}
    if state.num_noted is not None and state.num_noted + len(state.touched) <= _CHANGED_SHARE * len(state.places):
        said["files"] = {name: _row(state, name) for name in sorted(state.touched)}
        with open(folder / STATE, "ab", buffering=0) as file:
            file.write(_line(said))
        state.num_noted += len(state.touched)
    else:
        names, samples, numbers = state.columns()
        if sys.byteorder == "big":
            numbers.byteswap()
        said |= {
            "layout": LAYOUT,
            "names": "/".join(names),
            "samples": "/".join(samples),
            "stats": b64encode(numbers.tobytes()).decode(),
        }
        new = folder / f"{STATE}.new"
        new.write_bytes(_line(said))
        new.replace(folder / STATE)
        state.num_noted = 0
    state.touched.clear()


def _row(state: FolderState, name: str) -> list[str | int | None] | None:
    stat = state.stat(name)
    return None if stat is None else [state.sample(name), *stat]


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"
