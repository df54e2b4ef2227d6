"""How figures are taken: ours and the peer in turn, on one core, medians, fixed seeds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SEED = 0
REPEATS = 5


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ratio` is what is judged against `target`; `ours` and `peer` are in `unit`."""

    topic: str
    name: str
    ours: float
    peer: float
    unit: str
    peer_name: str
    ratio: float
    want: Literal["at least", "at most"]
    target: float
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.ratio >= self.target if self.want == "at least" else self.ratio <= self.target


@dataclass(frozen=True)
class Bench:
    """What a topic is given: where real data lies (None: none), where pictures go, how to say progress."""

    data: Path | None
    pictures: Path
    say: Callable[[str], None]
    quick: bool = False


def medians(*calls: Callable[[], Any], repeats: int = REPEATS, warm_up: bool = True) -> list[float]:
    """Median seconds of each call. They take turns, so that a slow moment of the machine meets all of them.

    Calls that are over soon are made more often: up to five times as many, while all of it stays under a second.
    """
    if warm_up:
        for call in calls:
            call()
    seconds: list[list[float]] = [[] for _ in calls]
    ends = time.perf_counter() + 1.0
    for turn in range(5 * repeats):
        if turn >= repeats and time.perf_counter() > ends:
            break
        for place, call in enumerate(calls):
            start = time.perf_counter()
            call()
            seconds[place].append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


def faster(
    topic: str, name: str, ours_s: float, peer_s: float, peer_name: str, target: float, note: str = ""
) -> Figure:
    """A figure of speed: how many times faster than the peer."""
    return Figure(
        topic, name, ours_s * 1e3, peer_s * 1e3, "ms", peer_name, peer_s / ours_s, "at least", target, note
    )


def smaller(
    topic: str, name: str, ours: float, peer: float, peer_name: str, target: float, note: str = ""
) -> Figure:
    """A figure of size: ours as a share of the peer's, in bytes."""
    return Figure(topic, name, ours, peer, "bytes", peer_name, ours / peer, "at most", target, note)


def limit(topic: str, name: str, value: float, unit: str, at_most: float, note: str = "") -> Figure:
    """A figure with a bound of its own, no peer."""
    return Figure(topic, name, value, at_most, unit, "bound", value / at_most, "at most", 1.0, note)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and what it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
