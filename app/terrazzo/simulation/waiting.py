"""Waiting for what the services do on their own, with a limit and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from terrazzo_schema.errors import Unavailable

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, limit_s: float = 300.0) -> T:
    """Poll `look` until it returns something. Raises Unavailable that names what did not come."""
    deadline = time.monotonic() + limit_s
    pause_s = 0.01
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise Unavailable(
                f"waited {limit_s:.0f} s for {what}", remedy="look at `terrazzo events dead` and the system's log"
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)
