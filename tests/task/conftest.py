"""A task service on real SQLite, and a hand to drive it: requests as any role, events as other services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from starlette.testclient import TestClient

from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.service import Ports, Service
from terrazzo_schema import events
from terrazzo_schema.ids import content_hash
from terrazzo_schema.samples import sample_id_of
from terrazzo_task.service import create

ONTOLOGY = {
    "name": "cells",
    "classes": [
        {"id": 1, "name": "background"},
        {"id": 2, "name": "cell", "children": [{"id": 3, "name": "nucleus"}, {"id": 4, "name": "membrane"}]},
    ],
}


def mask_of(text: str) -> str:
    return content_hash(text.encode())


@dataclass
class Hand:
    """Drives one task service. `project_id` is the project made last."""

    service: Service
    clock: FakeClock
    key_of: Callable[..., str]
    event_of: Callable[..., events.Event]
    project_id: str = ""
    client: TestClient = field(init=False)
    said: list[events.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = TestClient(self.service.app, raise_server_exceptions=True)

    def call(
        self,
        method: str,
        path: str,
        role: str = "admin",
        name: str = "tester",
        status: int | None = None,
        **more: Any,
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.key_of(role, name=name, vendor=more.pop('vendor', None))}"}
        if "idempotency_key" in more:
            headers["Idempotency-Key"] = more.pop("idempotency_key")
        answer = self.client.request(method, path, headers=headers, **more)
        if status is not None:
            assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def hear(self, message: Message, **more: Any) -> events.Event:
        """Deliver an event as the bus would: as bytes, and twice."""
        event = self.event_of(message, **{"project_id": self.project_id, **more})
        value = events.wrap(event)
        self.service.consumer.handle(value)
        self.service.consumer.handle(value)
        return event

    def new(self, kind: type[Message] | None = None) -> list[Any]:
        """Messages published since the last call (all of them are kept in `said`)."""
        outbox = self.service.uow.tables.outbox
        with self.service.uow.database.write() as connection:
            rows = connection.execute(sa.select(outbox).order_by(outbox.c.sequence)).all()
            connection.execute(outbox.delete())
        fresh = [events.unwrap(row.value) for row in rows]
        self.said += fresh
        return [e.message for e in fresh if kind is None or isinstance(e.message, kind)]

    def project(self, **more: Any) -> str:
        body = {"name": "p", "ontology": ONTOLOGY, "held_out_percent": 0, **more}
        self.project_id = self.call("POST", "/v1/projects", json=body, status=201)["project_id"]
        return self.project_id

    def images(self, num: int, prefix: str = "image", side: int = 64) -> list[str]:
        ids = []
        for index in range(num):
            digest = content_hash(f"{prefix}-{index}".encode())
            ref = events.SampleRef(sample_id=sample_id_of(digest), image_hash=digest, height=side, width=side)
            self.hear(events.ImageStored(sample=ref, name=f"{prefix}-{index}.png"), key=ref.sample_id)
            ids.append(ref.sample_id)
        return ids

    def batch(self, size: int, status: int = 201, **more: Any) -> Any:
        body = {"name": "b", "size": size, "multi_share": 0.0, **more}
        return self.call("POST", f"/v1/projects/{self.project_id}/batches", json=body, status=status)

    def get_batch(self, batch_id: str) -> Any:
        return self.call("GET", f"/v1/projects/{self.project_id}/batches/{batch_id}", status=200)

    def task(self, task_id: str) -> Any:
        return self.call("GET", f"/v1/tasks/{task_id}", status=200)

    def tasks(self, **params: Any) -> list[Any]:
        path = f"/v1/projects/{self.project_id}/tasks"
        return self.call("GET", path, params={"limit": 1000, **params}, status=200)["items"]

    def lease(self, name: str = "ann", role: str = "annotator", status: int | None = None, **more: Any) -> Any:
        """A lease, or None when there is no task."""
        vendor = more.pop("vendor", None)
        path = f"/v1/projects/{self.project_id}/leases"
        return self.call("POST", path, role, name, json=more, status=status, vendor=vendor)

    def submit(
        self, lease: Any, name: str = "ann", role: str = "annotator", status: int | None = 201, **more: Any
    ) -> Any:
        keep = {k: more.pop(k) for k in ("vendor", "idempotency_key") if k in more}
        body = {"lease_id": lease["lease_id"], "mask_id": mask_of(name), "seconds_spent": 2.5, **more}
        path = f"/v1/tasks/{lease['task']['task_id']}/submissions"
        return self.call("POST", path, role, name, json=body, status=status, **keep)

    def checked(self, submission: Any, passed: bool = True, codes: tuple[str, ...] = ()) -> None:
        self.hear(
            events.SubmissionChecked(
                submission_id=submission["submission_id"],
                task_id=submission["task_id"],
                passed=passed,
                codes=codes,
            )
        )

    def accepted(self, task: Any, submissions: list[Any], by: str = "single", revision: int = 1) -> None:
        self.hear(
            events.MaskAccepted(
                task_id=task["task_id"],
                batch_id=task["batch_id"],
                sample_id=task["sample_id"],
                mask_id=mask_of(f"accepted-{revision}"),
                revision=revision,
                decided_by=by,
                submission_ids=[s["submission_id"] for s in submissions],
            )
        )

    def progress(self) -> Any:
        return self.call("GET", f"/v1/projects/{self.project_id}/progress", status=200)

    def model(self, model_id: str = "mdl_first00001") -> str:
        self.hear(events.PredictorReady(model_id=model_id, model_name="seg", version=1), key=self.project_id)
        return model_id

    def predicted(
        self,
        sample_id: str,
        entropy: float = 0.5,
        classes: tuple[tuple[int, float], ...] = ((1, 0.5), (3, 0.5)),
        embedding: tuple[float, ...] = (1.0, 0.0),
        model_id: str = "mdl_first00001",
        batch_id: str = "",
    ) -> None:
        self.hear(
            events.PredictionReady(
                prediction_id="prd_00000001",
                sample_id=sample_id,
                model_id=model_id,
                batch_id=batch_id,
                mask_id=mask_of(f"proposal-{sample_id}") if batch_id else "",
                entropy_mean=entropy,
                classes=[events.ClassShare(class_id=c, share=s, entropy=entropy) for c, s in classes],
                embedding=embedding,
            ),
            key=sample_id,
        )


@pytest.fixture
def hand(
    ports_factory: Callable[..., Ports],
    clock: FakeClock,
    key_of: Callable[..., str],
    event_of: Callable[..., events.Event],
) -> Iterator[Hand]:
    hand = Hand(create(ports_factory("task")), clock, key_of, event_of)
    with hand.client:  # one event loop for all requests of a test
        yield hand
