"""What a folder of label files held last, in `.terrazzo-labels.json`: as columns, there may be many files.

{"layout": 2, "commit_id": ..., "names": "a.png/b.png", "samples": "smp_.../smp_...",
 "stats": base64 of (size, mtime in ns) as int64, little-endian, "masks": {sample id: mask id or null}}
"""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

STATE = ".terrazzo-labels.json"
LAYOUT = 2
Stat = tuple[int, int]


@dataclass
class FolderState:
    """`stats`: (size, mtime in ns) of each file, `samples`: whose it is; by file name, in one order.

    The files are those of `commit_id`, but for `masks`: sample id -> mask id of files that were added since; None:
    there is no file.
    """

    commit_id: str | None = None
    stats: dict[str, Stat] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str | None] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        del self.stats[name], self.samples[name]


def load(folder: Path) -> FolderState:
    """What the folder held; empty if it is new, or its state of another layout: then no file is known."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        said = json.loads((folder / STATE).read_bytes())
    except FileNotFoundError:
        return FolderState()
    if said.get("layout") != LAYOUT:
        return FolderState()
    names, samples = (said[column].split("/") if said[column] else [] for column in ("names", "samples"))
    numbers = array("q", b64decode(said["stats"]))
    if sys.byteorder == "big":
        numbers.byteswap()
    stats = zip(numbers[::2], numbers[1::2], strict=True)
    return FolderState(
        said["commit_id"],
        dict(zip(names, stats, strict=True)),
        dict(zip(names, samples, strict=True)),
        said["masks"],
    )


def save(folder: Path, state: FolderState) -> None:
    """Replace what was noted, whole: a crash leaves the old or the new."""
    numbers = array("q", chain.from_iterable(state.stats.values()))
    if sys.byteorder == "big":
        numbers.byteswap()
    said = {
        "layout": LAYOUT,
        "commit_id": state.commit_id,
        "names": "/".join(state.stats),
        "samples": "/".join(map(state.samples.__getitem__, state.stats)),
        "stats": b64encode(numbers.tobytes()).decode(),
        "masks": state.masks,
    }
    new = folder / f"{STATE}.new"
    new.write_text(json.dumps(said, separators=(",", ":")))
    new.replace(folder / STATE)
