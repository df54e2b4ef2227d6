"""A run: one training, from queued to its end.

queued -> running -> succeeded | failed | cancelled
queued -> failed | cancelled
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from terrazzo_training.domain.reports import Failed, Finished

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

COME_AGAIN = 75
"""The trainer's exit status after SIGTERM: its state is in the checkpoint (sysexits.h EX_TEMPFAIL)."""

MAX_CRASHES = 2
"""How often a trainer that died without a word (killed, out of memory) is started again."""


@dataclass(frozen=True)
class Run:
    """`config` is what the caller asked for, `settings` the trainer's whole configuration but for the
    commits. `sequence` orders runs as they were created (0: not stored yet). `num_starts` counts
    launches, `num_crashes` those that ended without a word."""

    run_id: str
    organisation_id: str
    project_id: str
    state: State
    ref: str
    eval_ref: str | None
    init_from: str | None
    seed: int
    config: dict[str, Any]
    settings: dict[str, Any]
    created_at: datetime
    sequence: int = 0
    commit_id: str | None = None
    eval_commit_id: str | None = None
    model_id: str | None = None
    reason: str | None = None
    code_version: str | None = None
    num_starts: int = 0
    num_crashes: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def num_epochs(self) -> int:
        return int(self.settings["epochs"])


@dataclass(frozen=True)
class Succeed:
    """Register what it made."""


@dataclass(frozen=True)
class StartAgain:
    """Continue from its checkpoint."""

    crashed: bool


@dataclass(frozen=True)
class Fail:
    reason: str


Verdict = Succeed | StartAgain | Fail


def conclude(exit_code: int, last: Finished | Failed | None, num_crashes: int, log_tail: str) -> Verdict:
    """What follows from a trainer that ended with `exit_code` (negative: the signal that killed it).

    torchrun ends with 1 whatever its processes end with, so the trainer's last word counts first.
    """
    if exit_code == 0 and isinstance(last, Finished):
        return Succeed()
    if exit_code == COME_AGAIN or (isinstance(last, Failed) and last.exit_code == COME_AGAIN):
        return StartAgain(crashed=False)
    if isinstance(last, Failed):
        return Fail(f"{last.error}: {last.message}")
    was_killed = exit_code < 0 or exit_code > 128 or isinstance(last, Finished)
    if was_killed and num_crashes < MAX_CRASHES:
        return StartAgain(crashed=True)
    ended = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with status {exit_code}"
    again = f" ({num_crashes + 1} times)" if num_crashes else ""
    return Fail(f"the trainer {ended}{again}: {log_tail or 'it left no word'}")
