"""What the trainer says: one JSON object per line on its standard output."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Launched:
    """The launcher's own line: what follows comes from a new process."""


@dataclass(frozen=True)
class EpochReport:
    """`epoch` counts from 1; `loss` is the epoch's mean; `seconds` are wall-clock."""

    epoch: int
    loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The run is complete; its files are written."""


@dataclass(frozen=True)
class Failed:
    error: str
    message: str
    exit_code: int


Report = Launched | EpochReport | Finished | Failed

LAUNCHED_LINE = json.dumps({"event": "launched"})


def read_report(line: str) -> Report | None:
    """The report on a line; None for a line that is something else (a library's message, say)."""
    try:
        document = json.loads(line)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    match document.get("event"):
        case "launched":
            return Launched()
        case "epoch":
            return _epoch(document)
        case "finished":
            return Finished()
        case "failed":
            exit_code = document.get("exit")
            return Failed(
                str(document.get("error", "error")),
                str(document.get("message", "")),
                exit_code if isinstance(exit_code, int) else 1,
            )
    return None


def _epoch(document: dict[str, Any]) -> EpochReport | None:
    try:
        report = EpochReport(
            epoch=int(document["epoch"]),
            loss=float(document["loss"]),
            learning_rate=float(document["lr"]),
            seconds=float(document["seconds"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    is_sound = 1 <= report.epoch < 2**31 and math.isfinite(report.loss) and math.isfinite(report.learning_rate)
    return report if is_sound else None
