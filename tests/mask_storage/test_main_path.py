"""The main path: an image, its mask, an accepted mask, a commit, its entries."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from terrazzo_mask_storage.service import create
from terrazzo_runtime.service import Service
from terrazzo_schema.events import MaskAccepted, ProjectCreated

PROJECT = "prj_test0001"
ONTOLOGY = json.dumps(
    {"name": "t", "classes": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 300, "name": "c"}]}
)


@pytest.fixture
def service(ports_factory, event_of) -> Service:
    service = create(ports_factory("mask_storage"))
    from terrazzo_schema.events import wrap

    service.consumer.handle(wrap(event_of(ProjectCreated(name="p", ontology_version=1, ontology_json=ONTOLOGY))))
    return service


def png(array) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_from_an_image_to_a_version_that_holds_its_mask(service, key_of, event_of):
    from terrazzo_schema.events import wrap

    client = TestClient(service.app, headers={"Authorization": f"Bearer {key_of('admin')}"})
    rng = np.random.default_rng(0)
    image = client.post(f"/v1/images/{PROJECT}?name=a.png", content=png(rng.integers(0, 255, (300, 400, 3), np.uint8)))
    assert image.status_code == 201, image.text
    labels = rng.integers(1, 3, (300, 400)).astype(np.uint8)
    mask = client.put(f"/v1/masks/{PROJECT}", content=png(labels))
    assert mask.status_code == 201, mask.text
    mask_id = mask.json()["mask_id"]
    got = client.get(f"/v1/masks/{PROJECT}/{mask_id}/content?format=npy")
    assert (np.load(io.BytesIO(got.content)) == labels).all()
    accepted = MaskAccepted(task_id="tsk_1", sample_id=image.json()["sample_id"], mask_id=mask_id, revision=1)
    service.consumer.handle(wrap(event_of(accepted)))
    commit = client.post(f"/v1/datasets/{PROJECT}/commits", json={"message": "first"})
    assert commit.status_code == 201, commit.text
    entries = client.get(f"/v1/datasets/{PROJECT}/entries").json()
    assert [e["mask_id"] for e in entries["items"]] == [mask_id]
    assert client.get(f"/v1/datasets/{PROJECT}/commits/main").json() == commit.json()
