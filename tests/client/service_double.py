"""A transport that answers from a script and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from terrazzo_client import TerrazzoClient
from terrazzo_client.connection import Connection

Answer = httpx.Response | Exception


class Script:
    """Answers the n-th request with the n-th of `answers` (an exception is raised)."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.waits_s: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        answer = self.answers[len(self.requests) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client_of(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> TerrazzoClient:
    """A client that talks to `answer` and does not really wait."""
    client = TerrazzoClient("http://terrazzo", "tz_key", transport=httpx.MockTransport(answer), **options)
    connection: Connection = client.connection
    connection._sleep = answer.waits_s.append if isinstance(answer, Script) else lambda seconds: None
    return client


def problem(status: int, slug: str = "x", headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    document = {"type": f"https://terrazzo.dev/problems/{slug}", "title": "T", "status": status, "detail": "D"}
    return httpx.Response(status, json={**document, **more}, headers=headers)


def project(project_id: str = "prj_00000001") -> dict[str, Any]:
    return {
        "project_id": project_id,
        "name": "streets",
        "held_out_percent": 20,
        "ontology_version": 1,
        "lease_s": 60,
        "model_id": None,
        "num_samples": 0,
        "created_at": "2026-01-01T00:00:00Z",
    }
