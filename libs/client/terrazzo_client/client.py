"""The client: one object, its resources by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from terrazzo_client.connection import Connection, Key
from terrazzo_client.inference import Predictions, Predictors
from terrazzo_client.mask_storage import Datasets, Images, Masks
from terrazzo_client.operations import Operations
from terrazzo_client.qa import Adjudications, Audits, Checks, Consensus, Scorecards
from terrazzo_client.storage import Storage
from terrazzo_client.task import Batches, Keys, Organisations, Projects, Samples, Submissions, Tasks
from terrazzo_client.training import Models, Runs


class TerrazzoClient:
    """Terrazzo over REST. Threads may share one; close it, or use it in a `with` block.

    `url` is where Terrazzo answers; `urls` (service name -> address) overrides it for services that
    run apart. `key` is an API key, or a callable that is asked for one before each request (for keys
    that expire soon). A request without an answer, or answered 429, 502, 503, 504 or with Retry-After,
    is tried again up to `retries` times; writes too, under one Idempotency-Key.

    Methods raise `ApiError` (by status: `NotFound`, `Conflict`, ...) or `NoAnswer`. Listings are
    iterators that fetch page after page as they are read. Writes take `idempotency_key`: give one of
    your own when the same write must stay one across restarts of your program.
    """

    def __init__(
        self,
        url: str,
        key: Key,
        *,
        urls: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
    ) -> None:
        connection = Connection(url, key, urls=urls, transport=transport, timeout_s=timeout_s, retries=retries)
        self.connection = connection
        self.organisations = Organisations(connection)
        self.keys = Keys(connection)
        self.projects = Projects(connection)
        self.samples = Samples(connection)
        self.batches = Batches(connection)
        self.tasks = Tasks(connection)
        self.submissions = Submissions(connection)
        self.images = Images(connection)
        self.masks = Masks(connection)
        self.datasets = Datasets(connection)
        self.storage = Storage(connection)
        self.predictions = Predictions(connection)
        self.predictors = Predictors(connection)
        self.checks = Checks(connection)
        self.consensus = Consensus(connection)
        self.adjudications = Adjudications(connection)
        self.audits = Audits(connection)
        self.scorecards = Scorecards(connection)
        self.runs = Runs(connection)
        self.models = Models(connection)
        self.ops = Operations(connection)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
