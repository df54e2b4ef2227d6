"""What every handler and endpoint of the service is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terrazzo_mask_storage.domain.gates import Gate
from terrazzo_mask_storage.handlers.parts import PackCache
from terrazzo_mask_storage.ports import Store
from terrazzo_runtime.blobs import Blobs
from terrazzo_runtime.clock import Clock
from terrazzo_runtime.settings import Settings
from terrazzo_runtime.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class Deps:
    uow: UnitOfWork[Store]
    blobs: Blobs
    packs: PackCache
    clock: Clock
    settings: Settings
    gates: Mapping[str, Gate] = field(default_factory=dict)
