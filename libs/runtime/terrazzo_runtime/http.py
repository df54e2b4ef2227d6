"""HTTP in: one way to build a service's app. Keys checked, problems as RFC 9457, bodies limited.

Endpoints are plain functions; they get what they need through these annotations:

    Caller                      the authenticated Principal, any role
    allow("manager", ...)       the same, refused unless the role is listed (admin and services pass)
    RequestOnce                 the Once of the Idempotency-Key header, or None
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terrazzo_runtime.auth import Principal, TokenAuthority
from terrazzo_runtime.unit_of_work import Once, trace_id
from terrazzo_schema.errors import PROBLEM_BASE, Forbidden, TerrazzoError, TooLarge, Unauthenticated, Unprocessable
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.base import Problem

log = logging.getLogger("terrazzo.http")
PROBLEM_TYPE = "application/problem+json"
_bearer = HTTPBearer(auto_error=False, description="an API key, tz_…")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an endpoint: these statuses, as problem documents."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Problem", "model": Problem, "content": content} for status in statuses}


def authenticated(request: Request, _credentials: Annotated[Any, Depends(_bearer)] = None) -> Principal:
    """The caller. Raises Unauthenticated without a valid key."""
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("no key was sent", remedy="send 'Authorization: Bearer tz_…'")
    authority: TokenAuthority = request.app.state.authority
    principal = authority.verify(token.strip())
    is_revoked: Callable[[str], bool] = request.app.state.is_revoked
    if is_revoked(principal.key_id):
        raise Unauthenticated("the key was revoked", remedy="ask an admin for a new key")
    return principal


Caller = Annotated[Principal, Depends(authenticated)]


def allow(*roles: str) -> Any:
    """A dependency: the caller, if it has one of `roles` (admin and Terrazzo's services always pass)."""

    def check(principal: Caller) -> Principal:
        if principal.role not in (*roles, "admin", "service"):
            raise Forbidden(
                f"the role {principal.role!r} may not do this",
                field="role",
                value=principal.role,
                remedy=f"use a key with one of the roles: {', '.join(sorted({*roles, 'admin'}))}",
            )
        return principal

    return Depends(check)


IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, description="the same key again gets the same answer, and does nothing"),
]


class Fingerprint:
    """Tells a request that is sent again from another one under its key; a body may be given bit by bit."""

    def __init__(self, request: Request) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        for part in (request.method, request.url.path, request.url.query):
            self._digest.update(part.encode() + b"\0")

    def update(self, data: bytes) -> None:
        self._digest.update(data)

    def once(self, principal: Principal, idempotency_key: str | None) -> Once | None:
        if idempotency_key is None:
            return None
        return Once(principal.organisation_id, principal.key_id, idempotency_key, self._digest.hexdigest())


async def _request_once(
    request: Request, principal: Caller, idempotency_key: IdempotencyKey = None
) -> Once | None:
    if idempotency_key is None:
        return None
    fingerprint = Fingerprint(request)
    fingerprint.update(await request.body())
    return fingerprint.once(principal, idempotency_key)


RequestOnce = Annotated[Once | None, Depends(_request_once)]


def build_app(
    title: str,
    version: str,
    authority: TokenAuthority,
    max_body_bytes: int,
    openapi_url: str = "/openapi.json",
) -> FastAPI:
    """An app without routes yet. `app.state.is_revoked` is set by the service that owns it.

    `app.state.max_bytes_of` (path -> bytes) may allow larger bodies to endpoints that do not hold them in memory.
    """
    app = FastAPI(title=title, version=version, openapi_url=openapi_url, docs_url=None, redoc_url=None)
    app.state.authority = authority
    app.state.is_revoked = lambda key_id: False
    app.state.max_bytes_of = lambda path: max_body_bytes
    app.add_exception_handler(TerrazzoError, _on_business_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(UnicodeEncodeError, _on_unpaired_surrogate)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)
    app.add_middleware(_Edge)
    return app


class _ProblemResponse(JSONResponse):
    """A problem quotes what it was given, and JSON can carry half of a surrogate pair, which UTF-8 can't."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _answer(document: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return _ProblemResponse(document, document["status"], headers=headers, media_type=PROBLEM_TYPE)


def _on_business_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TerrazzoError)
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(error.problem(request.url.path), headers)


def _on_unpaired_surrogate(request: Request, error: Exception) -> JSONResponse:
    """JSON can escape half of a surrogate pair; no database and no answer can hold such a text."""
    assert isinstance(error, UnicodeEncodeError)
    problem = Unprocessable(
        f"a text has half of a surrogate pair at position {error.start}",
        field="body",
        value=ascii(error.object[error.start : error.end]),
        remedy="send valid Unicode",
    )
    return _answer(problem.problem(request.url.path))


def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [
        {"field": ".".join(str(p) for p in e["loc"]), "message": e["msg"], "value": _short(e.get("input"))}
        for e in error.errors()[:50]
    ]
    first = found[0]
    return _answer(
        {
            "type": PROBLEM_BASE + "unprocessable",
            "title": "A value can't be accepted",
            "status": 422,
            "detail": f"{first['field']}: {first['message']}",
            "instance": request.url.path,
            "field": first["field"],
            "value": first["value"],
            "remedy": "see the endpoint's schema in /openapi.json",
            "errors": found,
        }
    )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= 200 else text[:200] + "…"


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    slug = {404: "not-found", 405: "method-not-allowed", 400: "bad-request"}.get(error.status_code, "http-error")
    document = {
        "type": PROBLEM_BASE + slug,
        "title": str(error.detail),
        "status": error.status_code,
        "detail": f"{request.method} {request.url.path}: {error.detail}",
        "instance": request.url.path,
    }
    return _answer(document, dict(error.headers or {}))


def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(
        {
            "type": PROBLEM_BASE + "internal-error",
            "title": "Internal error",
            "status": 500,
            "detail": "this is a bug in Terrazzo; the log has the details under the trace id",
            "instance": request.url.path,
            "trace_id": trace_id.get(),
        }
    )


class _Edge:
    """ASGI middleware: a trace id for the request, and a limit on its body (declared or streamed)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        trace_id.set(given if 0 < len(given) <= 64 and given.isprintable() else new_id("trc"))
        declared = headers.get(b"content-length", b"0")
        limit: int = scope["app"].state.max_bytes_of(scope["path"])
        if declared.isdigit() and int(declared) > limit:
            await _answer(_too_large(int(declared), limit).problem(scope["path"]))(scope, receive, send)
            return
        num_received = 0

        async def limited() -> Message:
            nonlocal num_received
            message = await receive()
            num_received += len(message.get("body", b""))
            if num_received > limit:
                raise _too_large(num_received, limit)
            return message

        await self._app(scope, limited, send)


def _too_large(num_bytes: int, limit: int) -> TooLarge:
    return TooLarge(
        f"the body has {num_bytes} bytes or more",
        field="body",
        value=num_bytes,
        remedy=f"send at most {limit} bytes",
    )
