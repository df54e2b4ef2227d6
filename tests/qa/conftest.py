"""The QA service on real SQLite files, beside a mask storage and a task service that live in a dictionary."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from starlette.testclient import TestClient

from terrazzo_client import ApiError, NotFound, TerrazzoClient
from terrazzo_masks import tiles
from terrazzo_masks.labels import LabelMap
from terrazzo_qa.adapters.tables import metadata
from terrazzo_qa.service import MIGRATIONS, create
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_runtime.database import Database, sqlite_url
from terrazzo_runtime.service import Ports, Service
from terrazzo_schema.events import (
    AdjudicationRequested,
    Event,
    ProjectCreated,
    SampleRef,
    SubmissionReceived,
    type_name,
    unwrap,
    wrap,
)
from terrazzo_schema.ontology import parse_ontology
from terrazzo_schema.rest.base import Problem
from terrazzo_schema.rest.mask_storage import Provenance

ORGANISATION = "org_test0001"
PROJECT = "prj_test0001"
SAMPLE = "smp_test0001"
CLASSES = {1: "ground", 2: "car", 3: "pole"}
ONTOLOGY = parse_ontology(
    {"name": "three", "classes": [{"id": class_id, "name": name} for class_id, name in CLASSES.items()]}
)


def mask_id_of(labels_HW: LabelMap) -> str:
    return tiles.build(labels_HW, tiles.MemoryParts()).digest


@dataclass
class FakeMasks:
    """Mask storage's answers; `before_put` and `before_labels` may raise, to stop the service there."""

    stored: dict[str, LabelMap] = field(default_factory=dict)
    provenances: list[tuple[str, Provenance]] = field(default_factory=list)
    before_labels: Callable[[str], None] = lambda mask_id: None
    after_put: Callable[[str], None] = lambda mask_id: None

    def add(self, labels_HW: LabelMap) -> str:
        mask_id = mask_id_of(labels_HW)
        self.stored[mask_id] = labels_HW
        return mask_id

    def labels(self, project_id: str, mask_id: str) -> LabelMap:
        self.before_labels(mask_id)
        if mask_id not in self.stored:
            raise refused(NotFound, 404, f"no mask {mask_id}")
        return self.stored[mask_id]

    def put(
        self,
        project_id: str,
        labels: LabelMap,
        *,
        provenance: Provenance | None = None,
        expected: tuple[int, int] | None = None,
    ) -> Any:
        assert expected == labels.shape
        assert provenance is not None
        mask_id = self.add(labels)
        if (mask_id, provenance) not in self.provenances:
            self.provenances.append((mask_id, provenance))
        self.after_put(mask_id)
        return SimpleNamespace(mask_id=mask_id)


def refused(error: type[ApiError], status: int, detail: str, slug: str = "not-found") -> ApiError:
    return error(Problem(type=f"https://terrazzo.dev/problems/{slug}", title=slug, status=status, detail=detail))


@dataclass
class FakePeers:
    masks: FakeMasks = field(default_factory=FakeMasks)

    def client(self, service: str, organisation_id: str) -> TerrazzoClient:
        assert (service, organisation_id) == ("qa", ORGANISATION)
        client: Any = SimpleNamespace(masks=self.masks)
        return client  # type: ignore[no-any-return]  # it has what the service uses of a client


