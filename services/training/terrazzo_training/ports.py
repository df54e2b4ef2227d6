"""What training asks of the outside: its tables, a launcher of trainers, the model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from terrazzo_training.domain.models import Model
from terrazzo_training.domain.project import Project
from terrazzo_training.domain.reports import EpochReport
from terrazzo_training.domain.runs import Run, State


class Store(Protocol):
    """The service's tables within one transaction."""

    def project(self, organisation_id: str, project_id: str) -> Project | None: ...

    def put_project(self, project: Project) -> None:
        """Add it, or replace what is known of it."""
        ...

    def add_run(self, run: Run) -> None: ...

    def run(self, organisation_id: str, run_id: str) -> Run | None: ...

    def runs(self, organisation_id: str, project_id: str | None, before: int | None, limit: int) -> list[Run]:
        """Newest first; `before`: only those with a smaller sequence."""
        ...

    def runs_in(self, state: State) -> list[Run]:
        """Of every organisation, oldest first: the work that there is."""
        ...

    def replace_run(self, run: Run) -> None: ...

    def epochs(self, run_ids: Sequence[str]) -> dict[str, list[EpochReport]]:
        """Per run, in order."""
        ...

    def add_epoch(self, run: Run, report: EpochReport) -> bool:
        """False when this epoch is there already (a resumed trainer says it again)."""
        ...

    def add_model(self, model: Model) -> None: ...

    def model(self, organisation_id: str, model_id: str) -> Model | None: ...

    def models(self, organisation_id: str, project_id: str | None, before: int | None, limit: int) -> list[Model]:
        """Newest first; `before`: only those with a smaller sequence."""
        ...

    def promoted_model(self, organisation_id: str, project_id: str) -> Model | None: ...

    def next_version(self, organisation_id: str, project_id: str) -> int:
        """One more than the project's newest model version; 1 at first."""
        ...

    def replace_model(self, model: Model) -> None: ...


@dataclass(frozen=True)
class Job:
    """A training to start. `config` is the trainer's; `init_weights` the bytes of a weights.pt; `url` and
    `key` are for reading the dataset."""

    run_id: str
    config: dict[str, Any]
    init_weights: bytes | None
    url: str
    key: str


@dataclass(frozen=True)
class Results:
    """What a finished trainer left. `version_folder` holds the exported model."""

    metrics: dict[str, Any]
    weights: bytes
    version_folder: Path


class UnreadableResults(Exception):
    """A trainer that said it finished left no readable results."""


class JobLauncher(Protocol):
    """Starts trainers and watches them. A run's files outlive this object and the process."""

    @property
    def code_version(self) -> str:
        """Which trainer it starts: release and a hash over its sources."""
        ...

    def start(self, job: Job) -> None:
        """Start the run, or continue it from its checkpoint. What an earlier life left running is ended
        before, so a run is never trained by two. Raises OSError when it can't be started."""
        ...

    def exit_code(self, run_id: str) -> int | None:
        """None while it runs; the exit status (negative: the signal that killed it) when it ended.

        Raises KeyError for a run that this object did not start.
        """
        ...

    def lines(self, run_id: str, offset: int) -> tuple[list[str], int]:
        """Complete lines of its standard output since byte `offset`, over all starts, and the next offset.

        Each start is marked by `domain.reports.LAUNCHED_LINE`.
        """
        ...

    def log(self, run_id: str) -> str:
        """What it printed, the end of it where it is long; "" before the start."""
        ...

    def live(self) -> list[str]:
        """Runs whose trainer this object started and has not seen end."""
        ...

    def stop(self, run_id: str) -> None:
        """Ask it to end (it writes a checkpoint); again later: make it end. Does nothing when it is over."""
        ...

    def results(self, run_id: str) -> Results:
        """Raises UnreadableResults."""
        ...

    def discard(self, run_id: str) -> None:
        """Remove the large files of a run that is over; its log stays."""
        ...


class UnknownRef(Exception):
    """The project has no dataset version of this name."""


class DatasetVersions(Protocol):
    """Mask storage's dataset versions."""

    def resolve(self, organisation_id: str, project_id: str, ref: str) -> str:
        """The commit id that `ref` (commit id, branch or tag) names now.

        Raises UnknownRef; any other error means that there was no answer, and to ask again later.
        """
        ...


class ModelRepository(Protocol):
    """Triton's layout: <model name>/config.pbtxt, <model name>/<version>/..."""

    def publish(self, model_name: str, version: int, version_folder: Path) -> None:
        """Copy an exported version (and the config.pbtxt beside its parent) in; readers see all of it or
        nothing. The same version again replaces it."""
        ...
