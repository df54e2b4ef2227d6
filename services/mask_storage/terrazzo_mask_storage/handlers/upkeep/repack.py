"""Packs written anew: tiles that were stored fast become small, little packs become one, dead parts are left out.

A write is quick (codec profile `fast`, a pack of its own). Some time later `Repacker.run_once` packs what it left
again. Digests are over pixels, so nothing that names a part changes: only where and how it lies.

Safe at every step, and done again from the start after a crash: new packs are blobs first, their rows and the
moved parts follow in one transaction, and the old packs stay for readers that found them before (they are made
young, and collected when nothing refers to them for the grace period).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from terrazzo_mask_storage.domain.packs import (
    PACK_BYTES_MAX,
    DamagedPack,
    Encoded,
    Pack,
    Part,
    group,
    placed,
    read_pack,
    write_pack,
)
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import PartsReader
from terrazzo_masks import codec
from terrazzo_masks.errors import MaskError
from terrazzo_runtime.blobs import BlobNotFound

log = logging.getLogger("terrazzo.mask_storage")

# One turn: so many packs, and about so many bytes of them: some 2,000 tiles, a few seconds of one core.
PACKS_MAX = 256
BYTES_MAX = PACK_BYTES_MAX


class Repacker:
    """A background worker of the service."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def run_once(self) -> int:
        """Settle some packs that are old enough. Returns how many."""
        before = self._deps.clock.now() - timedelta(seconds=self._deps.settings.repack_after_s)
        with self._deps.uow.read() as store:
            waiting = store.packs_to_settle(before, PACKS_MAX)
        if not waiting:
            return 0
        organisation_id = waiting[0][0]
        packs: list[Pack] = []
        num_bytes = 0
        for owner, pack in waiting:
            if owner != organisation_id or (packs and num_bytes + pack.size_bytes > BYTES_MAX):
                break
            packs.append(pack)
            num_bytes += pack.size_bytes
        rewrite(self._deps, organisation_id, packs)
        return len(packs)


def rewrite(deps: Deps, organisation_id: str, packs: Sequence[Pack]) -> int:
    """Write the living parts of `packs` to new packs. Returns how many bytes the new packs have.

    A pack that can't be read is left as it is, settled: verification reports it.
    """
    listed: dict[str, list[str]] = {}
    moves: list[tuple[Part, Encoded]] = []
    with deps.uow.read() as store:
        for pack in packs:
            try:
                data = deps.blobs.get(pack.digest)
                listed[pack.digest] = [part.digest for part in read_pack(data)]
            except (BlobNotFound, DamagedPack) as error:
                log.error("pack %s can't be packed again: %s", pack.digest, error)
                continue
            rows = store.parts(organisation_id, listed[pack.digest])
            read = PartsReader(store, deps.packs, organisation_id)
            living = [row for row in rows.values() if row.pack == pack.digest]
            moves += [(row, _smaller(row, read.stored(row))) for row in living]
    new_packs, placed_parts = [], []
    for parts in group([encoded for _, encoded in moves]):
        data, offsets = write_pack(parts)
        digest = deps.blobs.put(data)
        new_packs.append(Pack(digest, len(data), True, deps.blobs.stored_at(digest)))
        placed_parts += [placed(part, digest, offset) for part, offset in zip(parts, offsets, strict=True)]
    # A pack that was already as it would be written stays.
    same = {pack.digest for pack in new_packs}
    for old in listed:
        if old not in same:
            deps.blobs.touch(old)  # who found a part there before this may still read it
    with deps.uow.begin() as tx:
        tx.store.move_parts(
            organisation_id, new_packs, [(old, new) for (old, _), new in zip(moves, placed_parts, strict=True)]
        )
        tx.store.settle_packs(organisation_id, [pack.digest for pack in packs])
        tx.store.drop_empty_packs(organisation_id, {d: parts for d, parts in listed.items() if d not in same})
    return sum(pack.size_bytes for pack in new_packs)


def _smaller(part: Part, data: bytes) -> Encoded:
    """The part as it is to be stored from now on: a tile in profile `small`, if that is smaller."""
    if part.encoding == "fast":
        try:
            small = codec.encode(codec.decode(data), "small")
        except MaskError as error:
            log.error("tile %s can't be packed again: %s", part.digest, error)
        else:
            if len(small) < len(data):
                return Encoded(part.digest, part.kind, "small", None, 0, small)
    return Encoded(part.digest, part.kind, part.encoding, part.base, part.depth, data)
