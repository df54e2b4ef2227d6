"""`terrazzo simulate`, whole and small: the loop closes, nothing leaks, and the same seed does the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from terrazzo.cli.main import run
from terrazzo.simulation.summary import strip_volatile, validate

TINY = ["--set", "epochs=1", "--set", "steps_per_epoch=2", "--set", "crop_px=64", "--set", "num_threads=1"]


def simulate(out: Path, *more: str) -> dict[str, Any]:
    code = run(
        ["simulate", "--out", str(out), "--rounds", "2", "--batch", "3", "--seed", "5", "--json", *TINY, *more]
    )
    assert code == 0
    document: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks of different sizes and kinds: palette PNG, 8-bit TIFF, values 0, 7 and 255 (unlabelled)."""
    root = tmp_path_factory.mktemp("world")
    (root / "images").mkdir()
    (root / "truth").mkdir()
    rng = np.random.default_rng(0)
    for number in range(16):
        height, width = 90 + 7 * number, 120 + 5 * number
        truth = np.zeros((height, width), np.uint8)
        truth[20 : 50 + number, 30:80] = 7
        truth[:5] = 255
        image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        image[truth == 7] += 150
        Image.fromarray(image).save(root / "images" / f"{number:02}.png")
        mask = Image.fromarray(truth)
        if number % 2:
            mask.save(root / "truth" / f"{number:02}.tif")
        else:
            mask.putpalette([0, 0, 0] * 256)
            mask.save(root / "truth" / f"{number:02}.png")
    return root


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_loop_closes_on_a_folder_without_ontology_and_the_same_seed_does_the_same(
    folder: Path, tmp_path: Path
) -> None:
    given = ["--images", str(folder / "images"), "--truth", str(folder / "truth")]
    first, second = simulate(tmp_path / "a", *given), simulate(tmp_path / "b", *given)
    validate(first)
    assert strip_volatile(first) == strip_volatile(second)
    assert [c["name"] for c in first["classes"]] == ["value-0", "value-7"]
    assert first["num_samples"] == 16
    assert first["num_pool"] + first["num_held_out"] == 16
    totals = first["totals"]
    assert (totals["tasks_leaked"], totals["duplicate_submissions"], totals["dead_letters"]) == (0, 0, 0)
    assert [r["num_labelled_total"] for r in first["rounds"]] == [3, 6]
    assert not set(first["rounds"][0]["sample_ids"]) & set(first["rounds"][1]["sample_ids"])
    assert all(r["commit_id"] and r["model_miou"] is not None for r in first["rounds"])
    assert all(r["num_multi_annotated"] >= 1 and r["num_audited"] >= 1 for r in first["rounds"])
    report = (tmp_path / "a" / "report.html").read_text()
    assert "<svg" in report
    assert (tmp_path / "a" / "overview.png").stat().st_size > 10_000


def test_a_value_that_no_class_claims_stops_the_run_and_names_file_value_and_pixel(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ontology = tmp_path / "ontology.yaml"
    ontology.write_text("name: n\nunlabelled: [255]\nclasses: [{id: 1, name: ground, value: 0}]\n")
    given = ["--images", str(folder / "images"), "--truth", str(folder / "truth"), "--ontology", str(ontology)]
    assert run(["simulate", "--out", str(tmp_path / "out"), *given]) == 1
    said = capsys.readouterr().err
    assert "00.png" in said
    assert "value 7" in said
    assert "y=20, x=30" in said


def test_images_without_truth_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "--out", str(tmp_path / "out"), "--images", str(folder / "images")]) == 1
    assert "--truth" in capsys.readouterr().err


def test_an_earlier_run_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert run(["simulate", "--out", str(tmp_path)]) == 1
    assert "earlier run" in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_a_run_that_is_asked_to_end_leaves_no_process_behind(folder: Path, tmp_path: Path) -> None:
    given = ["--images", str(folder / "images"), "--truth", str(folder / "truth"), "--out", str(tmp_path)]
    run_ = psutil.Popen(
        [sys.executable, "-m", "terrazzo", "simulate", *given], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert run_.stderr is not None
    assert any(b"round 1" in line for line in run_.stderr), "the loop began"
    system = run_.children(recursive=True)
    assert system
    run_.terminate()
    run_.stderr.read()
    assert run_.wait(60) == 128 + signal.SIGTERM
    assert psutil.wait_procs(system, timeout=10)[1] == []
