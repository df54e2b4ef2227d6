"""Fixtures of the inference tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from terrazzo_inference.ports import ModelRuntime
from terrazzo_inference.service import create
from terrazzo_runtime.service import Ports
from terrazzo_schema.events import Event

# Pytest imports by file here (importlib mode), so the doubles beside it must be made findable.
sys.path.insert(0, str(Path(__file__).parent))

from inference_doubles import ORGANISATION, Driver, FakeMaskStorage


@pytest.fixture
def storage() -> FakeMaskStorage:
    return FakeMaskStorage()


@pytest.fixture
def driver_factory(
    tmp_path: Path,
    ports_factory: Callable[..., Ports],
    storage: FakeMaskStorage,
    key_of: Callable[..., str],
    event_of: Callable[..., Event],
) -> Callable[..., Driver]:
    """Each call starts the service anew on the same files, as after a crash."""

    def make(role: str = "manager", runtime: ModelRuntime | None = None, **settings: Any) -> Driver:
        ports = ports_factory("inference", peers=storage, inference_threads=1, **settings)
        service = create(ports, runtime)
        headers = {"Authorization": f"Bearer {key_of(role, organisation_id=ORGANISATION)}"}
        http = TestClient(service.app, headers=headers, raise_server_exceptions=False)
        return Driver(service, ports, storage, tmp_path / "models", http, event_of)

    return make


@pytest.fixture
def driver(driver_factory: Callable[..., Driver]) -> Driver:
    """A service that knows the project, and no model yet."""
    driver = driver_factory()
    driver.create_project()
    return driver


@pytest.fixture
def grey_steps_HWC() -> NDArray[np.uint8]:
    """96 x 120 pixels: left third black, middle third grey, right third white."""
    image_HWC = np.zeros((96, 120, 3), dtype=np.uint8)
    image_HWC[:, 40:80] = 128
    image_HWC[:, 80:] = 255
    return image_HWC
