"""What the README tells a newcomer to type works, in its order."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from terrazzo.cli.main import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def first_ten_minutes() -> str:
    section = README.split("## The first ten minutes")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.S)[0]


def commands() -> list[list[str]]:
    """The `terrazzo` lines, as words; comments and the server that the test starts itself left out."""
    lines = [line for line in first_ten_minutes().splitlines() if line.startswith("terrazzo ")]
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] for w in words if w[1] != "up"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path/to/images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 90, (96, 96, 3), dtype=np.uint8)
        pixels[20:60, 20 + number : 70] += 120
        Image.fromarray(pixels).save(tmp_path / "path/to/images" / f"{number}.png")
    labels = np.ones((96, 96), np.uint8)
    labels[20:60, 25:70] = 2
    Image.fromarray(labels).save(tmp_path / "mask.png")
    (tmp_path / "ontology.yaml").write_text(re.findall(r"<<'YAML'\n(.*?)YAML", README, re.S)[0])
    return tmp_path


def call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    code = run([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, f"terrazzo {shlex.join(arguments)}: {captured.err}"
    return json.loads(captured.out)


def wait_for(look: Any) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_first_ten_minutes_work_as_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "terrazzo", "up", "--json", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    server.stdout.readline()
    known: dict[str, str] = {}
    try:
        for words in commands():
            arguments = [known.get(word, word) for word in words]
            if words[0] == "train":
                # Fewer and smaller steps than the newcomer's: the command is what is tested, not the patience.
                arguments += ["--set", "steps_per_epoch=1", "--set", "crop_px=32", "--set", "batch_size=2"]
            if words[:2] == ["dataset", "commit"]:
                progress = ["project", "progress", known["PROJECT"]]
                wait_for(lambda p=progress: call(p, capsys)["samples"].get("labelled", 0) >= 1)
            answer = call(arguments, capsys)
            if words[:2] == ["project", "create"]:
                known["PROJECT"] = answer["project_id"]
            if words[0] == "ingest":
                progress = ["project", "progress", known["PROJECT"]]
                wait_for(lambda p=progress: sum(call(p, capsys)["samples"].values()) >= 12)
            if words[:2] == ["tasks", "lease"]:
                # The first tasks may want several people; take one that this person can finish alone.
                while answer["lease"]["task"]["redundancy"] != 1:
                    answer = call(arguments, capsys)
                known["TASK"] = answer["lease"]["task"]["task_id"]
                known["LEASE"] = answer["lease"]["lease_id"]
            if words[0] == "train":
                assert answer["state"] == "succeeded"
                assert call(["models", "promote", answer["model_id"]], capsys)["promoted"]
    finally:
        server.terminate()
        server.wait(30)


def test_the_two_commands_are_targets_of_the_makefile_and_of_ci() -> None:
    makefile = (ROOT / "Makefile").read_text()
    ci = (ROOT / ".ci" / "run").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, re.M)
        assert f"make {target}" in ci
