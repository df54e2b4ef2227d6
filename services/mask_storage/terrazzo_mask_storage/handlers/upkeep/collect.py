"""Garbage collection: packs that nothing refers to, after a grace period; and packs in which little is left.

What is kept: every part that a row names. Rows of masks, provenance, acceptances, commits, branches and tags are
history and are never removed, nor are their parts; so whatever an id over REST can name stays. What can be left
over is whole packs: of a write that crashed or lost a race before its rows were there, and of re-packing. A pack
is told from an image by its first bytes; other blobs are never touched.

Why the grace period is safe: a write puts its blob, then its rows; until then nothing refers to the pack. A pack
is removed only when it is older than the grace period, and putting it again, or taking its parts out of it, makes
it young. So a write, or a reader that located a part, has the whole grace period to finish.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from terrazzo_mask_storage.domain.packs import FULL_BYTES_MIN, PackLoad, is_pack
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.upkeep.repack import BYTES_MAX, rewrite
from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_schema.rest.mask_storage import GcReport

log = logging.getLogger("terrazzo.mask_storage")

# A pack of which less than this is in use is written anew.
LIVE_SHARE_MIN = 0.5
# Settled packs under FULL_BYTES_MIN are put together when there are so many of them.
LITTLE_NUM_MIN = 4
_HEAD_BYTES = 5


class Collector:
    """A background worker of the service: collects every `gc_every_hours`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._last = deps.clock.now()

    def run_once(self) -> int:
        every_hours = self._deps.settings.gc_every_hours
        now = self._deps.clock.now()
        if every_hours == 0 or now < self._last + timedelta(hours=every_hours):
            return 0
        self._last = now
        report = collect(self._deps)
        if report.num_removed or report.num_rewritten:
            log.info("collected %s", report)
        return 0


def collect(deps: Deps, *, dry_run: bool = False) -> GcReport:
    """Remove packs that nothing refers to, and write packs anew that are mostly dead. `dry_run` only counts."""
    cutoff = deps.clock.now() - timedelta(hours=deps.settings.gc_grace_hours)
    old = dict(_old_packs(deps, cutoff))
    with deps.uow.read() as store:
        # After the blobs were listed: a pack whose rows came meanwhile is found here, and one that is put again
        # after this is young, and `delete` leaves it.
        named = store.pack_digests()
        wasteful = _wasteful(store.pack_loads(), cutoff)
    num_removed = bytes_removed = 0
    for digest, size_bytes in old.items():
        if digest in named:
            continue
        if dry_run or deps.blobs.delete(digest, before=cutoff):
            num_removed += 1
            bytes_removed += size_bytes
    saved = 0
    for loads in wasteful:
        before_bytes = sum(load.pack.size_bytes for load in loads)
        if dry_run:
            saved += before_bytes - sum(load.live_bytes for load in loads)
        else:
            saved += before_bytes - rewrite(deps, loads[0].organisation_id, [load.pack for load in loads])
    return GcReport(
        dry_run=dry_run,
        grace_hours=deps.settings.gc_grace_hours,
        num_removed=num_removed,
        bytes_removed=bytes_removed,
        num_rewritten=sum(len(loads) for loads in wasteful),
        bytes_saved=max(0, saved),
    )


def _old_packs(deps: Deps, cutoff: datetime) -> Iterator[tuple[str, int]]:
    """(digest, bytes) of every pack that was last put or touched before `cutoff`, referred to or not."""
    for digest in deps.blobs.digests():
        with contextlib.suppress(BlobNotFound):  # removed by another since it was listed
            if deps.blobs.stored_at(digest) < cutoff and is_pack(deps.blobs.start(digest, _HEAD_BYTES)):
                yield digest, deps.blobs.size(digest)


def _wasteful(loads: Iterator[PackLoad], cutoff: datetime) -> list[list[PackLoad]]:
    """Settled packs to be written anew, those of one organisation together, in portions of bounded size."""
    by_owner: dict[str, list[PackLoad]] = {}
    for load in loads:
        if load.pack.settled and load.pack.stored_at < cutoff:
            by_owner.setdefault(load.organisation_id, []).append(load)
    portions: list[list[PackLoad]] = []
    for mine in by_owner.values():
        dead = [load for load in mine if load.live_bytes < LIVE_SHARE_MIN * load.pack.size_bytes]
        little = [load for load in mine if load.pack.size_bytes < FULL_BYTES_MIN and load not in dead]
        chosen = dead + (little if len(little) >= LITTLE_NUM_MIN else [])
        room = 0
        for load in chosen:
            if load.pack.size_bytes > room:
                portions.append([])
                room = BYTES_MAX
            portions[-1].append(load)
            room -= load.pack.size_bytes
    return portions
