"""Fixtures for tests of the whole system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from system_harness import Harness

from terrazzo_runtime.clock import FakeClock


@pytest.fixture
def harness_factory(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    opened: list[Harness] = []
    clock = FakeClock()

    def make(
        names: tuple[str, ...] = ("task", "mask_storage", "qa"), folder: Path | None = None, **options: Any
    ) -> Harness:
        harness = Harness(folder or tmp_path / "data", names, options.pop("clock", clock), **options)
        opened.append(harness)
        return harness

    yield make
    for harness in opened:
        harness.close()
