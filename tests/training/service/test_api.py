"""Who may do what, what is refused, what is done once; promotion; events in."""

import json
import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import OntologyPublished, ProjectCreated, wrap

PROJECT = "prj_test0001"


def promote(desk, model, **body):
    return desk.call("POST", f"models/{model['model_id']}/promote", body).json()


# --- promotion


def test_a_better_model_replaces_the_present_one(desk):
    first, second = desk.trained(miou=0.5), desk.trained(miou=0.6)
    promote(desk, first)
    answer = promote(desk, second)
    assert (answer["promoted"], answer["reason"]) == (True, "held-out mIoU 0.6000 after 0.5000")
    states = [model["state"] for model in desk.call("GET", "models").json()["items"]]
    assert states == ["promoted", "retired"]


@pytest.mark.parametrize("miou", [0.5, 0.4, None])
def test_a_model_that_is_not_better_stays_registered_and_the_answer_says_why(desk, miou):
    first, second = desk.trained(miou=0.5), desk.trained(miou=miou)
    promote(desk, first)
    answer = promote(desk, second)
    assert not answer["promoted"]
    assert answer["model"]["state"] == "registered"
    assert answer["reason"]
    assert desk.names_said().count("ModelPromoted") == 1


def test_figures_from_two_evaluation_sets_are_not_compared(desk):
    first, second = desk.trained(miou=0.5), desk.trained(miou=0.9, eval_ref="held-out")
    promote(desk, first)
    answer = promote(desk, second)
    assert not answer["promoted"]
    assert "not comparable" in answer["reason"]
    assert promote(desk, second, only_if_better=False)["promoted"]


def test_promoting_twice_is_promoting_once(desk):
    model = desk.trained()
    assert promote(desk, model)["promoted"]
    assert promote(desk, model)["promoted"]
    assert desk.names_said().count("ModelPromoted") == 1


def test_an_older_model_can_come_back(desk):
    first, second = desk.trained(miou=0.5), desk.trained(miou=0.6)
    promote(desk, first)
    promote(desk, second)
    assert promote(desk, first, only_if_better=False)["promoted"]
    assert [model["state"] for model in desk.call("GET", "models").json()["items"]] == ["retired", "promoted"]


def test_versions_count_per_project(desk, event_of):
    desk.trained()
    created = ProjectCreated(name="o", held_out_percent=20, ontology_version=1, ontology_json=ontology(1, 2))
    desk.service.consumer.handle(wrap(event_of(created, project_id="prj_other001")))
    assert desk.trained(project_id="prj_other001")["version"] == 1
    assert desk.trained()["version"] == 2


