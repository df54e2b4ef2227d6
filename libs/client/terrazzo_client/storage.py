"""Upkeep of what the mask storage holds: statistics, verification, garbage collection."""

from __future__ import annotations

from collections.abc import Iterator

from terrazzo_client.connection import Connection, path_of
from terrazzo_schema.rest.mask_storage import GcReport, StorageStats, VerifyLine


class Storage:
    """For an organisation's admin."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stats(self) -> StorageStats:
        """How many images, masks, versions and packs there are, and the bytes of parts by kind and encoding."""
        return self._connection.read(path_of("storage", "stats"), StorageStats)

    def verify(self) -> Iterator[VerifyLine]:
        """Read and hash everything again: lines as they come, each with how far it is; the last has the report.

        Raises NoAnswer when the answer breaks off.
        """
        with self._connection.stream(path_of("storage", "verify")) as response:
            for line in response.iter_lines():
                yield VerifyLine.model_validate_json(line)

    def gc(self, *, dry_run: bool = False, idempotency_key: str | None = None) -> GcReport:
        """Remove packs that nothing refers to, after the grace period; `dry_run` only says what would go."""
        answer = self._connection.send(
            "POST", path_of("storage", "gc"), params={"dry_run": dry_run}, idempotency_key=idempotency_key
        )
        return GcReport.model_validate_json(answer.content)
