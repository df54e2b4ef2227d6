"""Organisations, keys, projects, ontologies: who may see and change them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from terrazzo_runtime.service import Ports
from terrazzo_schema import events
from terrazzo_schema.split import split_of
from terrazzo_task.service import bootstrap_key, create

from .conftest import ONTOLOGY

if TYPE_CHECKING:
    from .conftest import Hand


def as_key(hand: Hand, key: str, method: str, path: str, **more: Any) -> Any:
    return hand.client.request(
        method, path, headers={"Authorization": f"Bearer {key}", **more.pop("headers", {})}, **more
    )


def test_the_first_key_makes_organisations_and_theirs_make_none(
    ports_factory: Callable[..., Ports], hand: Hand
) -> None:
    ports = ports_factory("task-first")
    service = create(ports)
    client = TestClient(service.app)
    keys = [bootstrap_key(service, ports) for _ in range(2)]
    for key in keys:
        found = client.get("/v1/organisations/current", headers={"Authorization": f"Bearer {key}"})
        assert found.json()["organisation_id"] == "org_default"
    head = {"Authorization": f"Bearer {keys[0]}", "Idempotency-Key": "o1"}
    made = client.post("/v1/organisations", json={"name": "Clinic"}, headers=head)
    assert made.status_code == 201
    assert client.post("/v1/organisations", json={"name": "Clinic"}, headers=head).json() == made.json()
    theirs = {"Authorization": f"Bearer {made.json()['key']}"}
    current = client.get("/v1/organisations/current", headers=theirs).json()
    assert current["name"] == "Clinic"
    assert client.post("/v1/organisations", json={"name": "More"}, headers=theirs).status_code == 403
    service.uow.database.close()


def test_a_key_is_shown_once_stored_nowhere_and_refused_once_revoked(hand: Hand) -> None:
    body = {"name": "ann", "role": "annotator", "expires_in_s": 3600}
    made = hand.call("POST", "/v1/keys", json=body, idempotency_key="k", status=201)
    assert hand.call("POST", "/v1/keys", json=body, idempotency_key="k", status=201) == made
    assert as_key(hand, made["key"], "GET", "/v1/projects").status_code == 200
    database = hand.service.uow.database.url.removeprefix("sqlite:///")
    stored = b"".join(Path(database + end).read_bytes() for end in ("", "-wal"))
    assert made["key_id"].encode() in stored
    assert made["key"].encode() not in stored
    listed = hand.call("GET", "/v1/keys", status=200)["items"]
    assert [k["key_id"] for k in listed] == [made["key_id"]]
    assert "key" not in listed[0]
    hand.new()
    hand.call("DELETE", f"/v1/keys/{made['key_id']}", status=204)
    hand.call("DELETE", f"/v1/keys/{made['key_id']}", status=204)
    assert [m.key_id for m in hand.new(events.KeyRevoked)] == [made["key_id"]]
    assert as_key(hand, made["key"], "GET", "/v1/projects").status_code == 401
    hand.call("DELETE", "/v1/keys/key_unknown0001", status=404)


def test_a_key_runs_out(hand: Hand) -> None:
    made = hand.call("POST", "/v1/keys", json={"name": "a", "role": "viewer", "expires_in_s": 60}, status=201)
    hand.clock.advance(61)
    assert as_key(hand, made["key"], "GET", "/v1/projects").status_code == 401


def test_only_an_admin_makes_keys_and_a_vendors_key_names_its_vendor(hand: Hand) -> None:
    hand.call("POST", "/v1/keys", "manager", json={"name": "a", "role": "viewer"}, status=403)
    hand.call("POST", "/v1/keys", json={"name": "a", "role": "vendor"}, status=422)
    made = hand.call("POST", "/v1/keys", json={"name": "a", "role": "vendor", "vendor": "Acme"}, status=201)
    assert made["vendor"] == "Acme"


def test_another_organisations_things_are_not_there(hand: Hand, key_of: Callable[..., str]) -> None:
    hand.project()
    (sample_id,) = hand.images(1)
    batch = hand.batch(1)
    lease = hand.lease(status=200)
    submission = hand.submit(lease)
    stranger = key_of("admin", organisation_id="org_other0001")
    project, task_id = f"/v1/projects/{hand.project_id}", lease["task"]["task_id"]
    for method, path, body in (
        ("GET", project, None),
        ("GET", project + "/ontology", None),
        ("PUT", project + "/ontology", {"ontology": ONTOLOGY}),
        ("GET", project + "/samples", None),
        ("GET", f"{project}/samples/{sample_id}", None),
        ("GET", project + "/batches", None),
        ("POST", project + "/batches", {"name": "b", "size": 1}),
        ("GET", f"{project}/batches/{batch['batch_id']}", None),
        ("POST", f"{project}/batches/{batch['batch_id']}/cancel", None),
        ("GET", project + "/tasks", None),
        ("GET", project + "/submissions", None),
        ("GET", project + "/progress", None),
        ("GET", project + "/progress/stream", None),
        ("POST", project + "/leases", {}),
        ("GET", f"/v1/tasks/{task_id}", None),
        ("PATCH", f"/v1/tasks/{task_id}", {"priority": 1}),
        ("POST", f"/v1/tasks/{task_id}/cancel", None),
        ("POST", f"/v1/tasks/{task_id}/submissions", {"lease_id": lease["lease_id"], "seconds_spent": 1}),
        ("POST", f"/v1/leases/{lease['lease_id']}/extend", None),
        ("DELETE", f"/v1/leases/{lease['lease_id']}", None),
        ("GET", f"/v1/submissions/{submission['submission_id']}", None),
    ):
        answer = as_key(hand, stranger, method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    assert as_key(hand, stranger, "GET", "/v1/projects").json()["items"] == []


def test_an_ontology_gets_new_versions_and_an_id_never_changes_its_meaning(hand: Hand) -> None:
    hand.project()
    path = f"/v1/projects/{hand.project_id}/ontology"
    renamed: dict[str, Any] = copy.deepcopy(ONTOLOGY)
    renamed["classes"][1]["children"] = [{"id": 3, "name": "core"}]
    second = hand.call("PUT", path, json={"ontology": renamed}, status=200)
    assert second["version"] == 2
    assert hand.call("PUT", path, json={"ontology": renamed}, status=200) == second, "nothing changed"
    problem = hand.call("PUT", path, json={"ontology": ONTOLOGY}, status=422)
    assert problem["value"] == "4", "4 was removed, and stays reserved"
    renamed["classes"].append({"id": 9, "name": "debris"})
    assert hand.call("PUT", path, json={"ontology": renamed}, status=200)["version"] == 3
    first = hand.call("GET", path, params={"version": 1}, status=200)["ontology"]
    assert [c["name"] for c in first["classes"][1]["children"]] == ["nucleus", "membrane"]
    assert hand.call("GET", path, status=200)["version"] == 3
    hand.call("GET", path, params={"version": 4}, status=404)
    assert [m.version for m in hand.new(events.OntologyPublished)] == [2, 3]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"ontology": {"name": "x", "classes": []}}, 400),
        ({"ontology": {"name": "x\ud800", "classes": [{"id": 1, "name": "a"}]}}, 422),
        ({"ontology": {"name": "x", "classes": [{"id": 1, "name": "a\u0000"}]}}, 422),
        ({"ontology": {"name": "x", "classes": [{"id": 1, "name": "a", "color": "\ud800"}]}}, 400),
        ({"held_out_percent": 91}, 422),
        ({"qa": {"a": float("nan")}}, 422),
        ({"typo": 1}, 422),
    ],
)
def test_a_project_that_breaks_a_rule_is_refused(hand: Hand, change: dict[str, Any], status: int) -> None:
    import json

    body = json.dumps({"name": "p", "ontology": ONTOLOGY, **change}).encode()
    headers = {"content-type": "application/json"}
    answer = as_key(hand, hand.key_of("manager"), "POST", "/v1/projects", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert hand.new() == []


def test_listings_come_in_pages_that_meet(hand: Hand) -> None:
    hand.project()
    ids = sorted(hand.images(7))
    hand.batch(7)
    for path, field in (("samples", "sample_id"), ("tasks", "task_id")):
        seen: list[str] = []
        cursor = None
        while True:
            params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            answer = hand.call("GET", f"/v1/projects/{hand.project_id}/{path}", params=params, status=200)
            seen += [item[field] for item in answer["items"]]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 7
        if path == "samples":
            assert seen == ids


def test_held_out_samples_are_never_chosen(hand: Hand) -> None:
    hand.project(held_out_percent=50)
    ids = hand.images(20)
    batch = hand.batch(100)
    assert set(batch["sample_ids"]) == {i for i in ids if split_of(i, 50) == "train"}
    assert 0 < len(batch["sample_ids"]) < 20
    assert hand.batch(1, status=409)["detail"].startswith("no unlabelled sample")
    listed = hand.call("GET", f"/v1/projects/{hand.project_id}/samples", params={"split": "held_out"})["items"]
    assert len(listed) == 20 - len(batch["sample_ids"])


def test_the_same_batch_is_chosen_whatever_the_order_in_which_scores_came(hand: Hand) -> None:
    chosen = []
    for turn in (1, -1):
        hand.project()
        ids = hand.images(12)
        for index, sample_id in list(enumerate(ids))[::turn]:
            hand.predicted(sample_id, entropy=index / 12, embedding=(float(index % 4), 1.0))
        batch = hand.batch(6, multi_share=0.5, random_share=0.3, seed=5)
        chosen.append([(x["sample_id"], x["redundancy"], x["chosen_by"]) for x in hand.tasks()])
        assert [x[0] for x in chosen[-1]] == batch["sample_ids"]
    assert chosen[0] == chosen[1]
    assert sorted(x[2] for x in chosen[0]) == ["active"] * 4 + ["random"] * 2
    assert sum(x[1] == 3 for x in chosen[0]) == 3
