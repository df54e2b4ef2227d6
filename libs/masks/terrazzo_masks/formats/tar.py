"""Reading a tar as a stream, without trust: POSIX ustar, pax and GNU long names (POSIX.1-2017, pax).

Written here because `tarfile` takes a long name or a pax header of any size into memory, which a few compressed
bytes can ask for.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from terrazzo_masks.errors import CorruptMask

BLOCK = tarfile.BLOCKSIZE
EXTRA_BYTES_MAX = 2**16
SKIP_BYTES = 2**20
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}


@dataclass(frozen=True)
class TarMember:
    """A member: `data` is None where it is no file, or has more bytes than were allowed."""

    name: str
    size: int
    is_file: bool
    is_folder: bool
    data: bytes | None


def members(file: BinaryIO, max_bytes: int) -> Iterator[TarMember]:
    """The members in their order. Raises CorruptMask for damage, and for a header that is too large."""
    extra: dict[str, str] = {}
    while (head := _exactly(file, BLOCK, "a header")) != bytes(BLOCK):
        try:
            info = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise CorruptMask(f"a header can't be read: {error}") from error
        if info.size < 0:
            raise CorruptMask(f"the header of {info.name[:80]!r} states {info.size} bytes")
        if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, *_NAMES):
            extra |= _extra(info, _small(file, info))
            continue
        if info.type == tarfile.XGLTYPE:
            _small(file, info)
            continue
        name, size = extra.get("path", info.name), _size(extra, info)
        extra = {}
        is_file = info.type in _REGULAR
        data = _exactly(file, size, name) if is_file and size <= max_bytes else None
        _skip(file, (-size % BLOCK) if data is not None else size + -size % BLOCK, name)
        yield TarMember(name, size, is_file, info.type == tarfile.DIRTYPE, data)


def _small(file: BinaryIO, info: tarfile.TarInfo) -> bytes:
    if info.size > EXTRA_BYTES_MAX:
        raise CorruptMask(f"an extended header states {info.size} bytes: at most {EXTRA_BYTES_MAX} are read")
    data = _exactly(file, info.size, "an extended header")
    _skip(file, -info.size % BLOCK, "an extended header")
    return data


def _extra(info: tarfile.TarInfo, data: bytes) -> dict[str, str]:
    if info.type in _NAMES:
        return {_NAMES[info.type]: data.rstrip(b"\0").decode("utf-8", "replace")}
    found: dict[str, str] = {}
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
            raise CorruptMask("an extended header is no list of records")
        record = rest[: int(length) - len(length) - 1]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        data = data[int(length) :]
    return found


def _size(extra: dict[str, str], info: tarfile.TarInfo) -> int:
    text = extra.get("size", str(info.size))
    if not text.isdigit() or len(text) > 18:
        raise CorruptMask(f"an extended header states the size {text[:40]!r}")
    return int(text)


def _exactly(file: BinaryIO, size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise CorruptMask(f"it is cut short in {what[:80]}")
    return data


def _skip(file: BinaryIO, size: int, what: str) -> None:
    while size:
        size -= len(_exactly(file, min(size, SKIP_BYTES), what))
