"""A launcher without processes, and a mask storage that knows a few refs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from terrazzo_client import NotFound
from terrazzo_schema.rest.base import Problem
from terrazzo_training.domain.reports import LAUNCHED_LINE
from terrazzo_training.ports import Job, Results, UnreadableResults

METRICS = {
    "schema": 1,
    "num_images": 3,
    "miou": 0.5,
    "pixel_accuracy": 0.9,
    "iou_per_class": {"1": 0.7, "3": 0.3, "4": None},
    "levels": [{"depth": 0, "miou": 0.8}, {"depth": 1, "miou": 0.5}],
    "confusion": {"class_ids": [1, 3, 4], "matrix": [[7, 1, 0], [1, 2, 0], [0, 0, 0]]},
}


class ScriptedLauncher:
    """Does what a test says: `say` reports, `end` with a status. What it was told survives `forget`, as a
    run's folder survives the process."""

    code_version = "terrazzo 0, trainer test"

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.jobs: list[Job] = []
        self.stopped: list[str] = []
        self.discarded: list[str] = []
        self.miou: float | None = 0.5
        self._output: dict[str, str] = {}
        self._exits: dict[str, int | None] = {}
        self.error: OSError | None = None

    # --- the port
    def start(self, job: Job) -> None:
        if self.error is not None:
            raise self.error
        self.jobs.append(job)
        self._output[job.run_id] = self._output.get(job.run_id, "") + LAUNCHED_LINE + "\n"
        self._exits[job.run_id] = None

    def exit_code(self, run_id: str) -> int | None:
        return self._exits[run_id]

    def lines(self, run_id: str, offset: int) -> tuple[list[str], int]:
        text = self._output.get(run_id, "")
        return text[offset:].splitlines(), len(text)

    def log(self, run_id: str) -> str:
        return self._output.get(run_id, "")

    def live(self) -> list[str]:
        return [run_id for run_id, status in self._exits.items() if status is None]

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)
        self._exits[run_id] = 75

    def results(self, run_id: str) -> Results:
        if self.miou == -1:
            raise UnreadableResults("no metrics.json")
        folder = self.tmp_path / run_id / "repository" / "name" / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pt").write_bytes(b"model of " + run_id.encode())
        (folder.parent / "config.pbtxt").write_text("name")
        return Results({**METRICS, "miou": self.miou}, b"weights of " + run_id.encode(), folder)

    def discard(self, run_id: str) -> None:
        self.discarded.append(run_id)

    # --- the test's side
    def say(self, **report: Any) -> None:
        self._output[self.jobs[-1].run_id] += json.dumps(report) + "\n"

    def epoch(self, number: int, loss: float = 1.0) -> None:
        self.say(event="epoch", epoch=number, epochs=3, loss=loss, lr=0.01, seconds=0.5)

    def end(self, status: int) -> None:
        self._exits[self.jobs[-1].run_id] = status

    def finish(self) -> None:
        self.say(event="finished", miou=self.miou)
        self.end(0)

    def forget(self) -> None:
        """As a new process would be: it has started nothing."""
        self._exits.clear()


class MaskStorage:
    """The peer: `commits` maps a ref to a commit id."""

    def __init__(self) -> None:
        self.commits = {"main": "a" * 64, "held-out": "b" * 64}
        self.error: Exception | None = None
        self.datasets = SimpleNamespace(show=self._show)

    def client(self, service: str, organisation_id: str) -> Any:
        assert service == "training"
        return self

    def _show(self, project_id: str, ref: str) -> Any:
        if self.error is not None:
            raise self.error
        if ref not in self.commits:
            raise problem(404, "not-found", f"no commit, branch or tag {ref!r}")
        return SimpleNamespace(commit_id=self.commits[ref])


def problem(status: int, slug: str, detail: str) -> NotFound:
    return NotFound(Problem(type=f"https://terrazzo.dev/problems/{slug}", title="T", status=status, detail=detail))
