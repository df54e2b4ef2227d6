"""Starts `terrazzo up` as a process of its own for the length of a run, and watches its memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from terrazzo_schema.errors import Unavailable

_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 30.0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class EmbeddedSystem:
    """A system on a free port. `url` and `key` are known once the block is entered."""

    def __init__(self, data_dir: Path, log: Path) -> None:
        self._data_dir = data_dir
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._peak_bytes = 0
        self._stopping = threading.Event()
        self._handler: Any = None
        self.url = ""
        self.key = ""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # Asked to end, leave through `__exit__`: the system must not go on without anyone.
            self._handler = signal.signal(signal.SIGTERM, _leave)
        command = [sys.executable, "-m", "terrazzo", "up", "--json", "--port", "0"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--data-dir", str(self._data_dir)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        assert self._process.stdout is not None
        timer = threading.Timer(_START_LIMIT_S, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            self._process.wait()
            raise Unavailable("the embedded system did not start", remedy=f"see {self._log}")
        announced = json.loads(line)
        self.url, self.key = announced["url"], announced["key"]
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        self._stopping.set()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def peak_memory_mb(self) -> float:
        """Most memory that the system and its training runs held at one moment (resident, MiB)."""
        return self._peak_bytes / 2**20

    def _watch(self) -> None:
        import psutil

        assert self._process is not None
        root = psutil.Process(self._process.pid)
        while not self._stopping.wait(0.5):
            total = 0
            try:
                for process in (root, *root.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self._peak_bytes = max(self._peak_bytes, total)
