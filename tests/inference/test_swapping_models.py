"""From one model to the next: no request fails, jobs keep the model that they began with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from inference_doubles import PROJECT, BrightnessModel, Driver, FakeRuntime, put_version
from numpy.typing import NDArray

from terrazzo_inference.domain.errors import BadModel, ModelMissing
from terrazzo_inference.handlers.predicting import predict_next
from terrazzo_schema.events import ModelPromoted, PredictionFailed, PredictionReady, PredictorReady


def queue(driver: Driver, sample_ids: list[str], purpose: str = "score") -> str:
    body = {"sample_ids": sample_ids, "purpose": purpose}
    answer = driver.http.post(f"/v1/predictions/{PROJECT}", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def job(driver: Driver, job_id: str) -> dict[str, object]:
    return dict(driver.http.get(f"/v1/predictions/{PROJECT}/jobs/{job_id}").json())


def test_no_prediction_fails_while_models_are_swapped(driver: Driver) -> None:
    """Two threads predict without a pause while six models are promoted one after the other."""
    rng = np.random.default_rng(0)
    samples = [driver.add_sample(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)) for _ in range(4)]
    sample_ids = [s.sample_id for s in samples]
    num_versions, done = 6, threading.Event()
    driver.promote(1)
    job_ids = {queue(driver, sample_ids): 1}

    def predict() -> None:
        while predict_next(driver.service.app.state.deps) or not done.is_set():
            pass

    with ThreadPoolExecutor(2) as threads:
        workers = [threads.submit(predict) for _ in range(2)]
        for version in range(2, num_versions + 1):
            driver.promote(version)
            job_ids[queue(driver, sample_ids)] = version
        done.set()
        for worker in workers:
            worker.result(timeout=60)
    assert driver.outbox(PredictionFailed) == []
    assert all(job(driver, job_id)["state"] == "succeeded" for job_id in job_ids)
    said = [(ready.model_id, ready.sample_id) for ready in driver.outbox(PredictionReady)]
    expected = [(f"mdl_test000{v}", sample_id) for v in range(1, num_versions + 1) for sample_id in sample_ids]
    assert sorted(said) == sorted(expected)
    assert driver.service.app.state.deps.runtime.loaded() == [("seg-test", num_versions)]


def test_a_swap_in_the_midst_of_an_image_does_not_disturb_it(driver_factory: Callable[..., Driver]) -> None:
    runtime = FakeRuntime()
    driver = driver_factory(runtime=runtime)
    driver.create_project()
    for version in (1, 2):
        runtime.put("seg-test", version, (1, 2), (0.0, 255.0))
    driver.hear(ModelPromoted(model_id="mdl_a", model_name="seg-test", version=1), key=PROJECT)
    sample = driver.add_sample(np.zeros((100, 100, 3), dtype=np.uint8))
    queue(driver, [sample.sample_id])
    runtime.gate = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        worker = threads.submit(driver.work)
        assert runtime.begun.wait(timeout=10)
        driver.hear(ModelPromoted(model_id="mdl_b", model_name="seg-test", version=2), key=PROJECT)
        runtime.unload("seg-test", 1)  # even if it is torn away under the image, between two windows
        runtime.gate.set()
        worker.result(timeout=10)
    (ready,) = driver.outbox(PredictionReady)
    assert ready.model_id == "mdl_a"
    assert runtime.loaded() == [("seg-test", 2)]


def test_the_old_model_stays_until_the_last_job_that_began_with_it_ends(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8]
) -> None:
    runtime = driver.service.app.state.deps.runtime
    driver.promote(1)
    driver.choose([driver.storage.add(grey_steps_HWC), driver.storage.add(255 - grey_steps_HWC)])
    (worker,) = driver.service.workers
    worker.run_once()
    driver.promote(2, model=BrightnessModel((255.0, 128.0, 0.0)))
    assert runtime.loaded() == [("seg-test", 1), ("seg-test", 2)]
    worker.run_once()
    assert runtime.loaded() == [("seg-test", 2)]
    assert {ready.model_id for ready in driver.outbox(PredictionReady)} == {"mdl_test0001"}


def test_a_batch_chosen_for_a_replaced_model_gets_the_current_one(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8]
) -> None:
    driver.promote(1)
    driver.promote(2)
    driver.choose([driver.storage.add(grey_steps_HWC)], model_id="mdl_test0001")
    driver.work()
    (ready,) = driver.outbox(PredictionReady)
    assert ready.model_id == "mdl_test0002"


def test_going_back_to_an_earlier_version_is_a_promotion_like_any(driver: Driver) -> None:
    driver.promote(1)
    driver.promote(2)
    driver.hear(ModelPromoted(model_id="mdl_test0001", model_name="seg-test", version=1), key=PROJECT)
    assert driver.http.get(f"/v1/predictors/{PROJECT}").json()["version"] == 1
    assert driver.service.app.state.deps.runtime.loaded() == [("seg-test", 1)]


def test_a_promotion_heard_twice_is_announced_once(driver: Driver) -> None:
    event = driver.promote(1)
    driver.hear_again(event)
    assert len(driver.outbox(PredictorReady)) == 1


def test_a_bad_model_is_not_swapped_in_and_the_old_one_goes_on(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8]
) -> None:
    driver.promote(1)
    with pytest.raises(BadModel, match=r"seg-test/2/terrazzo.json: stride_px is 0"):
        driver.promote(2, stride_px=0)
    assert driver.http.get(f"/v1/predictors/{PROJECT}").json()["model_id"] == "mdl_test0001"
    driver.choose([driver.storage.add(grey_steps_HWC)])
    driver.work()
    assert len(driver.outbox(PredictionReady)) == 1


def test_a_model_whose_files_come_late_is_loaded_at_a_later_try(driver: Driver) -> None:
    promoted = ModelPromoted(model_id="mdl_test0001", model_name="seg-test", version=1)
    with pytest.raises(ModelMissing):
        driver.hear(promoted, key=PROJECT)
    put_version(driver.repository, "seg-test", 1)
    driver.hear(promoted, key=PROJECT)
    assert len(driver.outbox(PredictorReady)) == 1
