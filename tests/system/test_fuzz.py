"""Every operation of every service, called with what its OpenAPI document allows (and a little more): never a 500.

Half of the path parameters are real ids of a project at work, so that calls get past the first lookup.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient
from system_harness import Harness

from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.settings import SERVICES

ONTOLOGY = {"name": "two", "classes": [{"id": 1, "name": "ground"}, {"id": 2, "name": "thing"}]}
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass
class Target:
    client: TestClient
    headers: dict[str, str]
    ids: dict[str, list[str]]
    documents: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    harness = Harness(tmp_path_factory.mktemp("fuzz") / "data", SERVICES, FakeClock())
    key = harness.system.admin_key()
    with harness.client(key) as admin:
        project = admin.projects.create(name="fuzz", ontology=ONTOLOGY, held_out_percent=0)
        harness.drain()
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(buffer, "PNG")
        image = admin.images.upload(project.project_id, buffer.getvalue(), name="a.png")
        harness.drain()
        mask = admin.masks.put(project.project_id, np.ones((32, 48), np.uint8))
        admin.datasets.stage(project.project_id, {image.sample_id: mask.mask_id})
        commit = admin.datasets.commit(project.project_id, message="first")
        batch = admin.batches.create(project.project_id, name="b", size=1, multi_share=0.0)
        lease = admin.tasks.lease(project.project_id)
        assert lease is not None
        submission = admin.tasks.submit(
            lease.task.task_id, lease_id=lease.lease_id, mask_id=mask.mask_id, seconds_spent=1.0
        )
        harness.drain()
        audit = admin.audits.create(project.project_id, batch.batch_id, size=1)
        harness.drain()
    ids = {
        "project_id": [project.project_id],
        "image_hash": [image.image_hash],
        "mask_id": [mask.mask_id],
        "sample_id": [image.sample_id],
        "batch_id": [batch.batch_id],
        "task_id": [lease.task.task_id],
        "lease_id": [lease.lease_id],
        "submission_id": [submission.submission_id],
        "audit_id": [audit.audit_id],
        "ref": ["main", commit.commit_id, commit.commit_id[:10]],
        "base": ["main"],
        "head": ["main"],
    }
    documents = {name: service.app.openapi() for name, service in harness.system.services.items()}
    client = TestClient(harness.system.app, base_url="http://test", raise_server_exceptions=False)
    yield Target(client, {"Authorization": f"Bearer {key}"}, ids, documents)
    harness.close()


def replace_some(parameters: Any, ids: dict[str, list[str]], data: st.DataObject) -> dict[str, Any]:
    out = dict(parameters or {})
    for name in out:
        if name in ids and data.draw(st.booleans(), label=f"a real {name}"):
            out[name] = data.draw(st.sampled_from(ids[name]))
    return out


def send(target: Target, case: Any) -> None:
    """Send one drawn case and look at the answer."""
    request = case.as_transport_kwargs(base_url="http://test")
    answer = target.client.request(
        request["method"],
        request["url"],
        params=request.get("params"),
        headers={**_plain(request.get("headers")), **target.headers},
        **{name: request[name] for name in ("json", "data", "files", "content") if name in request},
    )
    assert answer.status_code < 500, f"{request['method']} {request['url']}: {answer.text[:500]}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", SERVICES)
def test_no_input_makes_a_service_fail(service: str, target: Target) -> None:
    schema = schemathesis.openapi.from_dict(target.documents[service])
    num_operations = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/progress/stream"):
            continue  # it ends only when its reader leaves
        num_operations += 1
        strategy = operation.as_strategy()

        @given(data=st.data())
        @seed(0)
        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def call(data: st.DataObject) -> None:
            case = data.draw(strategy)  # noqa: B023 - called within this turn of the loop
            case.path_parameters = replace_some(case.path_parameters, target.ids, data)
            case.query = replace_some(case.query, target.ids, data)
            send(target, case)

        call()
    assert num_operations == sum(m in METHODS for p in target.documents[service]["paths"].values() for m in p) - (
        service == "task"
    )


def _plain(headers: Any) -> dict[str, str]:
    """Header values that HTTP can carry; the others can't reach a server at all."""
    return {
        k: v
        for k, v in dict(headers or {}).items()
        if k.lower() != "authorization" and isinstance(v, str) and v.isascii() and v.isprintable()
    }