# --- what is refused


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"epoch": 3}, "config.epoch"),
        ({"epochs": 0}, "config.epochs"),
        ({"epochs": "3"}, "config.epochs"),
        ({"crop_px": 100}, "config.crop_px"),
        ({"learning_rate": float("nan")}, "config.learning_rate"),
        ({"seed": 1}, "config.seed"),
        ({"repository": "/etc"}, "config.repository"),
        ({"arch": "../x"}, "config.arch"),
        ({"arch": "\ud800"}, "config.arch"),
        ({"\ud800": 1}, "config.?"),
        ({"optimizer": ["adamw"]}, "config.optimizer"),
    ],
)
def test_a_wrong_config_names_its_entry(desk, config, field):
    body = json.dumps({"project_id": PROJECT, "ref": "main", "config": config})
    headers = {"Authorization": f"Bearer {desk.key_of('admin')}", "Content-Type": "application/json"}
    answer = desk.http.post("/v1/runs", content=body, headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_project_with_one_class_can_not_be_trained(desk, event_of):
    created = ProjectCreated(name="o", held_out_percent=20, ontology_version=1, ontology_json=ontology(1))
    desk.service.consumer.handle(wrap(event_of(created, project_id="prj_other001")))
    answer = desk.call("POST", "runs", {"project_id": "prj_other001", "ref": "main"})
    assert (answer.status_code, answer.json()["field"]) == (422, "classes")


@pytest.mark.parametrize("field", ["ref", "eval_ref"])
def test_a_ref_that_can_be_no_name_is_refused(desk, field):
    answer = desk.call("POST", "runs", {"project_id": PROJECT, "ref": "main", field: "a\x00b"})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_init_from_must_be_a_model_of_the_project(desk):
    answer = desk.call("POST", "runs", {"project_id": PROJECT, "ref": "main", "init_from": "mdl_00000000"})
    assert (answer.status_code, answer.json()["field"]) == (422, "init_from")


def test_a_project_not_heard_of_yet_is_to_be_asked_for_again(empty_desk):
    answer = empty_desk.call("POST", "runs", {"project_id": PROJECT, "ref": "main"})
    assert (answer.status_code, answer.headers["retry-after"]) == (404, "1")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "runs/{run}"), ("GET", "runs/{run}/log"), ("POST", "runs/{run}/cancel"), ("GET", "models/{model}"),
     ("POST", "models/{model}/promote")],
)  # fmt: skip
def test_another_organisation_s_things_are_not_there(desk, method, path):
    model = desk.trained()
    path = path.format(run=model["run_id"], model=model["model_id"])
    body = {} if path.endswith("promote") else None
    answer = desk.call(method, path, body, organisation_id="org_other001")
    assert answer.status_code == 404
    for listing in ("runs", "models"):
        assert desk.call("GET", listing, organisation_id="org_other001").json()["items"] == []
    answer = desk.call("POST", "runs", {"project_id": PROJECT, "ref": "main"}, organisation_id="org_other001")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("role", "reads", "creates", "promotes"),
    [("viewer", 200, 403, 403), ("annotator", 200, 403, 403), ("reviewer", 200, 403, 403),
     ("vendor", 403, 403, 403), ("trainer", 200, 201, 403), ("manager", 200, 201, 200)],
)  # fmt: skip
def test_roles(desk, role, reads, creates, promotes):
    model = desk.trained()
    assert desk.call("GET", "runs", role=role).status_code == reads
    assert desk.call("GET", f"runs/{model['run_id']}/log", role=role).status_code == reads
    assert desk.call("POST", "runs", {"project_id": PROJECT, "ref": "m"}, role=role).status_code == creates
    assert desk.call("POST", f"models/{model['model_id']}/promote", {}, role=role).status_code == promotes


def test_without_a_key_nothing_is_answered(desk):
    assert TestClient(desk.service.app).get("/v1/runs").status_code == 401


def test_a_create_that_is_repeated_makes_one_run(desk):
    body = {"project_id": PROJECT, "ref": "main"}
    answers = [desk.call("POST", "runs", body, headers={"Idempotency-Key": "k1"}) for _ in range(3)]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert len(desk.call("GET", "runs").json()["items"]) == 1


@pytest.mark.parametrize(
    "path", ["runs/x", "runs/run_0000000%00", "models/%ff", "runs?cursor=abc", "runs?limit=0"]
)
def test_odd_input_is_refused_with_a_problem(desk, path):
    answer = desk.call("GET", path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_idle_service_has_imported_nothing_heavy():
    heavy = ("torch", "numpy", "scipy", "cv2", "PIL")
    code = f"import terrazzo_training.service, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# --- events in


def ontology(*ids):
    return json.dumps({"name": "o", "classes": [{"id": i, "name": f"class {i}"} for i in ids]})


def test_a_published_ontology_is_used_by_the_next_run(desk, event_of):
    event = event_of(OntologyPublished(version=2, ontology_json=ontology(1, 2, 9)), key=PROJECT)
    for _ in range(2):  # a second delivery changes nothing
        desk.service.consumer.handle(wrap(event))
    desk.create_run()
    desk.turn()
    assert [c["id"] for c in desk.launcher.jobs[0].config["classes"]] == [1, 2, 9]


def test_an_older_ontology_that_comes_late_is_ignored(desk, event_of):
    for version, ids in ((3, (1, 2, 9)), (2, (1, 2))):
        message = OntologyPublished(version=version, ontology_json=ontology(*ids))
        desk.service.consumer.handle(wrap(event_of(message)))
    created = ProjectCreated(name="n", held_out_percent=20, ontology_version=1, ontology_json=ontology(1, 2))
    desk.service.consumer.handle(wrap(event_of(created)))
    desk.create_run()
    desk.turn()
    assert [c["id"] for c in desk.launcher.jobs[0].config["classes"]] == [1, 2, 9]


def test_an_ontology_before_its_project_is_tried_again(empty_desk, event_of):
    event = event_of(OntologyPublished(version=2, ontology_json=ontology(1, 2)))
    with pytest.raises(NotKnownYet):
        empty_desk.service.consumer.handle(wrap(event))
