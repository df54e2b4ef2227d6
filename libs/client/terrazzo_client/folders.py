"""A folder as a zip archive that is made while it is sent: nothing is written to a disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_TIME = (1980, 1, 1, 0, 0, 0)
_PACKED = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gz", ".zip", ".npz"})


def files_of(folder: Path) -> list[Path]:
    """Files of a folder and of those in it, by name; hidden ones are left out.

    Raises ValueError for a link that leads out of the folder, and for a folder without files.
    """
    root = folder.resolve()
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        if not path.resolve().is_relative_to(root):
            raise ValueError(f"{path} is a link that leads out of {folder}")
        found.append(path)
    if not found:
        raise ValueError(f"{folder} has no files")
    return found


def zipped(folder: Path) -> Iterator[bytes]:
    """The bytes of a zip archive of the folder: the same files give the same bytes. Raises as `files_of`."""
    sink = _Sink()
    archive = zipfile.ZipFile(sink, "w", allowZip64=True)  # type: ignore[call-overload]
    for path in files_of(folder):
        info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
        info.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
        with path.open("rb") as file, archive.open(info, "w", force_zip64=True) as member:
            while chunk := file.read(_CHUNK_BYTES):
                member.write(chunk)
                yield sink.take()
        yield sink.take()
    archive.close()
    yield sink.take()


class _Sink:
    """What the zip is written to: a stream that can't seek, emptied after each step."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data
