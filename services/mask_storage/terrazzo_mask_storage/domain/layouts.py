"""Names of files in archives: a stem for each sample, which names are safe, which files are packed already.

Where things lie in each format is the business of `terrazzo_masks.formats`.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_ODD = re.compile(r"[^A-Za-z0-9._ -]+")
_PACKED = frozenset({".png", ".jpg", ".tif", ".webp", ".gz", ".npz"})


class Stems:
    """A stem for each sample's files: its name without folder and extension, made unique."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def stem_of(self, name: str, sample_id: str) -> str:
        base = PurePosixPath(name.replace("\\", "/")).name
        stem = _ODD.sub("_", base.rsplit(".", 1)[0] if "." in base[1:] else base).strip(" .")[:120]
        # Files systems that ignore case would let one file overwrite the other.
        if not stem or stem.lower() in self._taken:
            stem = f"{stem}_{sample_id[4:]}".lstrip("_")
        self._taken.add(stem.lower())
        return stem


def is_unsafe(name: str) -> bool:
    """True for a member's name that would leave the folder it is unpacked in ('zip slip')."""
    path = name.replace("\\", "/")
    return path.startswith("/") or re.match(r"^[A-Za-z]:", path) is not None or ".." in path.split("/")


def is_packed(name: str) -> bool:
    """True for a file that deflate would not make smaller: it is stored in the archive as it is."""
    return PurePosixPath(name).suffix.lower() in _PACKED
