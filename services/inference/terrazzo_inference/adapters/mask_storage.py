"""ports.Library over the mask storage service's REST API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from terrazzo_inference.adapters.image_decoding import decode_rgb
from terrazzo_inference.domain.summary import LabelMap
from terrazzo_runtime.service import Peers
from terrazzo_schema.errors import Unavailable, Unprocessable
from terrazzo_schema.rest.mask_storage import Provenance

_ME = "inference"
_MAY_PASS = {401, 429}  # a token that ran out is replaced; a busy server is asked later


class MaskStorage:
    def __init__(self, peers: Peers, *, max_image_pixels: int) -> None:
        self._peers = peers
        self._max_image_pixels = max_image_pixels

    def image(self, organisation_id: str, project_id: str, image_hash: str) -> NDArray[np.uint8]:
        with _as_business_errors(f"image {image_hash}"):
            data = self._peers.client(_ME, organisation_id).images.content(project_id, image_hash)
        return decode_rgb(data, f"image {image_hash}", max_pixels=self._max_image_pixels)

    def keep_proposal(
        self, organisation_id: str, project_id: str, sample_id: str, model_id: str, labels_HW: LabelMap
    ) -> str:
        provenance = Provenance(source="prediction", actor=model_id, sample_id=sample_id)
        height, width = labels_HW.shape
        with _as_business_errors(f"the proposal for sample {sample_id}"):
            view = self._peers.client(_ME, organisation_id).masks.put(
                project_id, labels_HW, provenance=provenance, expected=(height, width)
            )
        return view.mask_id


@contextmanager
def _as_business_errors(what: str) -> Iterator[None]:
    """Unavailable for what may pass by itself, Unprocessable for what won't."""
    from terrazzo_client import ApiError, RequestFailed

    try:
        yield
    except ApiError as error:
        if error.status >= 500 or error.status in _MAY_PASS or error.retry_after_s is not None:
            raise Unavailable(f"{what}: mask storage answered {error.status}: {error}") from error
        raise Unprocessable(f"{what}: mask storage refused it ({error.status}): {error}") from error
    except RequestFailed as error:
        raise Unavailable(f"{what}: {error}") from error
