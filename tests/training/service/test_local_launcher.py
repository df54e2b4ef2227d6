"""Real processes, with a small script in the trainer's place."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from terrazzo_training.adapters.local_launcher import LocalLauncher
from terrazzo_training.adapters.model_files import FolderRepository
from terrazzo_training.ports import Job, UnreadableResults

TRAINER = """
import json, os, signal, sys, time
out = sys.argv[sys.argv.index("--out") + 1]
config = json.load(open(sys.argv[sys.argv.index("--config") + 1]))
def stop(*_):
    print(json.dumps({"event": "failed", "error": "Interrupted", "message": "", "exit": 75}), flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, signal.SIG_IGN if config.get("stubborn") else stop)
with open(out + "/starts", "a") as file:
    print(os.getpid(), file=file)
print(json.dumps({"event": "epoch", "epoch": 1, "loss": 1.0, "lr": 0.1, "seconds": 0.1,
                  "url": os.environ["TERRAZZO_URL"], "key": os.environ["TERRAZZO_KEY"],
                  "threads": config.get("num_threads"), "init_from": config.get("init_from")}), flush=True)
print("a word on stderr", file=sys.stderr, flush=True)
time.sleep(config["sleep_s"])
sys.exit(config["status"])
"""


@pytest.fixture
def launcher(tmp_path):
    (tmp_path / "trainer.py").write_text(TRAINER)
    launcher = LocalLauncher(
        tmp_path / "runs", num_threads=3, grace_s=0.5, command=[sys.executable, "-S", str(tmp_path / "trainer.py")]
    )
    yield launcher
    launcher.close()


def job(sleep_s=0.0, status=0, init_weights=None, **config):
    config = {"sleep_s": sleep_s, "status": status, "model_name": "seg-p", "model_version": 1, **config}
    return Job("run_00000001", config, init_weights, "http://storage", "tz_secret")


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(") ", 1)[1][0] != "Z"


def starts(tmp_path):
    path = tmp_path / "runs" / "run_00000001" / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_the_trainer_gets_config_address_key_threads_and_weights(launcher, tmp_path):
    launcher.start(job(status=3, init_weights=b"weights"))
    until(lambda: launcher.exit_code("run_00000001") is not None)
    assert launcher.exit_code("run_00000001") == 3
    lines, offset = launcher.lines("run_00000001", 0)
    report = json.loads(lines[-1])
    assert (report["url"], report["key"], report["threads"]) == ("http://storage", "tz_secret", 3)
    with open(report["init_from"], "rb") as file:
        assert file.read() == b"weights"
    assert launcher.lines("run_00000001", offset) == ([], offset)
    assert launcher.log("run_00000001").endswith("a word on stderr\n")
    # The key is in no file of the run.
    for path in (tmp_path / "runs").rglob("run.json"):
        assert "tz_secret" not in path.read_text()


def test_a_line_that_is_not_complete_is_left_for_later(launcher, tmp_path):
    folder = tmp_path / "runs" / "run_00000001"
    folder.mkdir(parents=True)
    (folder / "stdout.jsonl").write_text('{"event": "epoch"}\n{"event"')
    lines, offset = launcher.lines("run_00000001", 0)
    assert (lines, offset) == (['{"event": "epoch"}'], 19)


def test_stop_lets_it_write_its_checkpoint(launcher, tmp_path):
    launcher.start(job(sleep_s=60))
    until(lambda: starts(tmp_path))
    assert launcher.live() == ["run_00000001"]
    launcher.stop("run_00000001")
    until(lambda: launcher.live() == [])
    assert launcher.exit_code("run_00000001") == 75


def test_one_that_does_not_want_to_stop_is_killed(launcher, tmp_path):
    launcher.start(job(sleep_s=60, stubborn=True))
    until(lambda: starts(tmp_path))
    until(lambda: launcher.stop("run_00000001") or launcher.live() == [])
    assert launcher.exit_code("run_00000001") == -9
    assert not is_alive(starts(tmp_path)[0])


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_run_is_never_trained_by_two(launcher, tmp_path, stubborn):
    launcher.start(job(sleep_s=60, stubborn=stubborn))
    until(lambda: starts(tmp_path))
    # Another process of the service, which knows only the files.
    second = LocalLauncher(tmp_path / "runs", grace_s=0.5, command=launcher._command)
    second.start(job(sleep_s=60))
    until(lambda: len(starts(tmp_path)) == 2)
    assert not is_alive(starts(tmp_path)[0])
    assert is_alive(starts(tmp_path)[1])
    second.close()
    assert not is_alive(starts(tmp_path)[1])


def test_a_trainer_does_not_outlive_a_killed_service(launcher, tmp_path):
    script = tmp_path / "service.py"
    script.write_text(
        textwrap.dedent(f"""
        import time
        from pathlib import Path
        from terrazzo_training.adapters.local_launcher import LocalLauncher
        from terrazzo_training.ports import Job
        launcher = LocalLauncher(Path({str(tmp_path / "runs")!r}), command={launcher._command!r})
        launcher.start(Job("run_00000001", {{"sleep_s": 60, "status": 0}}, None, "u", "k"))
        time.sleep(60)
        """)
    )
    service = subprocess.Popen([sys.executable, str(script)])
    until(lambda: starts(tmp_path))
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    until(lambda: not is_alive(starts(tmp_path)[0]))
    lines, _ = launcher.lines("run_00000001", 0)
    assert json.loads(lines[-1])["exit"] == 75


def test_an_unknown_run_is_a_key_error_and_has_no_log(launcher):
    with pytest.raises(KeyError):
        launcher.exit_code("run_00000009")
    assert launcher.log("run_00000009") == ""
    launcher.stop("run_00000009")


def test_results_are_read_and_discarded(launcher, tmp_path):
    folder = tmp_path / "runs" / "run_00000001"
    version = folder / "repository" / "seg-p" / "1"
    version.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"model_name": "seg-p", "model_version": 1}))
    with pytest.raises(UnreadableResults, match="metrics"):
        launcher.results("run_00000001")
    (folder / "metrics.json").write_text("{}")
    (folder / "weights.pt").write_bytes(b"w")
    with pytest.raises(UnreadableResults, match="no exported model"):
        launcher.results("run_00000001")
    (version / "model.pt").write_bytes(b"m")
    assert launcher.results("run_00000001").weights == b"w"
    launcher.discard("run_00000001")
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "run.json"]


def test_the_code_version_names_release_and_sources(launcher):
    assert launcher.code_version == launcher.code_version
    assert "trainer" in launcher.code_version


def test_publishing_the_same_version_again_replaces_it(tmp_path):
    exported = tmp_path / "exported" / "1"
    exported.mkdir(parents=True)
    (exported.parent / "config.pbtxt").write_text("c")
    repository = FolderRepository(tmp_path / "models")
    for content in (b"first", b"second"):
        (exported / "model.pt").write_bytes(content)
        repository.publish("seg-p", 4, exported)
    assert (tmp_path / "models" / "seg-p" / "4" / "model.pt").read_bytes() == b"second"
    assert sorted(path.name for path in (tmp_path / "models" / "seg-p").iterdir()) == ["4", "config.pbtxt"]
