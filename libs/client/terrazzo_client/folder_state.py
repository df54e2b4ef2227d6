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
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

STATE = ".terrazzo-labels.json"
LAYOUT = 2
# When more rows than this share of the files were changed since, the whole is written anew.
_CHANGED_SHARE = 0.25
Stat = tuple[int, int]


@dataclass
class FolderState:
    """`stats`: (size, mtime in ns) of each file, `samples`: whose it is; by file name.

    The files are those of `commit_id`, but for `masks`: sample id -> mask id of files that were added since; None:
    there is no file. `touched` are names that were changed since the last line, and `num_noted` those of the lines
    after the first (None: there is no whole to add lines to).
    """

    commit_id: str | None = None
    stats: dict[str, Stat] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str | None] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    num_noted: int | None = None

    def note(self, name: str, sample_id: str, stat: Stat) -> None:
        self.samples[name], self.stats[name] = sample_id, stat
        self.touched.add(name)

    def forget(self, name: str) -> None:
        del self.stats[name], self.samples[name]
        self.touched.add(name)


def load(folder: Path) -> FolderState:
    """What the folder held; empty if it is new, or its state of another layout: then no file is known."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        first, *rest = (folder / STATE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return FolderState()
    said = json.loads(first)
    if said.get("layout") != LAYOUT:
        return FolderState()
    names, samples = (said[column].split("/") if said[column] else [] for column in ("names", "samples"))
    numbers = array("q", b64decode(said["stats"]))
    if sys.byteorder == "big":
        numbers.byteswap()
    stats = zip(numbers[::2], numbers[1::2], strict=True)
    state = FolderState(
        said["commit_id"],
        dict(zip(names, stats, strict=True)),
        dict(zip(names, samples, strict=True)),
        said["masks"],
        num_noted=0,
    )
    for line in rest[:-1]:
        _take(state, json.loads(line))
    if not rest or rest[-1]:
        state.num_noted = None  # the last line was cut short: no other is put behind it
    return state


def _take(state: FolderState, said: dict[str, Any]) -> None:
    """Apply a further line."""
    state.commit_id, state.masks = said["commit_id"], said["masks"]
    for name, row in said["files"].items():
        if row is None:
            state.stats.pop(name, None)
            state.samples.pop(name, None)
        else:
            state.samples[name], state.stats[name] = row[0], (row[1], row[2])
    state.num_noted = (state.num_noted or 0) + len(said["files"])


def save(folder: Path, state: FolderState) -> None:
    """Note what changed: a line more, or the whole anew, which replaces the old at once."""
    said: dict[str, Any] = {"commit_id": state.commit_id, "masks": state.masks}
    if state.num_noted is not None and state.num_noted + len(state.touched) <= _CHANGED_SHARE * len(state.stats):
        said["files"] = {
            name: [state.samples[name], *state.stats[name]] if name in state.stats else None
            for name in sorted(state.touched)
        }
        with open(folder / STATE, "ab", buffering=0) as file:
            file.write(_line(said))
        state.num_noted += len(state.touched)
    else:
        numbers = array("q", chain.from_iterable(state.stats.values()))
        if sys.byteorder == "big":
            numbers.byteswap()
        said |= {
            "layout": LAYOUT,
            "names": "/".join(state.stats),
            "samples": "/".join(map(state.samples.__getitem__, state.stats)),
            "stats": b64encode(numbers.tobytes()).decode(),
        }
        new = folder / f"{STATE}.new"
        new.write_bytes(_line(said))
        new.replace(folder / STATE)
        state.num_noted = 0
    state.touched.clear()


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"
