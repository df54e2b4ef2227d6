"""What the automatic checks found, and a project's settings for them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from terrazzo_qa.api.parameters import (
    Cursor,
    Insider,
    Limit,
    Manager,
    PathId,
    QueryId,
    deps_of,
    next_cursor,
    sees_own_only,
)
from terrazzo_qa.domain.records import FindingDict, Listing, Submission
from terrazzo_qa.handlers import projects
from terrazzo_runtime.http import Caller, RequestOnce, problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.qa import CheckSettingsUpdate, CheckSettingsView, CheckView, FindingView

router = APIRouter(prefix="/v1/checks", tags=["checks"])


@router.get("/{project_id}/settings", operation_id="check_settings", responses=problems(401, 403, 404, 422))
def settings(project_id: PathId, caller: Insider, request: Request) -> CheckSettingsView:
    """Every setting with the value in force, and why those given at creation were refused, if they were."""
    with deps_of(request).uow.read() as store:
        return projects.settings_view(projects.known_project(store, caller.organisation_id, project_id))


@router.put("/{project_id}/settings", operation_id="update_check_settings", responses=problems(401, 403, 404, 422))
def update_settings(
    project_id: PathId, body: CheckSettingsUpdate, caller: Manager, once: RequestOnce, request: Request
) -> CheckSettingsView:
    """Change the given settings; the others stay. They hold for submissions that are checked from now on."""
    return deps_of(request).uow.once(
        once,
        CheckSettingsView,
        lambda tx: projects.update_settings(tx, caller.organisation_id, project_id, body.settings),
    )


@router.get("/{project_id}", operation_id="list_checks", responses=problems(401, 404, 422))
def list_checks(
    project_id: PathId,
    caller: Caller,
    request: Request,
    submission_id: QueryId = None,
    sample_id: QueryId = None,
    passed: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[CheckView]:
    """Checked submissions by id, the oldest first. Annotators and vendors see their own."""
    where: dict[str, Any] = {"submission_id": submission_id, "sample_id": sample_id, "passed": passed}
    where = {name: value for name, value in where.items() if value is not None}
    if sees_own_only(caller):
        where["annotator_id"] = caller.key_id
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        rows = store.submissions(caller.organisation_id, project_id, Listing(limit + 1, cursor, where))
    return Page(
        items=[_view(row) for row in rows[:limit]],
        next_cursor=next_cursor(rows, limit, [row.submission_id for row in rows]),
    )


@router.get("/{project_id}/{submission_id}", operation_id="get_check", responses=problems(401, 404, 422))
def get_check(project_id: PathId, submission_id: PathId, caller: Caller, request: Request) -> CheckView:
    """What the checks found in one submission."""
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        row = store.submission(caller.organisation_id, project_id, submission_id)
    if row is None or (sees_own_only(caller) and row.annotator_id != caller.key_id):
        raise NotFound(
            f"no checks of submission {submission_id}",
            field="submission_id",
            value=submission_id,
            remedy="a submission is checked a moment after it came in: ask again",
            retry_after_s=1,
        )
    return _view(row)


def _view(row: Submission) -> CheckView:
    return CheckView(
        submission_id=row.submission_id,
        task_id=row.task_id,
        sample_id=row.sample.sample_id,
        mask_id=row.mask_id,
        annotator_id=row.annotator_id,
        passed=row.passed,
        findings=[_finding(finding) for finding in row.findings],
        created_at=row.created_at,
    )


def _finding(finding: FindingDict) -> FindingView:
    box = finding["box"]
    named = None if box is None else dict(zip(("y", "x", "height", "width"), box, strict=True))
    return FindingView.model_validate({**finding, "box": named})
