"""Doubles for the inference tests: tiny TorchScript models, mask storage, and a driver of the service."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from google.protobuf.message import Message
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from terrazzo_inference.domain.errors import BadModel, BadOutput, ModelMissing, NotLoaded
from terrazzo_inference.domain.model import ModelDescription, require_model_name
from terrazzo_runtime.service import Ports, Service
from terrazzo_schema.events import (
    BatchChosen,
    Event,
    ModelPromoted,
    ProjectCreated,
    SampleAdded,
    SampleRef,
    unwrap,
    wrap,
)
from terrazzo_schema.ids import content_hash
from terrazzo_schema.rest.mask_storage import Provenance
from terrazzo_schema.samples import sample_id_of

ORGANISATION = "org_test0001"
PROJECT = "prj_test0001"
CLASS_IDS = (3, 7, 9)
M = TypeVar("M", bound=Message)


class BrightnessModel(torch.nn.Module):
    """Pointwise: the nearer a pixel's mean is to a class's grey, the more probable the class."""

    def __init__(self, greys: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("greys", torch.tensor(list(greys)).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        grey = image.mean(dim=1, keepdim=True)
        return -(grey - self.greys).abs() / 16.0, image.mean(dim=(2, 3)) + 1.0


def put_version(
    repository: Path,
    model_name: str,
    version: int,
    *,
    model: torch.nn.Module | None = None,
    class_ids: Sequence[int] = CLASS_IDS,
    **description: Any,
) -> Path:
    """Write a version as the trainer's exporter does. `description` overrides terrazzo.json."""
    folder = repository / model_name / str(version)
    folder.mkdir(parents=True)
    model = model or BrightnessModel(np.linspace(0, 255, len(class_ids)).tolist())
    torch.jit.trace(model.eval(), torch.zeros(2, 3, 32, 64)).save(str(folder / "model.pt"))
    document = {
        "schema": 1,
        "classes": list(class_ids),
        "names": [f"class-{c}" for c in class_ids],
        "tile_px": 64,
        "overlap_px": 16,
        "stride_px": 16,
        "embedding_dim": 3,
        "arch": "test",
        "run_id": "run_test0001",
    } | description
    (folder / "terrazzo.json").write_text(json.dumps(document))
    return folder


def png(image_HWC: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "PNG")
    return file.getvalue()


