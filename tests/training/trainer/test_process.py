"""The trainer as a process: exit statuses, signals, being killed, and two processes that act as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import FolderSource
from terrazzo_training.trainer.processes import Processes
from terrazzo_training.trainer.run import run

Make = Callable[..., RunConfig]
_ALONE = Processes(rank=0, world=1, device=torch.device("cpu"))


def _command(config: RunConfig, folder: Path, out: Path, *, launcher: tuple[str, ...] = ()) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "run.json"
    path.write_text(json.dumps(config.to_dict()))
    return [sys.executable, *launcher, "-m", "terrazzo_training.trainer", "--config", str(path), "--out", str(out),
            "--images", str(folder / "images"), "--labels", str(folder / "labels")]  # fmt: skip


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _run(command: list[str], timeout: float = 100) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=_environment(), timeout=timeout, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def _weights(out: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(out / "weights.pt", weights_only=True)["weights"]
    return weights


def _here(config: RunConfig, folder: Path, out: Path) -> list[dict[str, Any]]:
    """Run in this process, on one thread, from the same files as the processes under test."""
    events: list[dict[str, Any]] = []
    source = FolderSource(folder / "images", folder / "labels")
    run(config, source, None, out=out, processes=_ALONE, emit=events.append, stop=Event())
    return events


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_trainer_resumes_to_the_same_weights(
    make_config: Make, shapes_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config = make_config(epochs=30, steps_per_epoch=1, crop_px=32, checkpoint_every_steps=2, num_threads=1)
    halved = tmp_path / "halved"
    with subprocess.Popen(
        _command(config, shapes_folder, halved), stdout=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("epoch") == 5:
                process.send_signal(number)
                break
        rest = process.stdout.read()
    assert process.returncode == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    if number == signal.SIGTERM:
        assert json.loads(rest.splitlines()[-1])["error"] == "Interrupted"
    assert not (halved / "weights.pt").exists()

    events = _here(config, shapes_folder, halved)
    assert events[1]["event"] == "resumed"
    assert 4 <= events[1]["step"] < 30
    _here(config, shapes_folder, tmp_path / "whole")
    whole, resumed = _weights(tmp_path / "whole"), _weights(halved)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_two_processes_learn_what_one_process_learns(
    make_config: Make, shapes_folder: Path, tmp_path: Path
) -> None:
    """The same four crops a step, in one process or two in each of two; sums differ in rounding only."""
    config = make_config(epochs=1, steps_per_epoch=4, crop_px=32, dtype="float64", num_threads=1)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    status, two, message = _run(_command(config, shapes_folder, tmp_path / "two", launcher=torchrun))
    assert status == 0, message
    one = _here(config, shapes_folder, tmp_path / "one")
    assert two[0]["processes"] == 2
    assert two[1]["loss"] == pytest.approx(one[1]["loss"], rel=1e-9)
    assert two[-1]["miou"] == pytest.approx(one[-1]["miou"], abs=1e-6)
    ours, theirs = _weights(tmp_path / "one"), _weights(tmp_path / "two")
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-9), name


def test_a_wrong_configuration_exits_with_2_and_says_why(
    make_config: Make, shapes_folder: Path, tmp_path: Path
) -> None:
    command = _command(make_config(), shapes_folder, tmp_path)
    fields = json.loads((tmp_path / "run.json").read_text()) | {"epochs": 0}
    (tmp_path / "run.json").write_text(json.dumps(fields))
    status, events, message = _run(command)
    assert status == 2
    assert events == [
        {
            "event": "failed",
            "error": "ConfigError",
            "message": "epochs = 0: must be between 1 and 1e+06",
            "exit": 2,
        }
    ]
    assert "epochs = 0" in message
    assert "Traceback" not in message


def test_the_trainer_does_not_import_the_service_around_it() -> None:
    probe = (
        "import sys, terrazzo_training.trainer.__main__ as m\n"
        "own = sorted(n for n in sys.modules if n.startswith('terrazzo_'))\n"
        "allowed = ('terrazzo_training.trainer', 'terrazzo_schema', 'terrazzo_masks')\n"
        "print([n for n in own if not n.startswith(allowed)])\n"
        "print([n for n in ('fastapi', 'sqlalchemy', 'cv2', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, env=_environment(), check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["['terrazzo_training']", "[]"]
