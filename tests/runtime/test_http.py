"""The one error shape, keys, idempotency keys and limits at the edge of every service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query, Request
from starlette.testclient import TestClient

from terrazzo_runtime.auth import Principal, TokenAuthority
from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.http import Caller, RequestOnce, allow, build_app
from terrazzo_schema.errors import Conflict

PROBLEM_KEYS = {"type", "title", "status", "detail", "instance"}


@pytest.fixture
def app(authority: TokenAuthority) -> FastAPI:
    app = build_app("test", "0", authority, max_body_bytes=1_000)

    @app.get("/who")
    def who(caller: Caller) -> dict[str, str]:
        return {"role": caller.role, "organisation": caller.organisation_id}

    @app.get("/managed")
    def managed(caller: Annotated[Principal, allow("manager")]) -> str:
        return caller.name

    @app.get("/conflict")
    def conflict() -> None:
        raise Conflict("taken", field="lease_id", value="x" * 500, remedy="ask again", retry_after_s=2)

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("secret detail")

    @app.get("/number")
    def number(n: Annotated[int, Query(ge=0)]) -> int:
        return n

    @app.post("/write")
    def write(once: RequestOnce) -> str | None:
        return once.fingerprint if once else None

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/conflict", 409), ("/nowhere", 404), ("/bug", 500), ("/number?n=-1", 422), ("/who", 401)],
)
def test_every_error_has_the_one_shape(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) >= PROBLEM_KEYS
    assert document["status"] == status
    assert "secret" not in answer.text


def test_a_business_error_names_field_value_and_remedy(client: TestClient) -> None:
    answer = client.get("/conflict")
    document = answer.json()
    assert document["field"] == "lease_id"
    assert document["remedy"] == "ask again"
    assert len(document["value"]) < 250
    assert answer.headers["retry-after"] == "2"


def test_a_key_says_who_is_calling(client: TestClient, key_of: Callable[..., str]) -> None:
    answer = client.get("/who", headers=bearer(key_of("annotator")))
    assert answer.json() == {"role": "annotator", "organisation": "org_test0001"}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nope", "Basic dTpw", "Bearer tz_a.b.c"])
def test_a_bad_key_is_refused(client: TestClient, header: str) -> None:
    assert client.get("/who", headers={"Authorization": header}).status_code == 401


def test_an_altered_an_expired_and_a_revoked_key_are_refused(
    app: FastAPI, client: TestClient, authority: TokenAuthority, clock: FakeClock
) -> None:
    principal = Principal("key_1", "org_1", "annotator", "ann")
    key = authority.issue(principal, clock.now() + timedelta(seconds=10))
    assert client.get("/who", headers=bearer(key)).status_code == 200
    forged = TokenAuthority("another secret of more than 32 bytes", clock).issue(principal)
    assert client.get("/who", headers=bearer(forged)).status_code == 401
    app.state.is_revoked = lambda key_id: key_id == "key_1"
    assert "revoked" in client.get("/who", headers=bearer(key)).json()["detail"]
    app.state.is_revoked = lambda key_id: False
    clock.advance(11)
    assert "expired" in client.get("/who", headers=bearer(key)).json()["detail"]


def test_roles_are_enforced_and_admins_pass(client: TestClient, key_of: Callable[..., str]) -> None:
    assert client.get("/managed", headers=bearer(key_of("annotator"))).status_code == 403
    assert client.get("/managed", headers=bearer(key_of("manager"))).status_code == 200
    assert client.get("/managed", headers=bearer(key_of("admin"))).status_code == 200


def test_a_fingerprint_tells_a_retry_from_another_request(client: TestClient, key_of: Callable[..., str]) -> None:
    headers = bearer(key_of()) | {"Idempotency-Key": "k"}

    def fingerprint(body: Any, path: str = "/write") -> Any:
        return client.post(path, headers=headers, json=body).json()

    assert fingerprint({"a": 1}) == fingerprint({"a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1}, "/write?x=1")
    assert client.post("/write", headers=bearer(key_of()), json={}).json() is None


def test_a_body_over_the_limit_is_refused_declared_or_not(client: TestClient) -> None:
    assert client.post("/echo", content=b"x" * 1_000).json() == 1_000
    declared = client.post("/echo", content=b"x" * 1_001)
    assert declared.status_code == 413

    def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100

    streamed = client.post("/echo", content=chunks())
    assert streamed.status_code == 413
    assert streamed.json()["remedy"] == "send at most 1000 bytes"
