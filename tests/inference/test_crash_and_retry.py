"""Nothing is lost and nothing is said twice: restarts, doubled events, mask storage away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from inference_doubles import PROJECT, Driver
from numpy.typing import NDArray

from terrazzo_client import NoAnswer
from terrazzo_client.errors import error_of
from terrazzo_inference.adapters.store import SqlStore
from terrazzo_inference.handlers import predicting
from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import (
    BatchChosen,
    OntologyPublished,
    PredictionFailed,
    PredictionReady,
    SampleRef,
)


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def images(grey_steps_HWC: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [grey_steps_HWC, grey_steps_HWC[::2].copy(), 255 - grey_steps_HWC[:, :33]]


def refused(status: int, **headers: str) -> Exception:
    document = {"type": "about:blank", "title": "no", "status": status, "detail": f"answer {status}"}
    response = httpx.Response(
        status, json=document, headers=headers, request=httpx.Request("GET", "http://mask-storage/v1/images")
    )
    return error_of(response, float(headers["retry_after"]) if "retry_after" in headers else None)


def test_a_batch_heard_twice_is_one_job(driver: Driver, images: list[NDArray[np.uint8]]) -> None:
    driver.promote()
    samples = [driver.storage.add(image) for image in images]
    event = driver.choose([*samples, samples[0]])  # one sample is listed twice, too
    driver.hear_again(event)
    driver.choose(samples)  # the same batch under another event id
    driver.work()
    assert [r.sample_id for r in driver.outbox(PredictionReady)] == [s.sample_id for s in samples]
    (only,) = driver.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"]
    assert (only["num_samples"], only["num_done"], only["state"]) == (3, 3, "succeeded")


def test_a_running_job_goes_on_after_a_restart(
    driver: Driver, driver_factory: Callable[..., Driver], images: list[NDArray[np.uint8]]
) -> None:
    driver.promote()
    driver.choose([driver.storage.add(image) for image in images])
    (worker,) = driver.service.workers
    worker.run_once()
    after = driver_factory()  # the model is not loaded there yet
    assert after.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"][0]["state"] == "running"
    after.work()
    assert len(after.outbox(PredictionReady)) == 3
    assert after.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"][0]["state"] == "succeeded"


def test_a_crash_at_any_step_loses_no_sample_and_repeats_none(
    driver_factory: Callable[..., Driver], images: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop at the 1st call to the outside (image, mask, event), then the 2nd, ... each time starting anew."""
    first = driver_factory()
    first.create_project()
    first.promote()
    samples = [first.storage.add(image) for image in images]
    first.choose(samples)
    calls = crash_after(monkeypatch, first)
    num_crashes = 0
    while True:
        driver = driver_factory()
        calls["left"] = num_crashes + 1
        try:
            driver.work()
            break
        except Crash:
            num_crashes += 1
    assert num_crashes >= 3
    ready = driver.outbox(PredictionReady)
    assert [r.sample_id for r in ready] == [s.sample_id for s in samples]
    assert all(r.mask_id in driver.storage.stored for r in ready)
    assert len(driver.storage.stored) == 3


