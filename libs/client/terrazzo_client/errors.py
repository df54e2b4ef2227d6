"""What a call can raise.

RequestFailed
├── ApiError                the service answered with a problem (RFC 9457)
│   ├── BadRequest 400
│   ├── Unauthenticated 401
│   ├── Forbidden 403
│   ├── NotFound 404
│   ├── Conflict 409
│   ├── TooLarge 413
│   ├── Unprocessable 422
│   ├── TooManyRequests 429
│   └── ServerFault         any 5xx
│       ├── Unavailable     502, 503, 504
│       └── StorageFull 507
├── NoAnswer                no answer came: not reachable, connection lost, time out
└── WaitedTooLong           `wait` gave up; the job itself goes on
"""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from terrazzo_schema.errors import PROBLEM_BASE
from terrazzo_schema.rest.base import Problem


class RequestFailed(Exception):
    """A call had no result."""


class NoAnswer(RequestFailed):
    """No answer came, after all tries. The cause is the last `httpx.TransportError`."""


class WaitedTooLong(RequestFailed):
    """The job was not finished in the time given to `wait`."""


class ApiError(RequestFailed):
    """The service refused. `problem` names the field, the value and the remedy where there is one."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail if problem.remedy is None else f"{problem.detail} ({problem.remedy})")
        self.problem = problem
        self.status = problem.status
        self.retry_after_s = retry_after_s

    @property
    def slug(self) -> str:
        """The last part of the problem's type, e.g. "not-known-yet"."""
        return self.problem.type.rsplit("/", 1)[-1]


class BadRequest(ApiError):
    """400: the request can't be read."""


class Unauthenticated(ApiError):
    """401: no key, or one that is not valid (any more)."""


class Forbidden(ApiError):
    """403: the key's role may not do that."""


class NotFound(ApiError):
    """404: no such thing, or it belongs to another organisation."""


class Conflict(ApiError):
    """409: the present state does not allow it."""


class TooLarge(ApiError):
    """413: over a size limit."""


class Unprocessable(ApiError):
    """422: a value can't be accepted. Raised before anything is sent when the client can tell."""


class TooManyRequests(ApiError):
    """429: slow down."""


class ServerFault(ApiError):
    """5xx: the fault is not the caller's."""


class Unavailable(ServerFault):
    """502, 503, 504: not able to answer right now."""


class StorageFull(ServerFault):
    """507: no room; nothing was stored."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Unprocessable,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: StorageFull,
}


def error_of(response: httpx.Response, retry_after_s: float | None) -> ApiError:
    """The error that a read, unsuccessful response stands for."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:  # a proxy's answer, say
        problem = Problem(
            type="about:blank",
            title=response.reason_phrase or "HTTP error",
            status=response.status_code,
            detail=f"{response.request.method} {response.request.url}: {response.text[:200]!r}",
        )
    fallback = ServerFault if response.status_code >= 500 else ApiError
    return _BY_STATUS.get(response.status_code, fallback)(problem, retry_after_s)


def refused_here(error: ValidationError) -> Unprocessable:
    """A value that the service would refuse, in the shape of the service's own answer."""
    found = error.errors(include_url=False, include_context=False)
    first = found[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    return Unprocessable(
        Problem(
            type=PROBLEM_BASE + "unprocessable",
            title="A value can't be accepted",
            status=422,
            detail=f"{field}: {first['msg']}",
            field=field,
            value=str(first.get("input"))[:200],
            errors=[{"field": ".".join(str(p) for p in e["loc"]), "message": e["msg"]} for e in found],
        )
    )
