"""What every ModelRuntime does, checked of the in-process runtime and of the tests' fake."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from inference_doubles import BrightnessModel, FakeRuntime, put_version

from terrazzo_inference.adapters.in_process_runtime import InProcessRuntime
from terrazzo_inference.domain.errors import BadModel, BadOutput, ModelMissing, NotLoaded
from terrazzo_inference.ports import ModelRuntime

DARK_IS_FIRST = (0.0, 255.0)
LIGHT_IS_FIRST = (255.0, 0.0)


@dataclass
class Bench:
    """A runtime, and how its repository gets a version of a brightness model."""

    runtime: ModelRuntime
    put: Callable[[str, int, Sequence[int], Sequence[float]], object]


@pytest.fixture(params=["in-process", "fake"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "fake":
        fake = FakeRuntime()
        return Bench(fake, fake.put)

    def put(model_name: str, version: int, class_ids: Sequence[int], greys: Sequence[float]) -> None:
        put_version(tmp_path, model_name, version, class_ids=class_ids, model=BrightnessModel(greys))

    return Bench(InProcessRuntime(tmp_path, threads=1), put)


def dark(num_images: int = 1, height: int = 16, width: int = 32) -> np.ndarray:
    return np.full((num_images, 3, height, width), 10.0, dtype=np.float32)


def test_a_loaded_model_tells_what_it_is_and_answers(bench: Bench) -> None:
    bench.put("seg-a", 1, (4, 2), DARK_IS_FIRST)
    description = bench.runtime.load("seg-a", 1)
    assert description == bench.runtime.metadata("seg-a", 1)
    assert description.class_ids == (4, 2)
    assert (description.tile_px, description.overlap_px, description.stride_px) == (64, 16, 16)
    logits_NKHW, embedding_ND = bench.runtime.infer("seg-a", 1, dark(2, 32, 48))
    assert logits_NKHW.shape == (2, 2, 32, 48)
    assert embedding_ND.shape == (2, description.embedding_dim)
    assert logits_NKHW.dtype == embedding_ND.dtype == np.float32
    np.testing.assert_allclose(logits_NKHW[:, 0], -10.0 / 16.0, rtol=1e-6)
    np.testing.assert_allclose(logits_NKHW[:, 1], -245.0 / 16.0, rtol=1e-6)
    np.testing.assert_allclose(embedding_ND, 11.0, rtol=1e-6)


def test_loading_twice_is_loading_once(bench: Bench) -> None:
    bench.put("seg-a", 1, (1, 2), DARK_IS_FIRST)
    assert bench.runtime.load("seg-a", 1) == bench.runtime.load("seg-a", 1)
    assert bench.runtime.loaded() == [("seg-a", 1)]
    bench.runtime.unload("seg-a", 1)
    assert bench.runtime.loaded() == []


def test_two_versions_answer_side_by_side(bench: Bench) -> None:
    bench.put("seg-a", 1, (1, 2), DARK_IS_FIRST)
    bench.put("seg-a", 2, (1, 2), LIGHT_IS_FIRST)
    bench.runtime.load("seg-a", 2)
    bench.runtime.load("seg-a", 1)
    assert bench.runtime.loaded() == [("seg-a", 1), ("seg-a", 2)]
    winners = [int(bench.runtime.infer("seg-a", v, dark())[0][0, :, 0, 0].argmax()) for v in (1, 2)]
    assert winners == [0, 1]


def test_what_is_not_loaded_does_not_answer(bench: Bench) -> None:
    bench.put("seg-a", 1, (1, 2), DARK_IS_FIRST)
    with pytest.raises(NotLoaded):
        bench.runtime.infer("seg-a", 1, dark())
    with pytest.raises(NotLoaded):
        bench.runtime.metadata("seg-a", 1)
    bench.runtime.load("seg-a", 1)
    bench.runtime.unload("seg-a", 1)
    bench.runtime.unload("seg-a", 1)  # again: nothing
    with pytest.raises(NotLoaded):
        bench.runtime.infer("seg-a", 1, dark())


def test_a_version_that_is_not_there_is_missing_and_may_come_later(bench: Bench) -> None:
    with pytest.raises(ModelMissing):
        bench.runtime.load("seg-a", 1)
    bench.put("seg-a", 1, (1, 2), DARK_IS_FIRST)
    assert bench.runtime.load("seg-a", 1).class_ids == (1, 2)


def test_a_model_of_the_wrong_make_is_refused_and_the_loaded_one_stays(bench: Bench) -> None:
    bench.put("seg-a", 1, (1, 2), DARK_IS_FIRST)
    bench.put("seg-a", 2, (1, 2, 3), DARK_IS_FIRST)  # three classes, two channels
    bench.runtime.load("seg-a", 1)
    with pytest.raises(BadModel, match=r"3 classes"):
        bench.runtime.load("seg-a", 2)
    assert bench.runtime.loaded() == [("seg-a", 1)]
    bench.runtime.infer("seg-a", 1, dark())


@pytest.mark.parametrize("name", ["../seg", "a/b", "", ".hidden", "a\0b", "a\n"])
def test_a_name_that_is_no_folder_name_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(BadModel):
        bench.runtime.load(name, 1)


def test_an_input_that_the_model_fails_on_is_a_bad_output(bench: Bench) -> None:
    bench.put("seg-a", 1, (1, 2), DARK_IS_FIRST)
    bench.runtime.load("seg-a", 1)
    with pytest.raises(BadOutput):
        bench.runtime.infer("seg-a", 1, np.zeros((1, 0, 16, 16), dtype=np.float32))


def test_no_request_that_has_begun_fails_while_versions_come_and_go(bench: Bench) -> None:
    """Threads ask the newest version without a pause, while it is replaced again and again."""
    num_versions = 12
    for version in range(1, num_versions + 1):
        bench.put("seg-a", version, (1, 2), (0.0, 16.0 * version))
    bench.runtime.load("seg-a", 1)
    newest, done = [1], threading.Event()

    def ask() -> int:
        num_answers = 0
        while not done.is_set():
            version = newest[0]
            try:
                logits_NKHW, _ = bench.runtime.infer("seg-a", version, dark(4, 64, 64))
            except NotLoaded:
                assert version != newest[0], "the newest version must always answer"
                continue
            expected = -abs(10.0 - 16.0 * version) / 16.0
            np.testing.assert_allclose(logits_NKHW[:, 1], expected, rtol=1e-5)
            num_answers += 1
        return num_answers

    with ThreadPoolExecutor(4) as threads:
        askers = [threads.submit(ask) for _ in range(4)]
        for version in range(2, num_versions + 1):
            bench.runtime.load("seg-a", version)
            newest[0] = version
            bench.runtime.unload("seg-a", version - 1)
        done.set()
        assert sum(asker.result(timeout=30) for asker in askers) > 0
    assert bench.runtime.loaded() == [("seg-a", num_versions)]


def test_every_thread_that_computes_keeps_to_the_thread_limit(tmp_path: Path) -> None:
    import torch

    put_version(tmp_path, "seg-a", 1, class_ids=(1, 2))
    runtime = InProcessRuntime(tmp_path, threads=1)
    with ThreadPoolExecutor(1) as early:
        early.submit(torch.set_num_threads, 2).result()  # this thread had its own number before
        runtime.load("seg-a", 1)
        early.submit(runtime.infer, "seg-a", 1, dark()).result()
        assert early.submit(torch.get_num_threads).result() == 1


def test_an_idle_service_has_not_imported_torch() -> None:
    heavy = "{'torch', 'PIL', 'cv2', 'scipy'} & set(sys.modules)"
    code = f"import sys, terrazzo_inference.service; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
