"""Operations, the same for every service: health, dead letters, replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import allow, problems
from terrazzo_schema.rest.base import DeadLetter, Health, Page

if TYPE_CHECKING:
    from terrazzo_runtime.service import Service

Operator = Annotated[Principal, allow("manager")]


def ops_router(service: Service) -> APIRouter:
    router = APIRouter(prefix=f"/v1/ops/{service.name}", tags=["operations"])
    dead = service.uow.tables.dead_letters

    @router.get("/health", operation_id="health")
    def health() -> Health:
        """Answers without a key: is the service up, does its database answer, how much waits."""
        with service.uow.database.read() as connection:
            num_dead = connection.execute(sa.select(sa.func.count()).select_from(dead)).scalar_one()
        return Health(
            service=service.name,
            status="ok",
            version=service.app.version,
            outbox_waiting=service.relay.waiting(),
            dead_letters=num_dead,
            events_published=service.relay.num_published,
            events_consumed=service.consumer.num_consumed,
        )

    @router.get("/dead-letters", operation_id="list_dead_letters", responses=problems(401, 403, 422))
    def list_dead_letters(
        caller: Operator,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Page[DeadLetter]:
        """Events that could not be handled after all tries, oldest id first."""
        query = sa.select(dead).where(dead.c.organisation_id.in_([caller.organisation_id, ""]))
        if cursor:
            query = query.where(dead.c.event_id > cursor)
        with service.uow.database.read() as connection:
            rows = connection.execute(query.order_by(dead.c.event_id).limit(limit + 1)).mappings().all()
        items = [DeadLetter.model_validate(dict(row)) for row in rows[:limit]]
        return Page(items=items, next_cursor=items[-1].event_id if len(rows) > limit else None)

    @router.post(
        "/dead-letters/{event_id}/replay",
        status_code=204,
        operation_id="replay_dead_letter",
        responses=problems(401, 403, 404, 422),
    )
    def replay(event_id: str, caller: Operator) -> None:
        """Handle it again now. It stays parked, and the error is answered, when it fails again."""
        service.consumer.replay(event_id, caller.organisation_id)

    return router
