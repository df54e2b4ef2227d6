"""Parts in and out: small pieces by digest, stored several to a blob (see domain/packs.py)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from terrazzo_mask_storage.domain.packs import Part, group
from terrazzo_mask_storage.ports import ReadPart, Store
from terrazzo_runtime.blobs import Blobs
from terrazzo_schema.ids import content_hash

CACHE_BYTES_MAX = 64 * 2**20


class PackCache:
    """The packs that were read last. They never change, so there is nothing to invalidate."""

    def __init__(self, blobs: Blobs, num_bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._blobs = blobs
        self._num_bytes_max = num_bytes_max
        self._num_bytes = 0
        self._packs: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, pack: str) -> bytes:
        """Raises BlobNotFound."""
        with self._lock:
            data = self._packs.get(pack)
            if data is not None:
                self._packs.move_to_end(pack)
                return data
        data = self._blobs.get(pack)
        with self._lock:
            if pack not in self._packs and len(data) <= self._num_bytes_max:
                self._packs[pack] = data
                self._num_bytes += len(data)
            while self._num_bytes > self._num_bytes_max:
                self._num_bytes -= len(self._packs.popitem(last=False)[1])
        return data


def reader(store: Store, packs: PackCache, organisation_id: str, ahead: Iterable[str] = ()) -> ReadPart:
    """`read(digest) -> bytes`. The parts named in `ahead` are located in one query.

    It raises KeyError for a digest that is not stored: what asks for it is damaged.
    """
    known = store.parts(organisation_id, ahead)

    def read(digest: str) -> bytes:
        part = known.get(digest)
        if part is None:
            part = known[digest] = store.parts(organisation_id, [digest])[digest]
        return packs.read(part.pack)[part.offset : part.offset + part.size_bytes]

    return read


class NewParts:
    """Collects parts, then stores those that are new: blobs first, and their rows in a transaction.

    `put` -> `write_blobs` (outside the transaction where there is a choice) -> `add_rows`.
    """

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._rows: list[Part] = []

    def put(self, data: bytes) -> str:
        digest = content_hash(data)
        self._data[digest] = data
        return digest

    def write_blobs(self, store: Store, blobs: Blobs, organisation_id: str) -> int:
        """Store what `store` does not know yet. Returns how many bytes that was. Raises StorageFull."""
        known = store.parts(organisation_id, self._data)
        new = {digest: data for digest, data in self._data.items() if digest not in known}
        for digests in group(new):
            pack = blobs.put(b"".join(new[digest] for digest in digests))
            offset = 0
            for digest in digests:
                self._rows.append(Part(digest, pack, offset, len(new[digest])))
                offset += len(new[digest])
        return sum(len(data) for data in new.values())

    def add_rows(self, store: Store, organisation_id: str) -> None:
        store.add_parts(organisation_id, self._rows)
