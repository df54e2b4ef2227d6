"""One tree of business errors. Each carries its HTTP status and becomes an RFC 9457 problem document.

TerrazzoError
├── BadRequest 400          the request can't be read
│   ├── CorruptInput        bytes that aren't what they claim to be
│   └── OntologyError       an ontology that breaks a rule
├── Unauthenticated 401
├── Forbidden 403
├── NotFound 404
│   └── NotKnownYet         may be a moment behind the service that owns it: carries Retry-After
├── Conflict 409            true request, wrong moment (lease lost, state does not allow it)
├── TooLarge 413
├── Unprocessable 422       a field's value can't be accepted
│   ├── IdempotencyKeyReused
│   ├── InvalidGates        a gates file with mistakes: `errors` names each by line and field
│   └── GatesRefused        a dataset version that breaks the project's rules: `errors` has the reasons
├── StorageDamaged 500      what was stored is not there any more, or not as it was
├── StorageFull 507
└── Unavailable 503
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

PROBLEM_BASE = "https://terrazzo.dev/problems/"


class TerrazzoError(Exception):
    """A business error: says what was wrong, where, and what would be right.

    `field` is the name of the offending input, `value` what was given (shortened in the
    problem document), `remedy` the next step for the caller, `errors` every single thing that was
    wrong where there may be several (`field`, `message`, ...).
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        value: object | None = None,
        remedy: str | None = None,
        retry_after_s: int | None = None,
        errors: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.value = value
        self.remedy = remedy
        self.retry_after_s = retry_after_s
        self.errors = errors

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        """The RFC 9457 document of this error."""
        document: dict[str, Any] = {
            "type": PROBLEM_BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            document["instance"] = instance
        if self.field is not None:
            document["field"] = self.field
        if self.value is not None:
            text = str(self.value)
            document["value"] = text if len(text) <= 200 else text[:200] + "…"
        if self.remedy is not None:
            document["remedy"] = self.remedy
        if self.errors is not None:
            document["errors"] = [dict(error) for error in self.errors]
        return document


class BadRequest(TerrazzoError):
    status, slug, title = 400, "bad-request", "The request can't be read"


class CorruptInput(BadRequest):
    slug, title = "corrupt-input", "The bytes are not what they claim to be"


class OntologyError(BadRequest):
    slug, title = "invalid-ontology", "The ontology breaks a rule"


class Unauthenticated(TerrazzoError):
    status, slug, title = 401, "unauthenticated", "No valid key was given"


class Forbidden(TerrazzoError):
    status, slug, title = 403, "forbidden", "This key may not do that"


class NotFound(TerrazzoError):
    status, slug, title = 404, "not-found", "There is no such thing"


class NotKnownYet(NotFound):
    """Another service owns it, and its event may still be on the way. Clients try again for a moment."""

    slug, title = "not-known-yet", "Not known here, or not yet"

    def __init__(self, detail: str, **context: Any) -> None:
        context.setdefault("retry_after_s", 1)
        super().__init__(detail, **context)


class Conflict(TerrazzoError):
    status, slug, title = 409, "conflict", "The present state does not allow it"


class TooLarge(TerrazzoError):
    status, slug, title = 413, "too-large", "The input is over a limit"


class Unprocessable(TerrazzoError):
    status, slug, title = 422, "unprocessable", "A value can't be accepted"


class IdempotencyKeyReused(Unprocessable):
    slug, title = "idempotency-key-reused", "This idempotency key belongs to another request"


class InvalidGates(Unprocessable):
    slug, title = "invalid-gates", "The gates file has mistakes"


class GatesRefused(Unprocessable):
    slug, title = "gates-refused", "The gates refuse this version"


class Unavailable(TerrazzoError):
    status, slug, title = 503, "unavailable", "Not able to answer right now"


class StorageDamaged(TerrazzoError):
    status, slug, title = 500, "storage-damaged", "Stored data is damaged"


class StorageFull(TerrazzoError):
    status, slug, title = 507, "storage-full", "The storage is full; nothing was stored"
