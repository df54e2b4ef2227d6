"""Archives that come in: opened with suspicion, read member by member, never unpacked to a disk."""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any, BinaryIO

from terrazzo_mask_storage.domain.layouts import is_unsafe
from terrazzo_masks.formats.exchange import UnreadableFile
from terrazzo_schema.errors import CorruptInput, TooLarge

MEMBERS_MAX = 500_000
# Images hardly shrink, but a small archive of label maps does by a lot.
UNPACKED_BYTES_ALWAYS = 2**30
UNPACKED_RATIO_MAX = 100
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class Archive:
    """A zip archive in a seekable file: the Source of an import.

    Raises CorruptInput for what is none, or hostile; TooLarge for a bomb.
    """

    def __init__(self, file: IO[bytes]) -> None:
        num_packed = file.seek(0, 2)
        file.seek(0)
        try:
            self._zip = zipfile.ZipFile(file)
            infos = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError) as error:
            raise CorruptInput(f"the body is no zip archive: {error}", field="body") from error
        if len(infos) > MEMBERS_MAX:
            raise TooLarge(f"the archive has {len(infos)} members", field="body", remedy=f"at most {MEMBERS_MAX}")
        for info in infos:
            if is_unsafe(info.filename):
                raise CorruptInput(
                    f"the archive's member {info.filename[:200]!r} points outside of the archive",
                    field="body",
                    value=info.filename,
                    remedy="use relative names without '..'; nothing was imported",
                )
        num_bytes = sum(info.file_size for info in infos)
        limit = max(UNPACKED_BYTES_ALWAYS, UNPACKED_RATIO_MAX * num_packed)
        if num_bytes > limit:
            raise TooLarge(
                f"the archive unpacks from {num_packed} to {num_bytes} bytes",
                field="body",
                value=num_bytes,
                remedy=f"at most {limit} bytes: split it",
            )
        self._infos = {info.filename: info for info in infos if not info.is_dir()}

    def names(self) -> Sequence[str]:
        return list(self._infos)

    def open(self, name: str) -> BinaryIO:
        """A member as a stream. Raises UnreadableFile; so do its reads when they meet damage."""
        info = self._infos[name]
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnreadableFile("it is a link")
        if info.flag_bits & 1:
            raise UnreadableFile("it is encrypted")
        try:
            return io.BufferedReader(_Member(self._zip.open(info)))
        except _DAMAGE as error:
            raise UnreadableFile(f"it can't be unpacked: {error}") from error

    def read(self, name: str, max_bytes: int) -> bytes:
        """A member's bytes. Raises UnreadableFile."""
        info = self._infos[name]
        if info.file_size > max_bytes:
            raise UnreadableFile(f"it has {info.file_size} bytes; at most {max_bytes} are taken")
        with self.open(name) as member:
            data = member.read(max_bytes + 1)
        if len(data) != info.file_size:
            raise UnreadableFile(f"it has not the {info.file_size} bytes that the archive says")
        return data


class _Member(io.RawIOBase):
    """A member that is being read: damage is an UnreadableFile, whatever the unpacker says."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except _DAMAGE as error:
            raise UnreadableFile(f"it can't be unpacked: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except _DAMAGE as error:
            raise UnreadableFile(f"it can't be unpacked: {error}") from error

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