@dataclass
class World:
    """The service under test, and what it said so far."""

    ports: Ports
    peers: FakePeers
    event_of: Callable[..., Event]
    _service: Service | None = None

    @property
    def service(self) -> Service:
        """The running service; it starts when it is first needed."""
        if self._service is None:
            self._service = create(self.ports)
        return self._service

    def restart(self) -> None:
        self._service = None

    def handle(self, event: Event) -> None:
        """As the consumer would, but errors come out."""
        self.service.consumer.handle(wrap(event))

    def say(self, message: Message, **context: str) -> Event:
        event = self.event_of(message, project_id=PROJECT, **context)
        self.handle(event)
        return event

    def create_project(self, settings: str = "") -> None:
        self.say(
            ProjectCreated(
                name="p",
                held_out_percent=20,
                ontology_version=1,
                ontology_json=ONTOLOGY.to_json(),
                qa_settings_json=settings,
            )
        )

    def work(self, labels_HW: LabelMap | None = None, **fields: Any) -> SubmissionReceived:
        """A submission of 8 x 8 pixels unless the fields say otherwise; `labels_HW` is put in mask storage."""
        annotator_id = fields.pop("annotator_id", "key_ann00001")
        sample_id = fields.pop("sample_id", SAMPLE)
        height, width = fields.pop("shape", (8, 8))
        values: dict[str, Any] = {
            "submission_id": f"sub_{annotator_id[4:]}{sample_id[4:]}",
            "task_id": f"tsk_{sample_id[4:]}",
            "kind": "annotate",
            "batch_id": "bat_test0001",
            "seconds_spent": 30.0,
            "redundancy": 1,
            **fields,
        }
        if labels_HW is not None:
            values["mask_id"] = self.peers.masks.add(labels_HW)
        sample = SampleRef(sample_id=sample_id, image_hash="a" * 64, height=height, width=width)
        return SubmissionReceived(sample=sample, annotator_id=annotator_id, **values)

    def submit(self, labels_HW: LabelMap | None = None, **fields: Any) -> Event:
        return self.say(self.work(labels_HW, **fields), key=fields.get("sample_id", SAMPLE))

    def outbox(self) -> list[Event]:
        """Everything that was said, in order."""
        outbox = self.service.uow.tables.outbox
        with self.service.uow.database.read() as connection:
            rows = connection.execute(outbox.select().order_by(outbox.c.sequence)).all()
        return [unwrap(row.value) for row in rows]

    def state(self) -> dict[str, Any]:
        """All that lasts, less ids that are made up and times: equal for two services that came to the same."""
        tables = ("submissions", "consensus", "adjudications", "acceptances", "scorecards")
        volatile = {"adjudication_id", "created_at"}
        rows: dict[str, Any] = {}
        with self.service.uow.database.read() as connection:
            for name in tables:
                table = metadata.tables[name]
                keys = list(table.primary_key) if name != "adjudications" else [table.c.task_id]
                found = connection.execute(table.select().order_by(*keys)).mappings()
                rows[name] = [{k: v for k, v in row.items() if k not in volatile} for row in found]
        rows["blobs"] = sorted(self.ports.blobs.digests())
        rows["masks"] = sorted(self.peers.masks.stored)
        rows["provenance"] = sorted(
            (mask_id, provenance.model_dump_json()) for mask_id, provenance in self.peers.masks.provenances
        )
        return rows

    def words(self) -> list[str]:
        """What was said, in no order, less ids that are made up."""
        texts = []
        for event in self.outbox():
            message = event.message
            if isinstance(message, AdjudicationRequested):
                message.ClearField("adjudication_id")
            texts.append(f"{event.type} {event.key} {message}")
        return sorted(texts)

    def said(self, message_type: type[Message]) -> list[Any]:
        return [event.message for event in self.outbox() if event.type == type_name(message_type)]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file: copying it is quicker than migrating each time."""
    path = tmp_path_factory.mktemp("qa") / "empty.sqlite"
    database = Database(sqlite_url(path))
    database.migrate(MIGRATIONS)
    database.close()
    return path


@pytest.fixture
def world_of(
    tmp_path: Path,
    empty_database: Path,
    ports_factory: Callable[..., Ports],
    event_of: Callable[..., Event],
) -> Iterator[Callable[..., World]]:
    """`world_of(**settings)` -> a service on a database of its own that knows no project yet."""
    databases: list[Database] = []

    def make(**settings: Any) -> World:
        peers = FakePeers()
        path = tmp_path / f"world{len(databases)}.sqlite"
        shutil.copyfile(empty_database, path)
        database = Database(sqlite_url(path))
        databases.append(database)
        ports = replace(ports_factory("qa", peers=peers, **settings), database=database, blobs=MemoryBlobs())
        return World(ports, peers, event_of)

    yield make
    for database in databases:
        database.close()


@pytest.fixture
def world(world_of: Callable[..., World]) -> World:
    made = world_of()
    made.create_project()
    return made


@pytest.fixture
def http(world: World, key_of: Callable[..., str]) -> Callable[..., TestClient]:
    """`http(role)` -> a client of the service's API."""

    def client(role: str = "manager", **who: str) -> TestClient:
        headers = {"Authorization": f"Bearer {key_of(role, **who)}"}
        return TestClient(world.service.app, headers=headers, raise_server_exceptions=False)

    return client


def blocks(*rows: str) -> LabelMap:
    """A label map from digits, each blown up to 2 x 2 pixels: blocks("12", "12") is 4 x 4."""
    coarse = np.array([[int(digit) for digit in row] for row in rows], dtype=np.uint8)
    return np.kron(coarse, np.ones((2, 2), dtype=np.uint8))
