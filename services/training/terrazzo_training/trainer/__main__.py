"""``python -m terrazzo_training.trainer --config RUN.json --out DIR``, alone or under torchrun.

Prints one JSON object per line to stdout: ``started``, ``resumed``, ``epoch``, and last ``finished`` or
``failed``. SIGTERM writes a checkpoint and ends with exit status 75 ('come again'); see ``errors`` for
the others. The samples come from a running Terrazzo (TERRAZZO_URL and TERRAZZO_KEY in the environment),
or from two folders.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from threading import Event
from typing import Any

from terrazzo_training.trainer.config import RunConfig
from terrazzo_training.trainer.data import FolderSource, SampleSource
from terrazzo_training.trainer.errors import ConfigError, TrainerError
from terrazzo_training.trainer.processes import Processes
from terrazzo_training.trainer.run import run


def main(arguments: list[str] | None = None) -> int:
    """Run the trainer; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m terrazzo_training.trainer", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the run's configuration (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, weights, metrics, history")
    parser.add_argument("--images", type=Path, help="train from this folder instead of a running Terrazzo")
    parser.add_argument("--labels", type=Path, help="index images named like those in --images")
    parser.add_argument("--value-offset", type=int, default=0, help="class id = pixel value + this (default 0)")
    options = parser.parse_args(arguments)

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    is_writer = os.environ.get("RANK", "0") == "0"
    processes: Processes | None = None
    try:
        config = RunConfig.load(options.config)
        processes = Processes.start(config)
        source, eval_source = _sources(config, options)
        run(config, source, eval_source, out=options.out, processes=processes,
            emit=_print if is_writer else _keep_quiet, stop=stop)  # fmt: skip
    except TrainerError as error:
        if is_writer:
            _print(
                {"event": "failed", "error": type(error).__name__, "message": str(error), "exit": error.exit_code}
            )
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if processes is not None:
            processes.stop()
    return 0


def _sources(config: RunConfig, options: argparse.Namespace) -> tuple[SampleSource, SampleSource | None]:
    if options.images or options.labels:
        if not (options.images and options.labels):
            raise ConfigError("--labels" if options.images else "--images", None, "give both folders, or neither")
        return FolderSource(options.images, options.labels, value_offset=options.value_offset), None
    from terrazzo_training.trainer.rest_source import open_sources

    return open_sources(config)


def _print(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _keep_quiet(event: dict[str, Any]) -> None:
    """Only the first process reports."""


if __name__ == "__main__":
    raise SystemExit(main())
