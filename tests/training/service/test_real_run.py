"""A tiny training with the real trainer process, fed over HTTP, stopped in the middle and continued."""

from __future__ import annotations

import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from terrazzo_client import TerrazzoClient
from terrazzo_runtime.clock import SystemClock
from terrazzo_runtime.service import Service
from terrazzo_schema.events import ProjectCreated, wrap
from terrazzo_schema.split import is_held_out
from terrazzo_training.service import create

COMMIT = "c" * 64
SIDE_PX = 64
CONFIG = {
    "epochs": 8, "steps_per_epoch": 2, "batch_size": 2, "crop_px": 32, "arch": "fast_scnn", "warmup_steps": 2,
    "num_workers": 0, "checkpoint_every_steps": 1,
}  # fmt: skip


class StorageOverHttp(BaseHTTPRequestHandler):
    """The four answers of mask storage that a trainer asks for."""

    samples: ClassVar = [f"smp_{number:024x}" for number in range(12)]
    keys: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self.keys.add(self.headers["Authorization"])
        parts = urlsplit(self.path).path.split("/")[2:]
        match parts:
            case ["datasets", _, "commits", _]:
                self._json({"commit_id": COMMIT, "tree_id": "t", "branch": "main", "parent_ids": [], "message": "",
                            "author": "", "num_samples": 12, "num_changed": 12, "counts": {},
                            "created_at": "2026-01-01T00:00:00Z"})  # fmt: skip
            case ["datasets", _, "entries"]:
                size = {"height": SIDE_PX, "width": SIDE_PX, "counts": {}}
                items = [{"sample_id": s, "name": s, "image_hash": s, "mask_id": s, **size} for s in self.samples]
                self._json({"items": items, "next_cursor": None})
            case ["images", _, sample_id, "content"]:
                buffer = io.BytesIO()
                Image.fromarray(scene(sample_id)[0]).save(buffer, "PNG")
                self._bytes(buffer.getvalue())
            case ["masks", _, sample_id, "content"]:
                buffer = io.BytesIO()
                np.save(buffer, scene(sample_id)[1])
                self._bytes(buffer.getvalue())
            case _:
                self.send_error(404)

    def _json(self, document: object) -> None:
        self._bytes(json.dumps(document).encode())

    def _bytes(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def scene(sample_id: str) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on a dark ground: image (H, W, 3) uint8, labels (H, W) uint8 of classes 1 and 3."""
    random = np.random.default_rng(int(sample_id[4:], 16))
    labels_HW = np.ones((SIDE_PX, SIDE_PX), np.uint8)
    y, x = random.integers(0, SIDE_PX // 2, 2)
    labels_HW[y : y + 32, x : x + 32] = 3
    noise_HWC = random.integers(0, 40, (SIDE_PX, SIDE_PX, 3))
    return (noise_HWC + 180 * (labels_HW == 3)[..., None]).astype(np.uint8), labels_HW


@pytest.fixture
def storage_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), StorageOverHttp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Peers:
    def __init__(self, url: str) -> None:
        self._client = TerrazzoClient(url, "tz_service")

    def client(self, service: str, organisation_id: str) -> TerrazzoClient:
        return self._client


def until(condition, seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_real_run_that_is_stopped_goes_on_and_becomes_a_model(
    storage_url, ports_factory, key_of, event_of, monkeypatch, request
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ports = ports_factory("training", peers=Peers(storage_url), clock_=SystemClock(), url=storage_url)
    headers = {"Authorization": f"Bearer {key_of('admin')}"}

    def started() -> tuple[Service, TestClient]:
        service = create(ports)
        service.start()
        request.addfinalizer(service.stop)
        return service, TestClient(service.app, headers=headers)

    service, http = started()
    ontology = {"name": "squares", "classes": [{"id": 1, "name": "ground"}, {"id": 3, "name": "square"}]}
    created = ProjectCreated(
        name="squares", held_out_percent=20, ontology_version=1, ontology_json=json.dumps(ontology)
    )
    service.consumer.handle(wrap(event_of(created)))
    answer = http.post("/v1/runs", json={"project_id": "prj_test0001", "ref": "main", "config": CONFIG})
    run_id = answer.json()["run_id"]

    def run() -> dict:
        return http.get(f"/v1/runs/{run_id}").json()

    until(lambda: run()["epochs"])
    service.stop()
    assert run()["state"] == "running"
    assert len(run()["epochs"]) < CONFIG["epochs"]

    service, http = started()
    until(lambda: run()["state"] != "running")
    done = run()
    log = http.get(f"/v1/runs/{run_id}/log").text
    assert done["state"] == "succeeded", log
    assert [epoch["epoch"] for epoch in done["epochs"]] == list(range(1, 9))
    assert log.count('"event": "resumed"') == 1
    assert done["epochs"][-1]["loss"] < done["epochs"][0]["loss"]
    model = http.get(f"/v1/models/{done['model_id']}").json()
    assert model["metrics"]["num_samples"] == sum(is_held_out(s, 20) for s in StorageOverHttp.samples) > 0
    assert model["metrics"]["class_ids"] == [1, 3]
    assert (ports.settings.models_dir / "seg-prj_test0001" / "1" / "model.pt").is_file()
    # The trainer read with a key of its own, which says for whom.
    keys = {
        ports.authority.verify(key.removeprefix("Bearer ")).name
        for key in StorageOverHttp.keys
        if "tz_s" not in key
    }
    assert keys == {run_id}
