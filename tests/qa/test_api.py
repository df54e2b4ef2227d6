"""The QA service over HTTP: views, pages, maps, roles, settings, other organisations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from terrazzo_qa.domain.maps import from_png
from terrazzo_qa.domain.settings import QaSettings
from terrazzo_schema.events import AdjudicationRequested, SubmissionChecked
from terrazzo_schema.rest.qa import (
    AdjudicationView,
    CheckSettingsView,
    CheckView,
    ConsensusView,
    ScorecardView,
)

from .conftest import PROJECT, World, blocks

Http = Callable[..., TestClient]
LEFT = blocks("1122", "1122", "1122", "1122")
RIGHT = blocks("1112", "1112", "1112", "1112")
WITH_ISLAND = LEFT.copy()
WITH_ISLAND[1, 1] = 3


def vote(world: World, *votes: Any, **fields: Any) -> None:
    for name, labels_HW in zip("abcdefgh", votes, strict=False):
        world.submit(labels_HW, annotator_id=f"key_ann0000{name}", redundancy=len(votes), **fields)


def test_a_check_says_what_was_found_and_where(world: World, http: Http) -> None:
    event = world.submit(WITH_ISLAND)
    answer = http().get(f"/v1/checks/{PROJECT}/{event.message.submission_id}")  # type: ignore[attr-defined]
    view = CheckView.model_validate(answer.json())
    [finding] = view.findings
    assert view.passed
    assert (finding.code, finding.severity, finding.class_id, finding.count) == ("island", "warning", 3, 1)
    assert finding.box is not None
    assert (finding.box.y, finding.box.x, finding.box.height, finding.box.width) == (1, 1, 1, 1)


def test_checks_are_listed_by_page_and_by_what_one_asks_for(world: World, http: Http) -> None:
    for i in range(5):
        world.submit(LEFT if i else np.zeros((8, 8), np.uint8), sample_id=f"smp_listed0{i}")
    client = http()
    seen, cursor = [], None
    while True:
        params: dict[str, Any] = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = client.get(f"/v1/checks/{PROJECT}", params=params).json()
        seen += [item["submission_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(set(seen))
    assert len(seen) == 5
    for asked, count in (({"passed": False}, 1), ({"passed": True}, 4), ({"sample_id": "smp_listed03"}, 1)):
        assert len(client.get(f"/v1/checks/{PROJECT}", params=asked).json()["items"]) == count


def test_a_consensus_shows_its_votes_and_its_maps(world: World, http: Http) -> None:
    vote(world, LEFT, LEFT, RIGHT)
    client = http("reviewer")
    [listed] = client.get(f"/v1/consensus/{PROJECT}", params={"batch_id": "bat_test0001"}).json()["items"]
    view = ConsensusView.model_validate(client.get(f"/v1/consensus/{PROJECT}/{listed['task_id']}").json())
    assert (view.state, view.num_votes, view.method, view.region) == ("accepted", 3, "majority", None)
    assert view.annotator_ids == ["key_ann0000a", "key_ann0000b", "key_ann0000c"]
    # Of three pairs one agrees; in the others ground has IoU 32/48 and car 16/32.
    left_right = (32 / 48 + 16 / 32) / 2
    assert view.agreement == pytest.approx((1 + 2 * left_right) / 3)
    base = f"/v1/consensus/{PROJECT}/{view.task_id}/maps"
    answer = client.get(f"{base}/disagreement")
    assert answer.headers["content-type"] == "image/png"
    disagreement_HW = from_png(answer.content)
    assert np.array_equal(disagreement_HW > 0, LEFT != RIGHT)
    assert set(np.unique(disagreement_HW)) == {0, 85}
    posterior_HW = from_png(client.get(f"{base}/posterior").content)
    assert set(np.unique(posterior_HW)) == {170, 255}
    again = client.get(f"{base}/posterior", headers={"If-None-Match": f'"{view.posterior_hash}"'})
    assert again.status_code == 304
    assert client.get(f"{base}/mood").status_code == 422
    assert client.get(f"/v1/consensus/{PROJECT}", params={"batch_id": "bat_other0001"}).json()["items"] == []


def test_an_adjudication_is_open_until_it_is_decided(world: World, http: Http) -> None:
    vote(world, LEFT, RIGHT)
    [requested] = world.said(AdjudicationRequested)
    url = f"/v1/adjudications/{PROJECT}"
    view = AdjudicationView.model_validate(http().get(f"{url}/{requested.adjudication_id}").json())
    assert (view.state, view.disputed_pixels, view.mask_id) == ("open", 16, None)
    world.submit(
        LEFT,
        kind="adjudicate",
        submission_id="sub_adjud0001",
        annotator_id="key_reviewer1",
        subject_id=requested.adjudication_id,
    )
    [item] = http().get(url).json()["items"]
    assert (item["state"], item["decided_by"]) == ("decided", "key_reviewer1")
    assert np.array_equal(world.peers.masks.stored[item["mask_id"]], LEFT)
    assert http().get(f"/v1/consensus/{PROJECT}/{view.task_id}").json()["state"] == "accepted"


def test_a_scorecard_counts_what_a_person_did(world: World, http: Http) -> None:
    vote(world, LEFT, LEFT, RIGHT, seconds_spent=12.5)
    empty = np.zeros((8, 8), np.uint8)
    world.submit(empty, annotator_id="key_ann0000c", sample_id="smp_other0001", seconds_spent=1)
    world.submit(LEFT, annotator_id="key_ann0000c", sample_id="smp_other0002", late=True, seconds_spent=1)
    cards = {
        card["annotator_id"]: ScorecardView.model_validate(card)
        for card in http().get(f"/v1/scorecards/{PROJECT}").json()["items"]
    }
    assert cards["key_ann0000a"].agreement_with_consensus == 1.0
    card = cards["key_ann0000c"]
    assert (card.num_submissions, card.num_returned, card.num_late, card.num_multi) == (3, 1, 1, 1)
    assert card.agreement_with_consensus == pytest.approx((32 / 48 + 16 / 32) / 2)
    assert card.seconds == 14.5
    assert card.seconds_per_submission == pytest.approx(14.5 / 3)


def test_annotators_and_vendors_see_their_own_work_alone(world: World, http: Http) -> None:
    vote(world, LEFT, LEFT, RIGHT)
    for role in ("annotator", "vendor"):
        client = http(role, name="nobody")
        assert client.get(f"/v1/checks/{PROJECT}").json()["items"] == []
        assert client.get(f"/v1/scorecards/{PROJECT}").json()["items"] == []
        submission_id = world.said(SubmissionChecked)[0].submission_id
        assert client.get(f"/v1/checks/{PROJECT}/{submission_id}").status_code == 404
    world.submit(LEFT, annotator_id="key_vera0000", sample_id="smp_other0001")
    client = http("vendor", name="vera")  # whose key id is key_vera0000
    assert len(client.get(f"/v1/checks/{PROJECT}").json()["items"]) == 1
    assert len(client.get(f"/v1/scorecards/{PROJECT}").json()["items"]) == 1
    assert client.get(f"/v1/consensus/{PROJECT}").status_code == 403


ENDPOINTS = [
    f"/v1/checks/{PROJECT}",
    f"/v1/checks/{PROJECT}/settings",
    f"/v1/checks/{PROJECT}/sub_unknown00",
    f"/v1/consensus/{PROJECT}",
    f"/v1/consensus/{PROJECT}/tsk_test0001",
    f"/v1/consensus/{PROJECT}/tsk_test0001/maps/posterior",
    f"/v1/adjudications/{PROJECT}",
    f"/v1/adjudications/{PROJECT}/adj_unknown00",
    f"/v1/audits/{PROJECT}",
    f"/v1/audits/{PROJECT}/aud_unknown00",
    f"/v1/scorecards/{PROJECT}",
]


def test_another_organisation_s_project_is_not_there(world: World, http: Http) -> None:
    vote(world, LEFT, LEFT, RIGHT)
    stranger = http("admin", organisation_id="org_other0001")
    for url in ENDPOINTS:
        answer = stranger.get(url)
        assert answer.status_code == 404, url
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].endswith("not-known-yet")
        assert answer.headers["retry-after"] == "1"


def test_nothing_is_answered_without_a_key(world: World) -> None:
    nobody = TestClient(world.service.app)
    assert {url: nobody.get(url).status_code for url in ENDPOINTS} == dict.fromkeys(ENDPOINTS, 401)


def test_what_is_not_there_is_a_404(world: World, http: Http) -> None:
    for url in (u for u in ENDPOINTS if "unknown" in u or "tsk" in u):
        assert http().get(url).status_code == 404, url


def test_odd_ids_are_refused_or_not_found(world: World, http: Http) -> None:
    client = http()
    for bad in ("%00", "a%FF", "..", "%F0%9F%98%80", "x" * 300, "prj_%0a00000000", "-1"):
        for url in (f"/v1/checks/{bad}", f"/v1/checks/{PROJECT}/{bad}", f"/v1/audits/{PROJECT}/{bad}"):
            assert client.get(url).status_code in (404, 422), url
        assert client.get(f"/v1/checks/{PROJECT}?cursor={bad}&limit=1").status_code in (200, 422), bad
    assert client.get(f"/v1/checks/{PROJECT}?limit=99999999999999999999").status_code == 422


SETTINGS = f"/v1/checks/{PROJECT}/settings"


def test_settings_begin_with_their_defaults(world: World, http: Http) -> None:
    view = CheckSettingsView.model_validate(http().get(SETTINGS).json())
    assert view.settings == QaSettings().model_dump(mode="json")
    assert view.problem is None


def test_settings_that_came_with_the_project_hold_and_are_changed_by_name(
    world_of: Callable[..., World], key_of: Callable[..., str]
) -> None:
    world = world_of()
    world.create_project('{"island_area_max_px": 0, "severity": {"one-class": "error"}}')
    client = TestClient(world.service.app, headers={"Authorization": f"Bearer {key_of('manager')}"})
    settings = client.put(SETTINGS, json={"settings": {"hole_area_max_px": 5}}).json()["settings"]
    assert (settings["island_area_max_px"], settings["hole_area_max_px"]) == (0, 5)
    world.submit(WITH_ISLAND)
    world.submit(np.ones((8, 8), np.uint8), submission_id="sub_oneclass0")
    first, second = world.said(SubmissionChecked)
    assert list(first.codes) == []
    assert not second.passed
    # The project's event once more (a replay) does not undo the change.
    world.create_project("{}")
    assert client.get(SETTINGS).json()["settings"] == settings


@pytest.mark.parametrize(
    "given",
    [
        {"colour": 1},
        {"island_area_max_px": -1},
        {"island_area_max_px": "4"},
        {"island_area_max_px": 10**30},
        {"unlabelled_share_max": 1.5},
        {"severity": {"spelling": "error"}},
        {"severity": {"island": "fatal"}},
        {"severity": {"wrong-size": "info"}},
        {"enabled": ["island"]},
        {"enabled": "island"},
        {"consensus_method": "coin"},
        {"adjudicate_component_px": 0},
        {"findings_max": None},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(world: World, http: Http, given: dict[str, Any]) -> None:
    answer = http().put(SETTINGS, json={"settings": given})
    assert answer.status_code == 422
    problem = answer.json()
    assert next(iter(given)) in problem["field"]
    assert "adjudicate_disputed_share" in problem["remedy"]
    assert http().get(SETTINGS).json()["settings"] == QaSettings().model_dump(mode="json")


@pytest.mark.parametrize(
    "body",
    [
        '{"settings": {"\\ud800": 1}}',
        '{"settings": {"unlabelled_share_max": NaN}}',
        '{"settings": {"unlabelled_share_max": 1e999}}',
        '{"settings": {"severity": {"\\ud800": "error"}}}',
        '{"settings": {"enabled": ["wrong-size", "\\u0000"]}}',
        '{"settings": ' + '{"a":' * 200 + "1" + "}" * 200 + "}",
        '{"settings": []}',
        "{",
    ],
)
def test_hostile_settings_are_a_problem_document_too(world: World, http: Http, body: str) -> None:
    answer = http().put(SETTINGS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("text", ['{"colour": 1}', "[]", "{", '{"severity": {"wrong-size": "info"}}'])
def test_a_project_with_bad_settings_works_with_the_defaults_and_says_so(
    world_of: Callable[..., World], key_of: Callable[..., str], text: str
) -> None:
    world = world_of()
    world.create_project(text)
    client = TestClient(world.service.app, headers={"Authorization": f"Bearer {key_of('manager')}"})
    view = client.get(SETTINGS).json()
    assert view["settings"] == QaSettings().model_dump(mode="json")
    assert view["problem"]
    world.submit(LEFT)
    assert world.said(SubmissionChecked)[0].passed
    assert client.put(SETTINGS, json={"settings": {}}).json()["problem"] is None


def test_settings_and_audits_are_a_manager_s(world: World, http: Http) -> None:
    audit = {"batch_id": "bat_test0001", "size": 1}
    for role in ("annotator", "reviewer", "viewer", "trainer", "vendor"):
        assert http(role).put(SETTINGS, json={"settings": {}}).status_code == 403
        assert http(role).post(f"/v1/audits/{PROJECT}", json=audit).status_code == 403


def test_every_endpoint_has_a_name_of_its_own_and_names_its_problems(world: World) -> None:
    paths = world.service.app.openapi()["paths"]
    operations = [
        operation
        for path, methods in paths.items()
        for operation in methods.values()
        if not path.startswith("/v1/ops")
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) == 13
    assert all({"401", "404", "422"} <= set(operation["responses"]) for operation in operations)
