"""Trainers as processes of this machine: one, or several under torchrun.

A run has a folder, which is also the trainer's --out:

    run.json        the trainer's configuration        init.pt       weights to start from
    stdout.jsonl    its reports, over all starts       stderr.log    the rest that it prints
    lock            held (flock) while any process of the run lives
    pid             leader of the run's process group
    checkpoint.pt, weights.pt, metrics.json, history.jsonl, repository/    what the trainer writes

The lock, not the pid, says whether a run is alive: it is inherited by the run's processes and goes
with the last of them, even when this process was killed and started again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from terrazzo_training.domain.reports import LAUNCHED_LINE
from terrazzo_training.ports import Job, Results, UnreadableResults

_LIFELINE = Path(__file__).with_name("lifeline.py")
_TRAINER = "terrazzo_training.trainer"
_LOG_BYTES = 256 * 1024


class LocalLauncher:
    """See `ports.JobLauncher`. `num_processes` per run; `num_threads` over all of them (0: all cores).

    `grace_s` is how long a trainer that was asked to end may take, before it is killed. `command`
    stands in for the trainer in tests.
    """

    def __init__(
        self,
        root: Path,
        *,
        num_processes: int = 1,
        num_threads: int = 0,
        grace_s: float = 30.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self._root = root
        self._num_processes = num_processes
        self._num_threads = num_threads
        self._grace_s = grace_s
        self._command = list(command) if command is not None else _trainer_command(num_processes)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._asked_at_s: dict[str, float] = {}

    @cached_property
    def code_version(self) -> str:
        """See `ports.JobLauncher`."""
        digest = hashlib.blake2b(digest_size=6)
        trainer = Path(__file__).parents[1] / "trainer"
        for path in sorted(trainer.rglob("*.py")):
            digest.update(path.relative_to(trainer).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return f"terrazzo {importlib.metadata.version('terrazzo')}, trainer {digest.hexdigest()}"

    def start(self, job: Job) -> None:
        """See `ports.JobLauncher`."""
        folder = self._folder(job.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        lock = self._lock(folder)
        try:
            config = dict(job.config)
            if self._num_threads and config.get("num_threads") is None:
                config["num_threads"] = max(1, self._num_threads // self._num_processes)
            if job.init_weights is not None:
                (folder / "init.pt").write_bytes(job.init_weights)
                config["init_from"] = str(folder / "init.pt")
            (folder / "run.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            with (folder / "stdout.jsonl").open("ab") as out, (folder / "stderr.log").open("ab") as errors:
                out.write(b"\n" + LAUNCHED_LINE.encode() + b"\n")  # a killed trainer may have left half a line
                out.flush()
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_LIFELINE), *self._command,
                     "--config", str(folder / "run.json"), "--out", str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=errors,
                    cwd=folder,
                    env=self._environment(job, os.environ),
                    pass_fds=(lock,),
                    start_new_session=True,
                )  # fmt: skip
        finally:
            os.close(lock)  # the run's own processes hold it now
        (folder / "pid").write_text(str(process.pid))
        self._processes[job.run_id] = process
        self._asked_at_s.pop(job.run_id, None)

    def exit_code(self, run_id: str) -> int | None:
        """See `ports.JobLauncher`."""
        return self._processes[run_id].poll()

    def lines(self, run_id: str, offset: int) -> tuple[list[str], int]:
        """See `ports.JobLauncher`."""
        try:
            with (self._folder(run_id) / "stdout.jsonl").open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        end = data.rfind(b"\n") + 1
        return data[:end].decode("utf-8", "replace").splitlines(), offset + end

    def log(self, run_id: str) -> str:
        """See `ports.JobLauncher`."""
        folder = self._folder(run_id)
        return _tail(folder / "stdout.jsonl") + _tail(folder / "stderr.log")

    def live(self) -> list[str]:
        """See `ports.JobLauncher`."""
        return [run_id for run_id, process in self._processes.items() if process.poll() is None]

    def stop(self, run_id: str) -> None:
        """See `ports.JobLauncher`."""
        process = self._processes.get(run_id)
        if process is None or process.poll() is not None:
            return
        asked_at_s = self._asked_at_s.setdefault(run_id, time.monotonic())
        if time.monotonic() - asked_at_s > self._grace_s:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.terminate()

    def results(self, run_id: str) -> Results:
        """See `ports.JobLauncher`."""
        folder = self._folder(run_id)
        try:
            config = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            version = folder / "repository" / config["model_name"] / str(config["model_version"])
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            weights = (folder / "weights.pt").read_bytes()
        except (OSError, ValueError, KeyError) as error:
            raise UnreadableResults(f"{type(error).__name__}: {error}") from error
        if not (version / "model.pt").is_file():
            raise UnreadableResults(f"no exported model: {version / 'model.pt'}")
        return Results(metrics, weights, version)

    def discard(self, run_id: str) -> None:
        """See `ports.JobLauncher`."""
        folder = self._folder(run_id)
        for name in ("checkpoint.pt", "init.pt", "weights.pt"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "repository", ignore_errors=True)

    def close(self) -> None:
        """End every trainer; each leaves a checkpoint, from which its run goes on at the next start."""
        for run_id in self.live():
            self.stop(run_id)
        deadline_s = time.monotonic() + self._grace_s
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def _folder(self, run_id: str) -> Path:
        return self._root / run_id

    def _lock(self, folder: Path) -> int:
        """The run's lock, as a file descriptor; ends what an earlier life left running."""
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        began_s, sent = time.monotonic(), 0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                waited_s = time.monotonic() - began_s
            if waited_s > self._grace_s + 10.0:
                os.close(lock)
                raise OSError(f"a process of an earlier start still holds {folder / 'lock'}")
            if sent == 0:
                _signal_group(folder, signal.SIGTERM)
                sent = 1
            elif sent == 1 and waited_s > self._grace_s:
                _signal_group(folder, signal.SIGKILL)
                sent = 2
            time.sleep(0.05)

    def _environment(self, job: Job, inherited: Mapping[str, str]) -> dict[str, str]:
        environment = {**inherited, "TERRAZZO_URL": job.url, "TERRAZZO_KEY": job.key, "PYTHONUNBUFFERED": "1"}
        if self._num_threads:
            environment["OMP_NUM_THREADS"] = str(max(1, self._num_threads // self._num_processes))
        return environment


def _trainer_command(num_processes: int) -> list[str]:
    if num_processes == 1:  # torchrun's own start costs seconds
        return [sys.executable, "-m", _TRAINER]
    count = f"--nproc-per-node={num_processes}"
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", count, "-m", _TRAINER]


def _signal_group(folder: Path, number: signal.Signals) -> None:
    """Signal the run's process group. While the lock is held, its id can't belong to another."""
    try:
        os.killpg(int((folder / "pid").read_text()), number)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return  # not written yet, or just gone: its lifeline ends it


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
