"""A running mask storage service with one project, and short ways to talk to it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import pytest
from google.protobuf.message import Message
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from terrazzo_mask_storage.service import create
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_runtime.service import Service
from terrazzo_schema.events import Event, MaskAccepted, ProjectCreated, unwrap, wrap

PROJECT = "prj_test0001"
ONTOLOGY = {
    "name": "street",
    "unlabelled": [255],
    "classes": [
        {"id": 1, "name": "road", "color": "#804080"},
        {"id": 2, "name": "car", "color": "#0000ff", "value": 20},
        {"id": 3, "name": "tree", "color": "#00ff00"},
        {"id": 300, "name": "lamp", "color": "#ffff00", "value": 30},
    ],
}


def picture_bytes(array: NDArray[Any], format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format, **options)
    return out.getvalue()


def random_picture(seed: int, height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@dataclass
class World:
    """The service under test. Requests are an admin's unless `as_` says otherwise."""

    service: Service
    client: TestClient
    key_of: Callable[..., str]
    event_of: Callable[..., Event]

    def as_(self, role: str, **who: str) -> TestClient:
        headers = {"Authorization": f"Bearer {self.key_of(role, **who)}"}
        return TestClient(self.service.app, headers=headers, raise_server_exceptions=False)

    def hear(self, message: Message, twice: bool = False, **about: str) -> None:
        value = wrap(self.event_of(message, **about))
        self.service.consumer.handle(value)
        if twice:
            self.service.consumer.handle(value)

    def said(self, kind: type[Message]) -> list[Event]:
        """Events of a type that wait in the outbox."""
        with self.service.uow.database.read() as connection:
            rows = connection.execute(self.service.uow.tables.outbox.select()).all()
        return [event for event in (unwrap(row.value) for row in rows) if isinstance(event.message, kind)]

    def upload(self, data: bytes, name: str = "a.png", **params: str) -> dict[str, Any]:
        return _good(self.client.post(f"/v1/images/{PROJECT}", params={"name": name, **params}, content=data), 201)

    def sample(self, seed: int = 0, name: str | None = None, height: int = 60, width: int = 80) -> str:
        data = picture_bytes(random_picture(seed, height, width))
        return str(self.upload(data, name or f"image-{seed}.png")["sample_id"])

    def put(self, labels_HW: NDArray[Any], client: TestClient | None = None, **provenance: Any) -> str:
        out = io.BytesIO()
        np.save(out, labels_HW)
        params = {"provenance": json.dumps(provenance)} if provenance else {}
        answer = (client or self.client).put(f"/v1/masks/{PROJECT}", params=params, content=out.getvalue())
        return str(_good(answer, 201)["mask_id"])

    def labels(self, mask_id: str) -> NDArray[Any]:
        answer = self.client.get(f"/v1/masks/{PROJECT}/{mask_id}/content?format=npy")
        array: NDArray[Any] = np.load(io.BytesIO(answer.content))
        return array

    def accept(
        self, sample_id: str, mask_id: str, revision: int = 1, task: str = "tsk_1", by: str = "single"
    ) -> None:
        self.hear(
            MaskAccepted(task_id=task, sample_id=sample_id, mask_id=mask_id, revision=revision, decided_by=by),
            key=sample_id,
        )

    def stage(self, items: dict[str, str | None], branch: str = "main") -> dict[str, Any]:
        rows = [{"sample_id": sample_id, "mask_id": mask_id} for sample_id, mask_id in items.items()]
        body = {"branch": branch, "items": rows}
        return _good(self.client.post(f"/v1/datasets/{PROJECT}/stage", json=body), 200)

    def commit(self, message: str = "a commit", **more: Any) -> dict[str, Any]:
        body = {"message": message, **more}
        return _good(self.client.post(f"/v1/datasets/{PROJECT}/commits", json=body), 201)

    def dataset(self, path: str, **params: Any) -> Any:
        return _good(self.client.get(f"/v1/datasets/{PROJECT}/{path}", params=params), 200)


def _good(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
def make_world(
    ports_factory: Callable[..., Any], key_of: Callable[..., str], event_of: Callable[..., Event]
) -> Callable[..., World]:
    def make(blobs: Any = None, database: Any = None, **settings: Any) -> World:
        ports = ports_factory("mask_storage", **settings)
        if blobs is not None:
            ports = replace(ports, blobs=blobs)
        if database is not None:
            ports = replace(ports, database=database)
        service = create(ports)
        client = TestClient(service.app, headers={"Authorization": f"Bearer {key_of('admin')}"})
        world = World(service, client, key_of, event_of)
        world.hear(
            ProjectCreated(
                name="street", ontology_version=1, ontology_json=json.dumps(ONTOLOGY), held_out_percent=30
            )
        )
        return world

    return make


@pytest.fixture
def blobs(clock) -> MemoryBlobs:
    """For worlds whose blobs a test looks at or damages."""
    return MemoryBlobs(clock)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
