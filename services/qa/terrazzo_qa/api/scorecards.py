"""How each annotator's work fares."""

from __future__ import annotations

from fastapi import APIRouter, Request

from terrazzo_qa.api.parameters import Cursor, Limit, PathId, deps_of, next_cursor, sees_own_only
from terrazzo_qa.domain.records import Listing, Scorecard
from terrazzo_qa.handlers import projects
from terrazzo_runtime.http import Caller, problems
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.qa import ScorecardView

router = APIRouter(prefix="/v1/scorecards", tags=["scorecards"])


@router.get("/{project_id}", operation_id="list_scorecards", responses=problems(401, 404, 422))
def list_scorecards(
    project_id: PathId, caller: Caller, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[ScorecardView]:
    """One card per annotator. Annotators and vendors see their own."""
    where = {"annotator_id": caller.key_id} if sees_own_only(caller) else {}
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        rows = store.scorecards(caller.organisation_id, project_id, Listing(limit + 1, cursor, where))
    return Page(
        items=[_view(row) for row in rows[:limit]],
        next_cursor=next_cursor(rows, limit, [row.annotator_id for row in rows]),
    )


def _view(row: Scorecard) -> ScorecardView:
    seconds = row.worked_ms / 1_000
    return ScorecardView(
        annotator_id=row.annotator_id,
        num_submissions=row.num_submissions,
        num_returned=row.num_returned,
        num_late=row.num_late,
        num_multi=row.num_multi,
        agreement_with_consensus=row.agreement_ppb / 1e9 / row.num_agreement if row.num_agreement else None,
        num_adjudicated=row.num_adjudicated,
        num_audited=row.num_audited,
        num_audit_errors=row.num_audit_errors,
        seconds=seconds,
        seconds_per_submission=seconds / row.num_submissions if row.num_submissions else None,
    )
