"""/v1/projects/{project_id}/progress, once and as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from terrazzo_runtime.http import problems
from terrazzo_schema.rest.task import ProgressView
from terrazzo_task.api.parameters import Insider, ProjectId, deps_of
from terrazzo_task.handlers.progress import progress_of
from terrazzo_task.ports import Deps

LOOK_EVERY_S = 1.0
HEARTBEAT_EVERY_LOOKS = 15
router = APIRouter(prefix="/v1/projects/{project_id}/progress", tags=["progress"])


@router.get("", operation_id="get_progress", responses=problems(401, 403, 404, 422))
def get_progress(project_id: ProjectId, caller: Insider, request: Request) -> ProgressView:
    """Counts of samples, tasks and submissions; work per annotator and vendor; a forecast per class."""
    return _read(deps_of(request), caller.organisation_id, project_id)


@router.get(
    "/stream",
    operation_id="stream_progress",
    response_class=StreamingResponse,
    responses={
        200: {"description": "`event: progress`, data: a ProgressView", "content": {"text/event-stream": {}}},
        **problems(401, 403, 404, 422),
    },
)
async def stream_progress(
    project_id: ProjectId,
    caller: Insider,
    request: Request,
    once: Annotated[bool, Query(description="send one event, then end")] = False,
) -> StreamingResponse:
    """The progress now, and again whenever it has changed, at most once a second."""
    deps = deps_of(request)
    first = await run_in_threadpool(_read, deps, caller.organisation_id, project_id)
    events = _events(deps, caller.organisation_id, first, once)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(deps: Deps, organisation_id: str, first: ProgressView, once: bool) -> AsyncIterator[str]:
    """The server-sent events, as the WHATWG HTML standard frames them; a comment keeps the line alive."""
    seen = first
    yield _frame(seen)
    num_quiet = 0
    while not once:
        await asyncio.sleep(LOOK_EVERY_S)
        now = await run_in_threadpool(_read, deps, organisation_id, first.project_id)
        if now != seen:
            seen, num_quiet = now, 0
            yield _frame(seen)
            continue
        num_quiet += 1
        if num_quiet % HEARTBEAT_EVERY_LOOKS == 0:
            yield ": still here\n\n"


def _frame(view: ProgressView) -> str:
    return f"event: progress\ndata: {view.model_dump_json()}\n\n"


def _read(deps: Deps, organisation_id: str, project_id: str) -> ProgressView:
    with deps.uow.read() as store:
        return progress_of(store, organisation_id, project_id, deps.clock.now())
