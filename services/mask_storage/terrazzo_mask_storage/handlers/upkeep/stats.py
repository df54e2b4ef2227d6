"""What an organisation has stored, and how."""

from __future__ import annotations

from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_schema.rest.mask_storage import PartTotal, StorageStats


def stats(deps: Deps, organisation_id: str) -> StorageStats:
    with deps.uow.read() as store:
        loads = list(store.pack_loads(organisation_id))
        return StorageStats(
            num_images=store.count(organisation_id, "images"),
            image_bytes=store.image_bytes(organisation_id),
            num_masks=store.count(organisation_id, "masks"),
            num_commits=store.count(organisation_id, "commits"),
            num_packs=len(loads),
            pack_bytes=sum(load.pack.size_bytes for load in loads),
            live_bytes=sum(load.live_bytes for load in loads),
            num_unsettled=sum(not load.pack.settled for load in loads),
            parts=[
                PartTotal(kind=kind, encoding=encoding, num_parts=num, size_bytes=size)
                for kind, encoding, num, size in store.part_totals(organisation_id)
            ],
        )
