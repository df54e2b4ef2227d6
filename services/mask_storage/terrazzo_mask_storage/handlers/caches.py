"""What was read last, kept in bounded memory. Packs and parts never change, so there is nothing to invalidate."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from terrazzo_masks.labels import LabelMap
from terrazzo_runtime.blobs import Blobs

PACK_BYTES_MAX = 64 * 2**20
PART_BYTES_MAX = 64 * 2**20
# What an entry costs beside its bytes: key, links, object heads.
_ENTRY_BYTES = 300

V = TypeVar("V")


class Latest(Generic[V]):
    """Values by key, the least recently used dropped when all together take more than `num_bytes_max`."""

    def __init__(self, num_bytes_max: int) -> None:
        self._num_bytes_max = num_bytes_max
        self._num_bytes = 0
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: V, num_bytes: int) -> None:
        cost = num_bytes + _ENTRY_BYTES
        with self._lock:
            if cost > self._num_bytes_max or key in self._values:
                return
            self._values[key] = (value, cost)
            self._num_bytes += cost
            while self._num_bytes > self._num_bytes_max:
                self._num_bytes -= self._values.popitem(last=False)[1][1]


class PackCache:
    """Packs, and beside them what was decoded from them: nodes and tiles by (organisation, digest)."""

    def __init__(
        self, blobs: Blobs, num_bytes_max: int = PACK_BYTES_MAX, part_bytes_max: int = PART_BYTES_MAX
    ) -> None:
        self._blobs = blobs
        self._packs: Latest[bytes] = Latest(num_bytes_max)
        self.nodes: Latest[bytes] = Latest(part_bytes_max // 4)
        self.tiles: Latest[LabelMap] = Latest(part_bytes_max)

    def read(self, pack: str) -> bytes:
        """Raises BlobNotFound."""
        data = self._packs.get(pack)
        if data is None:
            data = self._blobs.get(pack)
            self._packs.put(pack, data, len(data))
        return data
