"""Writes what the code knows best: docs/openapi/<service>.json, docs/rest.md, docs/settings.md (`make docs`)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from terrazzo.composition import System
from terrazzo_runtime.settings import Settings

DOCS = Path(__file__).parent
_METHODS = ("get", "post", "put", "patch", "delete")


def documents() -> dict[str, dict[str, Any]]:
    """Service name -> its OpenAPI document."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Settings(data_dir=Path(folder)))
        try:
            return {name: service.app.openapi() for name, service in system.services.items()}
        finally:
            system.stop()


def openapi_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def rest_guide(all_documents: dict[str, dict[str, Any]]) -> str:
    """Every endpoint in a line, with the first sentence of its description."""
    lines = [
        "# REST",
        "",
        "Every request but health carries `Authorization: Bearer tz_…`. Writes take an `Idempotency-Key`: the",
        "same key again gets the same answer and does nothing. Listings have `cursor` and `limit`. Errors are",
        "RFC 9457 problem documents that name the field, the value and the remedy. The full contracts are in",
        "[openapi/](openapi/); `terrazzo_client` covers every line below",
        "([its README](../libs/client/README.md)). This page is written by `make docs`.",
    ]
    for name, document in all_documents.items():
        lines += ["", f"## {name}", "", "| endpoint | what it does |", "|---|---|"]
        for path, methods in document["paths"].items():
            for method in _METHODS:
                if method in methods:
                    lines.append(f"| `{method.upper()} {path}` | {_sentence(methods[method])} |")
    return "\n".join(lines) + "\n"


def _sentence(operation: dict[str, Any]) -> str:
    text = " ".join(str(operation.get("description") or operation.get("summary", "")).split())
    return text.split(". ")[0].rstrip(".").replace("|", "\\|")


def settings_guide() -> str:
    lines = [
        "# Settings",
        "",
        "Set by environment variables; `terrazzo up` and `terrazzo serve` also take `--data-dir`, `--host` and",
        "`--port`. They are read once, at start. This page is written by `make docs`.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        lines.append(f"| `TERRAZZO_{name.upper()}` | `{default}` | {field.description} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    found = documents()
    (DOCS / "openapi").mkdir(exist_ok=True)
    for name, document in found.items():
        (DOCS / "openapi" / f"{name}.json").write_text(openapi_text(document))
    (DOCS / "rest.md").write_text(rest_guide(found))
    (DOCS / "settings.md").write_text(settings_guide())


if __name__ == "__main__":
    main()
