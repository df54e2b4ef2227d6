"""What all REST models share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from terrazzo_schema.ids import HASH_PATTERN, ID_PATTERN


class Command(BaseModel):
    """A request body. Unknown fields are refused: a typo must not pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """A response body. Unknown fields are ignored, so that a client outlives a newer server."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


T = TypeVar("T")


class Page(View, Generic[T]):
    """One page of a listing; pass `next_cursor` as `cursor` for the next, null at the end."""

    items: list[T]
    next_cursor: str | None = None


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Hash = Annotated[str, StringConstraints(pattern=HASH_PATTERN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Text = Annotated[str, StringConstraints(max_length=4_000)]
ClassId = Annotated[int, Field(ge=0, le=65_534)]
Pixels = Annotated[int, Field(ge=0, le=2**31)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=10_000_000.0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**53 - 1)]


class Box(Command):
    """A rectangle: rows y..y+height, columns x..x+width, in pixels."""

    y: Pixels
    x: Pixels
    height: Annotated[int, Field(ge=1, le=2**31)]
    width: Annotated[int, Field(ge=1, le=2**31)]


class Problem(View):
    """RFC 9457 problem document: the one error shape everywhere."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    field: str | None = None
    value: str | None = None
    remedy: str | None = None
    errors: list[dict[str, Any]] | None = None


class DeadLetter(View):
    """An event that a service could not handle after all its retries."""

    event_id: str
    event_type: str
    source: str
    project_id: str
    key: str
    error: str
    attempts: int
    first_failed_at: datetime
    parked_at: datetime


class Health(View):
    service: str
    status: str
    version: str
    outbox_waiting: int
    dead_letters: int
    events_published: int
    events_consumed: int
