"""The documentation lists every setting, event and endpoint, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from terrazzo_runtime.settings import SERVICES, Settings
from terrazzo_schema.events import EVENT_TYPES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="session")
def documents() -> dict[str, dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("write_openapi", DOCS / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written: dict[str, dict[str, Any]] = module.documents()
    return written


@pytest.mark.parametrize("service", SERVICES)
def test_the_committed_openapi_document_is_what_the_service_answers(
    service: str, documents: dict[str, dict[str, Any]]
) -> None:
    committed = json.loads((DOCS / "openapi" / f"{service}.json").read_text())
    # Through JSON and back, as a client sees it.
    assert committed == json.loads(json.dumps(documents[service])), "it changed: run `make docs`"


def test_every_endpoint_is_in_the_rest_guide(documents: dict[str, dict[str, Any]]) -> None:
    guide = (DOCS / "rest.md").read_text()
    for service, document in documents.items():
        for path, methods in document["paths"].items():
            for method in methods:
                line = f"`{method.upper()} {path}`"
                assert line in guide, f"{line} of {service} is not in docs/rest.md"


def test_every_event_is_in_the_event_guide() -> None:
    guide = (DOCS / "events.md").read_text()
    for name in EVENT_TYPES:
        assert f"`{name.removeprefix('terrazzo.v1.')}`" in guide


def test_every_setting_is_in_the_settings_guide_with_its_default() -> None:
    guide = (DOCS / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"`TERRAZZO_{name.upper()}`" in guide
        assert str(field.description) in guide


def markdown_files() -> list[Path]:
    skipped = {".venv", "node_modules", "demo", ".pytest_cache"}
    return [p for p in ROOT.rglob("*.md") if not skipped & set(p.relative_to(ROOT).parts)]


@pytest.mark.parametrize("path", markdown_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_of_the_guides_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"
