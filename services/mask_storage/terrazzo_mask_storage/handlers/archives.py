"""Archives that come in: opened with suspicion, read member by member, never unpacked to a disk."""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib

from terrazzo_mask_storage.domain.layouts import is_unsafe
from terrazzo_schema.errors import CorruptInput, TooLarge

MEMBERS_MAX = 200_000
# Images hardly shrink, but a small archive of label maps does by a lot.
UNPACKED_BYTES_ALWAYS = 2**30
UNPACKED_RATIO_MAX = 100


class UnreadableMember(Exception):
    """This member can't be read; the others can. The text says why."""


class Archive:
    """A zip archive in memory. Raises CorruptInput for what is none, or hostile; TooLarge for a bomb."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
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
        limit = max(UNPACKED_BYTES_ALWAYS, UNPACKED_RATIO_MAX * len(data))
        if num_bytes > limit:
            raise TooLarge(
                f"the archive unpacks from {len(data)} to {num_bytes} bytes",
                field="body",
                value=num_bytes,
                remedy=f"at most {limit} bytes: split it",
            )
        self._infos = {info.filename: info for info in infos if not info.is_dir()}

    @property
    def names(self) -> list[str]:
        return list(self._infos)

    def read(self, name: str, num_bytes_max: int) -> bytes:
        """A member's bytes. Raises UnreadableMember."""
        info = self._infos[name]
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnreadableMember("it is a link")
        if info.flag_bits & 1:
            raise UnreadableMember("it is encrypted")
        if info.file_size > num_bytes_max:
            raise UnreadableMember(f"it has {info.file_size} bytes; at most {num_bytes_max} are taken")
        try:
            with self._zip.open(info) as member:
                data = member.read(num_bytes_max + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            OSError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise UnreadableMember(f"it can't be unpacked: {error}") from error
        if len(data) != info.file_size:
            raise UnreadableMember(f"it has not the {info.file_size} bytes that the archive says")
        return data