class FakeRuntime:
    """ModelRuntime without torch, for pointwise brightness models; passes the port's suite.

    `put` makes a version known. `gate`, when set, is waited for inside `infer`, after `begun` is set.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[tuple[int, ...], NDArray[np.float32]]] = {}
        self._loaded: dict[tuple[str, int], tuple[ModelDescription, NDArray[np.float32]]] = {}
        self.begun = threading.Event()
        self.gate: threading.Event | None = None

    def put(self, model_name: str, version: int, class_ids: Sequence[int], greys: Sequence[float]) -> None:
        self._known[model_name, version] = (tuple(class_ids), np.array(greys, dtype=np.float32))

    def load(self, model_name: str, version: int) -> ModelDescription:
        require_model_name(model_name, version)
        if (model_name, version) not in self._loaded:
            if (model_name, version) not in self._known:
                raise ModelMissing(f"no {model_name}/{version}")
            class_ids, greys_K = self._known[model_name, version]
            if len(class_ids) != len(greys_K):
                raise BadModel(f"{len(greys_K)} channels, {len(class_ids)} classes")
            description = ModelDescription(class_ids, 64, 16, 16, 3, "fake", "run_fake0001")
            self._loaded[model_name, version] = (description, greys_K)
        return self._loaded[model_name, version][0]

    def unload(self, model_name: str, version: int) -> None:
        self._loaded.pop((model_name, version), None)

    def metadata(self, model_name: str, version: int) -> ModelDescription:
        return self._of(model_name, version)[0]

    def loaded(self) -> list[tuple[str, int]]:
        return sorted(self._loaded)

    def infer(
        self, model_name: str, version: int, images_NCHW: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _, greys_K = self._of(model_name, version)
        self.begun.set()
        if self.gate is not None:
            assert self.gate.wait(timeout=30)
        if images_NCHW.shape[1] != 3:
            raise BadOutput(f"an image has 3 channels, not {images_NCHW.shape[1]}")
        grey_N1HW = images_NCHW.mean(axis=1, keepdims=True)
        logits_NKHW = -np.abs(grey_N1HW - greys_K[None, :, None, None]) / np.float32(16.0)
        return logits_NKHW, images_NCHW.mean(axis=(2, 3)) + np.float32(1.0)

    def _of(self, model_name: str, version: int) -> tuple[ModelDescription, NDArray[np.float32]]:
        found = self._loaded.get((model_name, version))
        if found is None:
            raise NotLoaded(f"{model_name}/{version} is not loaded")
        return found


class FakeMaskStorage:
    """A double of the client towards mask storage. `failures` are raised, in order, before answers."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.stored: dict[str, tuple[NDArray[Any], Provenance]] = {}
        self.failures: list[Exception] = []
        self.refuse_masks: Exception | None = None
        self.num_puts = 0
        self.images = SimpleNamespace(content=self._content)
        self.masks = SimpleNamespace(put=self._put)

    def client(self, service: str, organisation_id: str) -> Any:
        assert (service, organisation_id) == ("inference", ORGANISATION)
        return self

    def add(self, image_HWC: NDArray[np.uint8]) -> SampleRef:
        return self.add_bytes(png(image_HWC), *image_HWC.shape[:2])

    def add_bytes(self, data: bytes, height: int, width: int) -> SampleRef:
        image_hash = content_hash(data)
        self.contents[image_hash] = data
        return SampleRef(sample_id=sample_id_of(image_hash), image_hash=image_hash, height=height, width=width)

    def _content(self, project_id: str, image_hash: str) -> bytes:
        self._fail_if_told()
        return self.contents[image_hash]

    def _put(
        self, project_id: str, labels_HW: NDArray[Any], *, provenance: Provenance, expected: tuple[int, int]
    ) -> Any:
        self._fail_if_told()
        if self.refuse_masks is not None:
            raise self.refuse_masks
        assert labels_HW.shape == expected
        self.num_puts += 1
        mask_id = content_hash(labels_HW.tobytes())
        self.stored[mask_id] = (labels_HW, provenance)
        return SimpleNamespace(mask_id=mask_id)

    def _fail_if_told(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class Driver:
    """The service and what surrounds it, as the tests speak of it."""

    service: Service
    ports: Ports
    storage: FakeMaskStorage
    repository: Path
    http: TestClient
    event_of: Callable[..., Event]
    said: list[Event] = field(default_factory=list)

    def hear(self, message: Message, key: str = "k", **context: Any) -> Event:
        """Deliver an event to the service, as the consumer does."""
        event = self.event_of(message, key=key, **context)
        self.service.consumer.handle(wrap(event))
        return event

    def hear_again(self, event: Event) -> None:
        self.service.consumer.handle(wrap(event))

    def create_project(self) -> None:
        self.hear(ProjectCreated(name="test", ontology_version=1, ontology_json="{}"), key=PROJECT)

    def promote(self, version: int = 1, **model: Any) -> Event:
        put_version(self.repository, "seg-test", version, **model)
        return self.hear(
            ModelPromoted(model_id=f"mdl_test000{version}", model_name="seg-test", version=version), key=PROJECT
        )

    def add_sample(self, image_HWC: NDArray[np.uint8]) -> SampleRef:
        sample = self.storage.add(image_HWC)
        self.hear(SampleAdded(sample=sample, name="a.png", split="train"), key=sample.sample_id)
        return sample

    def choose(
        self, samples: Sequence[SampleRef], model_id: str = "mdl_test0001", batch: str = "bat_0001"
    ) -> Event:
        return self.hear(BatchChosen(batch_id=batch, model_id=model_id, samples=samples), key=batch)

    def work(self, max_steps: int = 100) -> int:
        """Run the worker until it has nothing to do now. Returns how many steps it took."""
        (worker,) = self.service.workers
        for step in range(max_steps):
            if worker.run_once() == 0:
                return step
        raise AssertionError(f"still busy after {max_steps} steps")

    def outbox(self, message_type: type[M]) -> list[M]:
        """Every event of this type that was said, in order."""
        outbox = self.service.uow.tables.outbox
        with self.ports.database.read() as connection:
            rows = connection.execute(outbox.select().order_by(outbox.c.sequence)).all()
        return [m for row in rows if isinstance(m := unwrap(row.value).message, message_type)]
