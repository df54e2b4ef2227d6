"""The `terrazzo` command against a running system: exit codes, one-line errors, JSON everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from terrazzo.cli.main import run

ONTOLOGY = "name: two\nclasses:\n  - {id: 1, name: ground}\n  - {id: 2, name: thing}\n"


@dataclass
class Server:
    url: str
    key: str
    pid: int
    seconds_to_first_answer: float
    data_dir: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("up") / "data"
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "terrazzo", "up", "--json", "--port", "0", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    announced = json.loads(process.stdout.readline())
    yield Server(announced["url"], announced["key"], process.pid, time.monotonic() - start, data_dir)
    process.terminate()
    assert process.wait(30) is not None


@pytest.fixture
def cli(server: Server, capsys: pytest.CaptureFixture[str]) -> Any:
    """`cli("project", "list")` -> (exit code, parsed JSON or None, stderr)."""

    def call(*arguments: str) -> tuple[int, Any, str]:
        code = run([*arguments, "--json", "--url", server.url, "--key", server.key])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out.strip() else None, captured.err

    return call


@pytest.fixture
def project_id(cli: Any, tmp_path: Path) -> str:
    ontology = tmp_path / "ontology.yaml"
    ontology.write_text(ONTOLOGY)
    code, view, _ = cli("project", "create", "cli", "--ontology", str(ontology), "--held-out-percent", "0")
    assert code == 0
    return str(view["project_id"])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_all_five_services_answer_soon_and_stay_small(server: Server) -> None:
    # The promise is 3 s and 400 MiB on two free cores; a loaded machine gets more time, not more memory.
    limit_s = 3.0 if (os.getloadavg()[0] < 1.0) else 20.0
    assert server.seconds_to_first_answer < limit_s
    time.sleep(1.0)
    assert psutil.Process(server.pid).memory_info().rss < 400 * 2**20


def test_a_broken_image_is_reported_and_the_others_are_taken(cli: Any, project_id: str, images: Path) -> None:
    (images / "broken.png").write_bytes((images / "0.png").read_bytes()[:100])
    (images / "copy.png").write_bytes((images / "0.png").read_bytes())
    code, report, _ = cli("ingest", project_id, str(images))
    assert code == 1
    assert (report["num_new"], report["num_linked"]) == (3, 1)
    assert [item["file"] for item in report["skipped"]] == ["broken.png"]


def test_a_person_can_label_and_commit_from_the_command_line(
    cli: Any, project_id: str, images: Path, tmp_path: Path
) -> None:
    assert cli("ingest", project_id, str(images))[0] == 0
    deadline = time.monotonic() + 20
    while cli("project", "progress", project_id)[1]["samples"].get("unlabelled", 0) < 3:
        assert time.monotonic() < deadline
    code, batch, _ = cli("tasks", "batch", project_id, "--size", "2", "--choose", "random")
    assert (code, len(batch["sample_ids"])) == (0, 2)
    for number in range(batch["num_tasks"] * 3):
        _, held, _ = cli("tasks", "lease", project_id, "--out", str(tmp_path / "work"))
        if held is None:
            break
        labels = np.ones((40, 60), np.uint8)
        labels[5:20, 5 : 20 + number] = 2
        mask = tmp_path / f"mask-{number}.png"
        Image.fromarray(labels).save(mask)
        task_id = held["lease"]["task"]["task_id"]
        answer = cli(
            "submit", project_id, task_id, held["lease"]["lease_id"], "--mask", str(mask), "--seconds", "30"
        )
        assert answer[0] == 0
        again = cli(
            "submit", project_id, task_id, held["lease"]["lease_id"], "--mask", str(mask), "--seconds", "30"
        )
        assert again[1]["submission_id"] == answer[1]["submission_id"], "the same submission twice is one"
    # One of the two wanted three annotators and this key is one person, so one sample is accepted.
    deadline = time.monotonic() + 20
    while cli("project", "progress", project_id)[1]["samples"].get("labelled", 0) < 1:
        assert time.monotonic() < deadline
    code, commit, _ = cli("dataset", "commit", project_id, "-m", "first")
    while code != 0 and time.monotonic() < deadline:
        code, commit, _ = cli("dataset", "commit", project_id, "-m", "first")
    assert commit["num_samples"] == 1
    assert [c["message"] for c in cli("dataset", "log", project_id)[1]] == ["first"]
    assert cli("dataset", "tag", project_id, "v1")[0] == 0
    assert cli("dataset", "show", project_id, "v1")[1]["commit_id"] == commit["commit_id"]
    archive = tmp_path / "v1.zip"
    assert cli("dataset", "export", project_id, str(archive), "--ref", "v1")[0] == 0
    assert archive.stat().st_size > 200


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["project", "progress", "prj_nowhere000"], 3, "prj_nowhere000"),
        (["dataset", "show", "prj_nowhere000"], 3, "prj_nowhere000"),
        (["models", "show", "mdl_nowhere000"], 3, "mdl_nowhere000"),
        (["ingest", "prj_nowhere000", "/nowhere/at/all"], 3, "no images"),
        (["train", "prj_nowhere000", "--set", "epochs"], 1, "no '='"),
        (["events", "replay", "evt_nowhere000"], 1, ""),
    ],
)
def test_an_error_is_one_clear_line_and_an_exit_code(cli: Any, arguments: list[str], code: int, said: str) -> None:
    answered, _, errors = cli(*arguments)
    assert answered == code
    assert said in errors
    assert len(errors.strip().splitlines()) <= 1
    assert "Traceback" not in errors


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "list"]) == 2
    assert run(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_a_server_that_is_not_there_exits_with_6(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["project", "list", "--url", "http://127.0.0.1:9", "--key", "tz_x"]) == 6
    assert run(["project", "list", "--data-dir", str(tmp_path)]) == 6
    assert "terrazzo up" in capsys.readouterr().err


def test_a_wrong_key_exits_with_4(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["project", "list", "--url", server.url, "--key", "tz_wrong"]) == 4


def test_two_systems_on_one_data_folder_are_refused(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "--port", "0", "--data-dir", str(server.data_dir)]) == 5
    assert "another process" in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    port = server.url.rsplit(":", 1)[1]
    assert run(["up", "--port", port, "--data-dir", str(tmp_path)]) == 5
    assert "--port" in capsys.readouterr().err


def test_doctor_is_content_with_a_sound_system(cli: Any) -> None:
    code, checks, _ = cli("doctor")
    assert code == 0
    assert {f"service {s}" for s in ("task", "mask_storage", "inference", "qa", "training")} <= {
        check["name"] for check in checks
    }


def test_generate_draws_the_same_scenes_from_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        assert (
            run(["generate", str(tmp_path / name), "--count", "2", "--height", "64", "--width", "96", "--json"])
            == 0
        )
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.png"))
    assert len(files) == 4
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
