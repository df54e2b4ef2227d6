"""/v1/tasks, /v1/leases, /v1/submissions, and a project's tasks, leases and submissions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.http import Caller, RequestOnce, problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.task import (
    LeaseCreate,
    LeaseView,
    SubmissionCreate,
    SubmissionState,
    SubmissionView,
    TaskKind,
    TaskState,
    TaskUpdate,
    TaskView,
)
from terrazzo_task.api.parameters import (
    Cursor,
    IdFilter,
    LeaseId,
    Limit,
    Manager,
    ProjectId,
    SubmissionId,
    TaskId,
    Worker,
    deps_of,
    narrowed,
    page,
    sequence,
)
from terrazzo_task.domain.work import Task
from terrazzo_task.handlers import batches, leases, submissions
from terrazzo_task.handlers.organisations import Done
from terrazzo_task.handlers.projects import project_of
from terrazzo_task.handlers.views import submission_view, task_view
from terrazzo_task.ports import Store

router = APIRouter(prefix="/v1", tags=["tasks"])


@router.get("/projects/{project_id}/tasks", operation_id="list_tasks", responses=problems(401, 404, 422))
def list_tasks(
    project_id: ProjectId,
    caller: Caller,
    request: Request,
    state: TaskState | None = None,
    kind: TaskKind | None = None,
    batch_id: IdFilter = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[TaskView]:
    """Tasks in order of creation. A vendor sees those that were leased to it."""
    with deps_of(request).uow.read() as store:
        project_of(store, caller.organisation_id, project_id)
        found = store.tasks(
            caller.organisation_id,
            project_id,
            state=state,
            kind=kind,
            batch_id=batch_id,
            visible_to=narrowed(caller),
            after=sequence(cursor),
            limit=limit + 1,
        )
    return page([task_view(t) for t in found], [str(t.sequence) for t in found], limit)


def _visible_task(store: Store, caller: Principal, task_id: str) -> Task:
    task = store.task(caller.organisation_id, task_id)
    only_for = narrowed(caller)
    if task is None or (only_for is not None and not store.is_task_visible(task, only_for)):
        raise NotFound(f"no task {task_id}", field="task_id", value=task_id)
    return task


@router.get("/tasks/{task_id}", operation_id="get_task", responses=problems(401, 404, 422))
def get_task(task_id: TaskId, caller: Caller, request: Request) -> TaskView:
    """One task."""
    with deps_of(request).uow.read() as store:
        return task_view(_visible_task(store, caller, task_id))


@router.patch("/tasks/{task_id}", operation_id="update_task", responses=problems(400, 401, 403, 404, 409, 422))
def update_task(
    task_id: TaskId, command: TaskUpdate, caller: Manager, once: RequestOnce, request: Request
) -> TaskView:
    """Change its priority: higher ones are leased first."""
    uow = deps_of(request).uow
    return uow.once(once, TaskView, lambda tx: batches.update_task(tx, caller, task_id, command))


@router.post("/tasks/{task_id}/cancel", operation_id="cancel_task", responses=problems(401, 403, 404, 409, 422))
def cancel_task(task_id: TaskId, caller: Manager, once: RequestOnce, request: Request) -> TaskView:
    """Cancel it, and the adjudication or annotation that it belongs to."""
    uow = deps_of(request).uow
    return uow.once(once, TaskView, lambda tx: batches.cancel_task(tx, caller, task_id))


@router.post(
    "/projects/{project_id}/leases",
    operation_id="lease_task",
    response_model=LeaseView,
    responses={204: {"description": "no task for this caller now"}, **problems(400, 401, 403, 404, 409, 422)},
)
def lease_task(
    project_id: ProjectId, command: LeaseCreate, caller: Worker, once: RequestOnce, request: Request
) -> LeaseView | Response:
    """The next task for the caller, until the lease expires; 204 when there is none."""
    uow = deps_of(request).uow
    answer = uow.once(once, leases.LeaseAnswer, lambda tx: leases.lease_next(tx, caller, project_id, command))
    return answer.lease if answer.lease is not None else Response(status_code=204)


@router.post("/leases/{lease_id}/extend", operation_id="extend_lease", responses=problems(401, 403, 404, 409, 422))
def extend_lease(
    lease_id: LeaseId,
    caller: Worker,
    once: RequestOnce,
    request: Request,
    lease_s: Annotated[int | None, Query(ge=1, le=604_800)] = None,
) -> LeaseView:
    """Keep the task for longer: `lease_s` from now, by default the project's."""
    uow = deps_of(request).uow
    return uow.once(once, LeaseView, lambda tx: leases.extend(tx, caller, lease_id, lease_s))


@router.delete(
    "/leases/{lease_id}",
    status_code=204,
    operation_id="release_lease",
    responses=problems(401, 403, 404, 409, 422),
)
def release_lease(lease_id: LeaseId, caller: Worker, once: RequestOnce, request: Request) -> None:
    """Give the task back: it returns to the queue."""
    deps_of(request).uow.once(once, Done, lambda tx: leases.release(tx, caller, lease_id))


@router.post(
    "/tasks/{task_id}/submissions",
    status_code=201,
    operation_id="submit_task",
    responses=problems(400, 401, 403, 404, 409, 422),
)
def submit_task(
    task_id: TaskId, command: SubmissionCreate, caller: Worker, once: RequestOnce, request: Request
) -> SubmissionView:
    """Hand in work on a leased task. After the lease's end it is kept, and flagged late."""
    uow = deps_of(request).uow
    return uow.once(once, SubmissionView, lambda tx: submissions.submit(tx, caller, task_id, command))


@router.get("/submissions/{submission_id}", operation_id="get_submission", responses=problems(401, 404, 422))
def get_submission(submission_id: SubmissionId, caller: Caller, request: Request) -> SubmissionView:
    """One submission, with what the checks found. A vendor sees its own."""
    with deps_of(request).uow.read() as store:
        found = store.submission(caller.organisation_id, submission_id)
    only_for = narrowed(caller)
    is_own = (
        found is not None
        and only_for is not None
        and (
            found.annotator_id == only_for.annotator_id
            or (only_for.vendor is not None and found.vendor == only_for.vendor)
        )
    )
    if found is None or (only_for is not None and not is_own):
        raise NotFound(f"no submission {submission_id}", field="submission_id", value=submission_id)
    return submission_view(found)


@router.get(
    "/projects/{project_id}/submissions", operation_id="list_submissions", responses=problems(401, 404, 422)
)
def list_submissions(
    project_id: ProjectId,
    caller: Caller,
    request: Request,
    task_id: IdFilter = None,
    annotator_id: IdFilter = None,
    state: SubmissionState | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[SubmissionView]:
    """Submissions in order of arrival. A vendor sees its own."""
    with deps_of(request).uow.read() as store:
        project_of(store, caller.organisation_id, project_id)
        found = store.submissions(
            caller.organisation_id,
            project_id,
            task_id=task_id,
            annotator_id=annotator_id,
            state=state,
            visible_to=narrowed(caller),
            after=sequence(cursor),
            limit=limit + 1,
        )
    return page([submission_view(s) for s in found], [str(s.sequence) for s in found], limit)
