"""Mask storage, asked over REST."""

from __future__ import annotations

import numpy as np

from terrazzo_client import ApiError
from terrazzo_masks.labels import LabelMap
from terrazzo_qa.ports import MaskUnreadable
from terrazzo_runtime.service import Peers
from terrazzo_schema.rest.mask_storage import Provenance

_ME = "qa"
# What asking again would not change: no such mask, or an id that is none.
_FINAL = frozenset({400, 404, 422})


class PeerMaskStorage:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def labels(self, organisation_id: str, project_id: str, mask_id: str) -> LabelMap:
        if not mask_id:
            raise MaskUnreadable("the submission names no mask")
        masks = self._peers.client(_ME, organisation_id).masks
        try:
            return masks.labels(project_id, mask_id)
        except ApiError as error:
            if error.status not in _FINAL or error.slug == "not-known-yet":
                raise
            raise MaskUnreadable(f"mask {mask_id} can't be read: {error}") from error

    def put(self, organisation_id: str, project_id: str, labels_HW: LabelMap, provenance: Provenance) -> str:
        masks = self._peers.client(_ME, organisation_id).masks
        height, width = labels_HW.shape
        # The client's type is of one dtype or the other, so the dtype is named.
        narrow = labels_HW.dtype == np.uint8
        labels = labels_HW.astype(np.uint8) if narrow else labels_HW.astype(np.uint16)
        return masks.put(project_id, labels, provenance=provenance, expected=(height, width)).mask_id
