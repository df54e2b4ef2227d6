"""Writes the OpenAPI document of each service to docs/openapi/<service>.json (`make openapi`)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from terrazzo.composition import System
from terrazzo_runtime.settings import Settings


def documents() -> dict[str, dict[str, Any]]:
    """Service name -> its OpenAPI document."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Settings(data_dir=Path(folder)))
        try:
            return {name: service.app.openapi() for name, service in system.services.items()}
        finally:
            system.stop()


def text_of(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, document in documents().items():
        (Path(__file__).parent / f"{name}.json").write_text(text_of(document))
