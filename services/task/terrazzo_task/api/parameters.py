"""What the endpoints' parameters have in common."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Path, Query, Request

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import allow
from terrazzo_schema.errors import Forbidden
from terrazzo_schema.rest.base import Page, View
from terrazzo_task.domain.work import Person
from terrazzo_task.handlers.leases import person_of
from terrazzo_task.ports import Deps

T = TypeVar("T", bound=View)
_ID = r"^[A-Za-z0-9_-]{1,100}$"

ProjectId = Annotated[str, Path(pattern=_ID)]
SampleId = Annotated[str, Path(pattern=_ID)]
BatchId = Annotated[str, Path(pattern=_ID)]
TaskId = Annotated[str, Path(pattern=_ID)]
LeaseId = Annotated[str, Path(pattern=_ID)]
SubmissionId = Annotated[str, Path(pattern=_ID)]
KeyId = Annotated[str, Path(pattern=_ID)]
IdFilter = Annotated[str | None, Query(pattern=_ID)]
IdCursor = Annotated[str | None, Query(pattern=_ID, description="`next_cursor` of the page before")]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1_000)]

Manager = Annotated[Principal, allow("manager")]
Admin = Annotated[Principal, allow()]
Worker = Annotated[Principal, allow("manager", "reviewer", "annotator", "vendor")]
Insider = Annotated[Principal, allow("manager", "reviewer", "annotator", "trainer", "viewer")]
"""Anyone but a vendor: a vendor sees only what was handed to it."""


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


def sequence(cursor: str | None) -> int | None:
    return None if cursor is None else int(cursor)


def page(items: list[T], cursors: list[str], limit: int) -> Page[T]:
    """A page of at most `limit`; the queries ask for one more, to know whether there is a next."""
    is_more = len(items) > limit
    return Page(items=items[:limit], next_cursor=cursors[limit - 1] if is_more else None)


def narrowed(caller: Principal) -> Person | None:
    """Whose things alone this caller sees; None: all of the organisation's."""
    return person_of(caller) if caller.role == "vendor" else None


def refuse_unworking(caller: Principal) -> None:
    if caller.role == "service":
        raise Forbidden("a service does no tasks", field="role", value=caller.role)
