"""The main path: a model is promoted, a batch is chosen, every sample gets its proposal."""

from __future__ import annotations

import numpy as np
from inference_doubles import CLASS_IDS, PROJECT, Driver
from numpy.typing import NDArray

from terrazzo_schema.events import PredictionReady, PredictorReady


def test_a_promoted_model_is_loaded_and_announced(driver: Driver) -> None:
    driver.promote()
    (ready,) = driver.outbox(PredictorReady)
    assert (ready.model_id, ready.model_name, ready.version) == ("mdl_test0001", "seg-test", 1)
    view = driver.http.get(f"/v1/predictors/{PROJECT}").json()
    assert view["class_ids"] == list(CLASS_IDS)
    assert (view["version"], view["tile_px"]) == (1, 64)


def test_each_sample_of_a_batch_gets_one_proposal_with_its_mask_stored(
    driver: Driver, grey_steps_HWC: NDArray[np.uint8]
) -> None:
    driver.promote()
    samples = [driver.storage.add(grey_steps_HWC), driver.storage.add(255 - grey_steps_HWC[:50, :77])]
    driver.choose(samples)
    driver.work()
    ready = driver.outbox(PredictionReady)
    assert [r.sample_id for r in ready] == [s.sample_id for s in samples]
    assert {r.batch_id for r in ready} == {"bat_0001"}
    labels_HW, provenance = driver.storage.stored[ready[0].mask_id]
    assert labels_HW.shape == (96, 120)
    assert labels_HW.dtype == np.uint8
    assert (labels_HW[:, :40] == 3).all()
    assert (labels_HW[:, 40:80] == 7).all()
    assert (labels_HW[:, 80:] == 9).all()
    assert (provenance.source, provenance.actor) == ("prediction", "mdl_test0001")
    assert provenance.sample_id == samples[0].sample_id
    assert [c.class_id for c in ready[0].classes] == [3, 7, 9]
    assert sum(c.share for c in ready[0].classes) == 1.0
    assert abs(np.linalg.norm(ready[0].embedding) - 1.0) < 1e-6
    assert 0.0 < ready[0].entropy_mean < 0.2
    assert 0.9 < ready[0].margin_mean < 1.0
