"""REST of the service, through its app."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import numpy as np
import pytest
from inference_doubles import CLASS_IDS, PROJECT, Driver
from numpy.typing import NDArray

from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.inference import PredictionJobView, PredictionView, PredictorView

PATHS = (
    f"/v1/predictions/{PROJECT}",
    f"/v1/predictions/{PROJECT}/jobs",
    f"/v1/predictions/{PROJECT}/jobs/job_none00000",
    f"/v1/predictions/{PROJECT}/prd_none00000",
    f"/v1/predictors/{PROJECT}",
)


@pytest.fixture
def predicted(driver: Driver, grey_steps_HWC: NDArray[np.uint8]) -> tuple[Driver, list[str]]:
    """Three samples, each scored by model 1 and by model 2."""
    images = [grey_steps_HWC, grey_steps_HWC[:40], 255 - grey_steps_HWC]
    sample_ids = [driver.add_sample(image).sample_id for image in images]
    for version in (1, 2):
        driver.promote(version)
        answer = driver.http.post(f"/v1/predictions/{PROJECT}", json={"sample_ids": sample_ids})
        assert answer.status_code == 202
        driver.work()
    return driver, sample_ids


def test_a_job_is_queued_then_done_and_lists_its_predictions(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8]
) -> None:
    sample = driver.add_sample(grey_steps_HWC)
    driver.promote()
    body = {"sample_ids": [sample.sample_id, sample.sample_id], "purpose": "propose"}
    answer = driver.http.post(f"/v1/predictions/{PROJECT}", json=body)
    assert answer.status_code == 202
    job = PredictionJobView.model_validate(answer.json())
    assert (job.state, job.num_samples, job.num_done, job.model_id) == ("queued", 1, 0, "mdl_test0001")
    driver.work()
    path = f"/v1/predictions/{PROJECT}"
    done = PredictionJobView.model_validate(driver.http.get(f"{path}/jobs/{job.job_id}").json())
    assert (done.state, done.num_done, done.num_failed) == ("succeeded", 1, 0)
    assert done.finished_at is not None
    (prediction,) = Page[PredictionView].model_validate(driver.http.get(path).json()).items
    assert (prediction.sample_id, prediction.purpose) == (sample.sample_id, "propose")
    assert prediction.mask_id in driver.storage.stored
    assert (prediction.height, prediction.width) == (96, 120)
    assert [c.class_id for c in prediction.classes] == list(CLASS_IDS)
    assert driver.http.get(f"{path}/{prediction.prediction_id}").json() == prediction.model_dump(mode="json")


def test_a_retried_request_makes_one_job(driver: Driver, grey_steps_HWC: NDArray[np.uint8]) -> None:
    sample = driver.add_sample(grey_steps_HWC)
    driver.promote()
    headers = {"Idempotency-Key": "once"}
    body = {"sample_ids": [sample.sample_id]}
    answers = [driver.http.post(f"/v1/predictions/{PROJECT}", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(driver.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"]) == 1


def test_predictions_are_listed_by_sample_by_model_and_page_by_page(predicted: tuple[Driver, list[str]]) -> None:
    driver, sample_ids = predicted
    path = f"/v1/predictions/{PROJECT}"
    every = driver.http.get(path).json()["items"]
    assert [p["sample_id"] for p in every] == sample_ids * 2
    of_sample = driver.http.get(path, params={"sample_id": sample_ids[1]}).json()["items"]
    assert [p["model_id"] for p in of_sample] == ["mdl_test0001", "mdl_test0002"]
    of_model = driver.http.get(path, params={"model_id": "mdl_test0002"}).json()["items"]
    assert [p["sample_id"] for p in of_model] == sample_ids
    paged, cursor = [], None
    while True:
        page = driver.http.get(path, params={"limit": 4, **({"cursor": cursor} if cursor else {})}).json()
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == every
    jobs = driver.http.get(f"{path}/jobs", params={"limit": 1}).json()
    assert len(jobs["items"]) == 1
    assert driver.http.get(f"{path}/jobs", params={"cursor": jobs["next_cursor"]}).json()["next_cursor"] is None


def test_the_predictor_tells_which_model_answers(driver: Driver) -> None:
    assert driver.http.get(f"/v1/predictors/{PROJECT}").status_code == 404
    driver.promote()
    view = PredictorView.model_validate(driver.http.get(f"/v1/predictors/{PROJECT}").json())
    assert (view.model_id, view.model_name, view.version, view.tile_px) == ("mdl_test0001", "seg-test", 1, 64)


def test_without_a_model_the_answer_is_409_with_a_remedy(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8]
) -> None:
    sample = driver.add_sample(grey_steps_HWC)
    answer = driver.http.post(f"/v1/predictions/{PROJECT}", json={"sample_ids": [sample.sample_id]})
    assert answer.status_code == 409
    assert "promote" in answer.json()["remedy"]


def test_an_unknown_sample_is_named_and_may_come(driver: Driver) -> None:
    driver.promote()
    answer = driver.http.post(f"/v1/predictions/{PROJECT}", json={"sample_ids": ["smp_nothere00"]})
    assert answer.status_code == 404
    assert answer.json()["field"] == "sample_ids.0"
    assert answer.headers["retry-after"] == "1"


def test_an_unknown_project_may_be_known_in_a_moment(driver: Driver) -> None:
    for path in PATHS:
        answer = driver.http.get(path.replace(PROJECT, "prj_nothere00"))
        assert (answer.status_code, answer.headers.get("retry-after")) == (404, "1"), path


def test_another_organisation_sees_nothing(
    predicted: tuple[Driver, list[str]], key_of: Callable[..., str]
) -> None:
    driver, sample_ids = predicted
    stranger = {"Authorization": f"Bearer {key_of('admin', organisation_id='org_other0001')}"}
    prediction_id = driver.http.get(PATHS[0]).json()["items"][0]["prediction_id"]
    job_id = driver.http.get(PATHS[1]).json()["items"][0]["job_id"]
    for path in (*PATHS, f"{PATHS[0]}/{prediction_id}", f"{PATHS[1]}/{job_id}"):
        assert driver.http.get(path, headers=stranger).status_code == 404, path
    answer = driver.http.post(PATHS[0], json={"sample_ids": sample_ids}, headers=stranger)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [("vendor", 403, 403), ("viewer", 200, 403), ("admin", 200, 202)]
)
def test_roles(
    predicted: tuple[Driver, list[str]], key_of: Callable[..., str], role: str, reads: int, writes: int
) -> None:
    driver, sample_ids = predicted
    headers = {"Authorization": f"Bearer {key_of(role)}"}
    assert driver.http.get(PATHS[0], headers=headers).status_code == reads
    answer = driver.http.post(PATHS[0], json={"sample_ids": sample_ids}, headers=headers)
    assert answer.status_code == writes


def test_without_a_key_nothing_is_answered(driver: Driver) -> None:
    for path in PATHS:
        assert driver.http.get(path, headers={"Authorization": ""}).status_code == 401


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"cursor": "x"}, 422),
        ({"cursor": "9" * 15}, 200),
        ({"cursor": "9" * 40}, 422),
        ({"limit": 0}, 422),
        ({"limit": 10**30}, 422),
        ({"sample_id": "a" * 101}, 422),
        ({"sample_id": "\x00'; DROP TABLE predictions"}, 200),
    ],
)
def test_odd_parameters_never_break_it(driver: Driver, params: dict[str, str | int], status: int) -> None:
    assert driver.http.get(PATHS[0], params=params).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"sample_ids":[]}',
        b'{"sample_ids":["smp_\\u0000"]}',
        b'{"sample_ids":["\\ud800"]}',
        b'{"sample_ids":["a"],"purpose":"x"}',
        b"\xff",
    ],
)
def test_a_body_that_is_no_job_is_refused(driver: Driver, body: bytes) -> None:
    driver.promote()
    headers = {"Content-Type": "application/json"}
    answer = driver.http.post(PATHS[0], content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_odd_path_segments_answer_404_or_422(driver: Driver) -> None:
    for segment in ("%00", "a" * 200, "%F0%9F%92%A9", "%FF", "..%2F..", "jobs"):
        for path in (
            f"/v1/predictions/{segment}",
            f"/v1/predictions/{PROJECT}/{segment}/x",
            f"/v1/predictors/{segment}",
        ):
            answer: httpx.Response = driver.http.get(path)
            assert answer.status_code in (404, 422), (path, answer.status_code)
