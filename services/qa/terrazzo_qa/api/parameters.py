"""What the endpoints' parameters are, and how a listing becomes a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Path, Query, Request

from terrazzo_qa.ports import Deps
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import allow
from terrazzo_schema.ids import ID_PATTERN

R = TypeVar("R")
PathId = Annotated[str, Path(pattern=ID_PATTERN, max_length=80)]
QueryId = Annotated[str | None, Query(pattern=ID_PATTERN, max_length=80)]
Cursor = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=100, description="`next_cursor` of the last page")
]
Limit = Annotated[int, Query(ge=1, le=1_000)]

Staff = Annotated[Principal, allow("manager", "reviewer", "trainer", "viewer")]
"""Who may see everybody's work."""
Insider = Annotated[Principal, allow("manager", "reviewer", "annotator", "trainer", "viewer")]
"""Everybody of the organisation's own people: a vendor sees only what was handed to it."""
Manager = Annotated[Principal, allow("manager")]


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


def sees_own_only(caller: Principal) -> bool:
    """Annotators and vendors see their own checks and scorecard."""
    return caller.role in ("annotator", "vendor")


def next_cursor(rows: Sequence[R], limit: int, keys: Sequence[str]) -> str | None:
    """The key of the page's last item when there is one more row (`rows` holds up to limit + 1)."""
    return keys[limit - 1] if len(rows) > limit else None
