"""Samples of a dataset version, straight from a running Terrazzo over REST."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import Image, Labels, decode_image
from terrazzo_training.trainer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from terrazzo_client import TerrazzoClient


class RestSource:
    """The entries of one commit; images and label maps are fetched when they are asked for."""

    def __init__(self, client: TerrazzoClient, project_id: str, commit_id: str) -> None:
        self._client, self._project_id = client, project_id
        self._entries = list(client.datasets.entries(project_id, commit_id))

    def __len__(self) -> int:
        return len(self._entries)

    def sample_id(self, index: int) -> str:
        return str(self._entries[index].sample_id)

    def image(self, index: int) -> Image:
        entry = self._entries[index]
        data = self._client.images.content(self._project_id, entry.image_hash)
        return decode_image(data, f"sample {entry.sample_id}")

    def labels(self, index: int) -> Labels:
        entry = self._entries[index]
        labels_HW = self._client.masks.labels(self._project_id, entry.mask_id)
        if labels_HW.shape != (entry.height, entry.width):
            raise DataError(
                f"sample {entry.sample_id}: mask {entry.mask_id} is {labels_HW.shape}, its entry says "
                f"{(entry.height, entry.width)}"
            )
        return labels_HW.astype(np.uint16, copy=False)

    def counts(self, index: int) -> Mapping[int, int]:
        return self._entries[index].counts


def open_sources(config: RunConfig) -> tuple[RestSource, RestSource | None]:
    """Connect to TERRAZZO_URL with TERRAZZO_KEY; return the run's commit and its evaluation commit.

    Raises:
        ConfigError: an environment variable is missing.
    """
    for name in ("TERRAZZO_URL", "TERRAZZO_KEY"):
        if not os.environ.get(name):
            raise ConfigError(name, None, "must be set in the environment (or give --images and --labels)")
    from terrazzo_client import TerrazzoClient

    client = TerrazzoClient(os.environ["TERRAZZO_URL"], os.environ["TERRAZZO_KEY"])
    source = RestSource(client, config.project_id, config.commit_id)
    if config.eval_commit_id is None or config.eval_commit_id == config.commit_id:
        return source, None
    return source, RestSource(client, config.project_id, config.eval_commit_id)
