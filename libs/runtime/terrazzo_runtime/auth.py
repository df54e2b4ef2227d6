"""Who is calling. API keys are signed tokens, so every service checks them alone.

A key is a JWT (RFC 7519, HS256 under the deployment's secret) behind the prefix `tz_`. It
carries the organisation, the role and the key's id; a revoked id is refused by each service from
the moment that it hears of it (event KeyRevoked).
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from terrazzo_runtime.clock import Clock
from terrazzo_schema.errors import Unauthenticated

PREFIX = "tz_"
ROLES = ("admin", "manager", "reviewer", "annotator", "vendor", "trainer", "viewer", "service")
_ALGORITHM = "HS256"


@dataclass(frozen=True)
class Principal:
    """An authenticated caller. `service` is the role of Terrazzo's own services, acting for an organisation."""

    key_id: str
    organisation_id: str
    role: str
    name: str
    vendor: str | None = None


class TokenAuthority:
    """Signs and verifies keys. Raises ValueError for a secret under 32 bytes."""

    def __init__(self, secret: str, clock: Clock) -> None:
        if len(secret.encode()) < 32:
            raise ValueError("the signing secret must have at least 32 bytes")
        self._secret = secret
        self._clock = clock

    def issue(self, principal: Principal, expires_at: datetime | None = None) -> str:
        import jwt

        claims: dict[str, Any] = {
            "sub": principal.key_id,
            "org": principal.organisation_id,
            "role": principal.role,
            "name": principal.name,
        }
        if principal.vendor is not None:
            claims["vendor"] = principal.vendor
        if expires_at is not None:
            claims["exp"] = int(expires_at.timestamp())
        return PREFIX + jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def issue_for_service(self, service: str, organisation_id: str, valid_s: int = 300) -> str:
        """A short-lived token with which one service asks another."""
        principal = Principal(f"svc_{service}", organisation_id, "service", service)
        return self.issue(principal, self._clock.now() + timedelta(seconds=valid_s))

    def verify(self, token: str) -> Principal:
        """Raises Unauthenticated for a key that is not ours, was altered, or has expired."""
        import jwt

        if not token.startswith(PREFIX):
            raise Unauthenticated(f"a key starts with {PREFIX!r}", remedy="send 'Authorization: Bearer tz_…'")
        try:
            claims = jwt.decode(
                token[len(PREFIX) :],
                self._secret,
                algorithms=[_ALGORITHM],
                # Expiry is checked below, against the clock that was handed in.
                options={"require": ["sub", "org", "role"], "verify_exp": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(
                "the key's signature does not hold", remedy="ask an admin for a new key"
            ) from error
        if claims["role"] not in ROLES:
            raise Unauthenticated(f"the key has the unknown role {claims['role']!r}")
        expires = claims.get("exp")
        if expires is not None and self._clock.now().timestamp() >= expires:
            raise Unauthenticated("the key has expired", remedy="ask an admin for a new key")
        return Principal(
            claims["sub"], claims["org"], claims["role"], claims.get("name", ""), claims.get("vendor")
        )


def load_or_create_secret(path: Path) -> str:
    """The deployment's signing secret, made at first start and readable by its owner only."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was first
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().strip()
