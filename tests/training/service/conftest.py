"""A training service on real SQLite, with a scripted launcher."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from launcher_double import MaskStorage, ScriptedLauncher

from terrazzo_runtime.service import Ports, Service
from terrazzo_schema.events import Event, ProjectCreated, unwrap, wrap
from terrazzo_training.service import create

PROJECT = "prj_test0001"
ONTOLOGY = {
    "name": "nuclei",
    "classes": [
        {"id": 1, "name": "background"},
        {"id": 2, "name": "cell", "children": [{"id": 3, "name": "nucleus"}, {"id": 4, "name": "boundary"}]},
    ],
}


class Desk:
    """The service, and hands to work it: REST calls, turns of its worker, a look at what it said."""

    def __init__(self, ports: Ports, launcher: ScriptedLauncher, storage: MaskStorage, key_of: Callable[..., str]):
        self.ports, self.launcher, self.storage, self.key_of = ports, launcher, storage, key_of
        self.service: Service = create(ports, launcher)
        self.http = TestClient(self.service.app, raise_server_exceptions=True)

    def call(self, method: str, path: str, body: Any = None, role: str = "admin", **options: Any) -> Any:
        organisation = {"organisation_id": options.pop("organisation_id")} if "organisation_id" in options else {}
        headers = {"Authorization": f"Bearer {self.key_of(role, **organisation)}", **options.pop("headers", {})}
        return self.http.request(method, f"/v1/{path}", json=body, headers=headers, **options)

    def create_run(self, **fields: Any) -> dict[str, Any]:
        body = {"project_id": PROJECT, "ref": "main", "config": {"epochs": 3}, **fields}
        answer = self.call("POST", "runs", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def run(self, run_id: str) -> dict[str, Any]:
        return self.call("GET", f"runs/{run_id}").json()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.service.workers[0].run_once()

    def trained(self, miou: float | None = 0.5, **fields: Any) -> dict[str, Any]:
        """A model, from a run that went well."""
        self.launcher.miou = miou
        run = self.create_run(**fields)
        self.turn()
        self.launcher.epoch(1)
        self.launcher.finish()
        self.turn()
        return self.call("GET", f"models/{self.run(run['run_id'])['model_id']}").json()

    def said(self) -> list[Event]:
        outbox = self.service.uow.tables.outbox
        with self.ports.database.read() as connection:
            return [
                unwrap(v)
                for v in connection.execute(sa.select(outbox.c.value).order_by(outbox.c.sequence)).scalars()
            ]

    def names_said(self) -> list[str]:
        return [event.type.removeprefix("terrazzo.v1.") for event in self.said()]

    def restarted(self) -> Desk:
        """The same files, a new process."""
        self.launcher.forget()
        return Desk(self.ports, self.launcher, self.storage, self.key_of)


@pytest.fixture
def empty_desk(ports_factory: Callable[..., Ports], key_of: Callable[..., str], tmp_path: Path) -> Desk:
    storage = MaskStorage()
    return Desk(ports_factory("training", peers=storage), ScriptedLauncher(tmp_path), storage, key_of)


@pytest.fixture
def desk(empty_desk: Desk, event_of: Callable[..., Event]) -> Desk:
    """A desk that knows the project."""
    created = ProjectCreated(
        name="nuclei", held_out_percent=20, ontology_version=1, ontology_json=json.dumps(ONTOLOGY)
    )
    empty_desk.service.consumer.handle(wrap(event_of(created)))
    return empty_desk
