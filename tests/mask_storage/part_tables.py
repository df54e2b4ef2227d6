"""The tables of parts and packs in memory, for what is tested without a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terrazzo_mask_storage.domain.packs import Pack, Part


class PartTables:
    """As much of ports.Store as reading and writing parts asks for."""

    def __init__(self) -> None:
        self.rows: dict[str, Part] = {}

    def parts(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        return {digest: self.rows[digest] for digest in digests if digest in self.rows}

    def part_chains(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        found: dict[str, Part] = {}
        waiting = list(digests)
        while waiting:
            found |= (new := self.parts(organisation_id, waiting))
            waiting = [part.base for part in new.values() if part.base is not None]
        return found

    def add_parts(self, organisation_id: str, packs: Sequence[Pack], parts: Sequence[Part]) -> None:
        for part in parts:
            self.rows.setdefault(part.digest, part)