def crash_after(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> dict[str, int]:
    calls = {"left": 10**9}

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls["left"] -= 1
            if calls["left"] == 0:
                raise Crash
            return call(*args, **kwargs)

        return counted

    monkeypatch.setattr(driver.storage.images, "content", counting(driver.storage.images.content))
    monkeypatch.setattr(driver.storage.masks, "put", counting(driver.storage.masks.put))
    monkeypatch.setattr(Tx, "publish", counting(Tx.publish))
    return calls


def test_mask_storage_away_for_a_while_costs_time_and_no_sample(
    driver: Driver, clock: FakeClock, images: list[NDArray[np.uint8]]
) -> None:
    driver.promote()
    driver.storage.failures = [
        NoAnswer("not reachable"),
        refused(503),
        refused(507),
        refused(404, retry_after="1"),
    ]
    driver.choose([driver.storage.add(images[0])])
    for _ in range(6):
        driver.work()
        clock.advance(31.0)
    assert driver.outbox(PredictionFailed) == []
    assert len(driver.outbox(PredictionReady)) == 1


def test_a_sample_that_waits_for_its_next_try_does_not_hold_up_the_others(
    driver: Driver, clock: FakeClock, images: list[NDArray[np.uint8]]
) -> None:
    driver.promote()
    samples = [driver.storage.add(image) for image in images]
    driver.storage.failures = [NoAnswer("not reachable")]
    driver.choose(samples)
    driver.work()
    assert [r.sample_id for r in driver.outbox(PredictionReady)] == [s.sample_id for s in samples[1:]]
    clock.advance(predicting.FIRST_WAIT_S)
    driver.work()
    assert len(driver.outbox(PredictionReady)) == 3


def test_after_the_last_try_the_batch_hears_why(
    driver: Driver, clock: FakeClock, images: list[NDArray[np.uint8]]
) -> None:
    driver.promote()
    driver.storage.failures = [NoAnswer("not reachable")] * predicting.MAX_ATTEMPTS
    sample = driver.storage.add(images[0])
    driver.choose([sample])
    for _ in range(predicting.MAX_ATTEMPTS):
        driver.work()
        clock.advance(predicting.LONGEST_WAIT_S)
    (failed,) = driver.outbox(PredictionFailed)
    assert (failed.sample_id, failed.batch_id) == (sample.sample_id, "bat_0001")
    assert "not reachable" in failed.reason
    assert driver.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"][0]["state"] == "failed"


@pytest.mark.parametrize(
    ("data", "size", "what"),
    [
        (b"GIF89a not really", (8, 8), "none of PNG"),
        (b"\x89PNG\r\n\x1a\nnot really", (8, 8), "can't be decoded"),
        (b"", (8, 8), "none of PNG"),
        ("truncated", (96, 120), "can't be decoded"),
        ("whole", (96, 121), "says 96 x 121"),
        ("whole", (96, 120), "refused it (422)"),
    ],
)
def test_a_sample_that_can_never_be_predicted_fails_at_once_and_says_why(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8], data: bytes | str, size: tuple[int, int], what: str
) -> None:
    driver.promote()
    good = driver.storage.contents[driver.storage.add(grey_steps_HWC).image_hash]
    given = {"truncated": good[: len(good) // 2], "whole": good}.get(data, data) if isinstance(data, str) else data
    assert isinstance(given, bytes)
    bad: SampleRef = driver.storage.add_bytes(given, *size)
    if "422" in what:
        driver.storage.refuse_masks = refused(422)
    driver.choose([bad])
    driver.work()
    (failed,) = driver.outbox(PredictionFailed)
    assert what in failed.reason
    assert driver.outbox(PredictionReady) == []


def test_an_image_over_the_pixel_limit_is_refused_before_it_is_decoded(
    driver_factory: Callable[..., Driver], grey_steps_HWC: NDArray[np.uint8]
) -> None:
    driver = driver_factory(max_image_pixels=1_000)
    driver.create_project()
    driver.promote()
    driver.choose([driver.storage.add(grey_steps_HWC)])
    driver.work()
    (failed,) = driver.outbox(PredictionFailed)
    assert "120 x 96" in failed.reason


def test_a_batch_for_a_model_that_is_not_loaded_yet_waits(driver: Driver, images: list[NDArray[np.uint8]]) -> None:
    samples = [driver.storage.add(images[0])]
    with pytest.raises(NotKnownYet):
        driver.choose(samples)
    driver.promote()
    with pytest.raises(NotKnownYet):
        driver.choose(samples, model_id="mdl_test0099")
    driver.choose(samples)
    driver.work()
    assert len(driver.outbox(PredictionReady)) == 1


def test_a_batch_without_a_model_asks_nothing_of_us(driver: Driver, images: list[NDArray[np.uint8]]) -> None:
    driver.choose([driver.storage.add(images[0])], model_id="")
    driver.hear(BatchChosen(batch_id="bat_0002", model_id="mdl_test0001"))
    driver.work()
    assert driver.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"] == []


def test_proposals_come_before_scores_that_were_asked_for_earlier(
    driver: Driver, images: list[NDArray[np.uint8]]
) -> None:
    driver.promote()
    scored = [driver.add_sample(image).sample_id for image in images]
    driver.http.post(f"/v1/predictions/{PROJECT}", json={"sample_ids": scored})
    driver.choose([driver.storage.add(images[0])])
    driver.work()
    said = driver.outbox(PredictionReady)
    assert [r.batch_id for r in said] == ["bat_0001", "", "", ""]
    assert [r.sample_id for r in said[1:]] == scored
    assert [bool(r.mask_id) for r in said] == [True, False, False, False]
    assert driver.storage.num_puts == 1


def test_an_ontology_before_its_project_waits(driver_factory: Callable[..., Driver]) -> None:
    driver = driver_factory()
    with pytest.raises(NotKnownYet):
        driver.hear(OntologyPublished(version=2, ontology_json="{}"), key=PROJECT)
    driver.create_project()
    driver.hear(OntologyPublished(version=2, ontology_json='{"two":2}'), key=PROJECT)
    driver.hear(OntologyPublished(version=1, ontology_json='{"one":1}'), key=PROJECT)
    with driver.service.uow.read() as store:
        project = store.project("org_test0001", PROJECT)
    assert (project.ontology_version, project.ontology_json) == (2, '{"two":2}')


@pytest.mark.parametrize(("is_guarded", "num_predictions"), [(True, 1), (False, 2)])
def test_two_workers_on_one_sample_make_one_prediction(
    driver: Driver,
    driver_factory: Callable[..., Driver],
    images: list[NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    is_guarded: bool,
    num_predictions: int,
) -> None:
    """Two processes on the same database may take the same sample; the second to finish drops its work.

    The control without the guard shows that the two do meet.
    """
    if not is_guarded:
        monkeypatch.setattr(SqlStore, "is_waiting", lambda self, job_id, position: True)
    driver.promote()
    driver.choose([driver.storage.add(images[0])])
    both = threading.Barrier(2)
    content = driver.storage.images.content

    def together(*args: Any) -> bytes:
        both.wait(timeout=10)
        return bytes(content(*args))

    driver.storage.images.content = together
    threads = [threading.Thread(target=d.service.workers[0].run_once) for d in (driver, driver_factory())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(driver.outbox(PredictionReady)) == num_predictions
    (only,) = driver.http.get(f"/v1/predictions/{PROJECT}/jobs").json()["items"]
    assert (only["num_done"], only["num_failed"]) == (num_predictions, 0)
