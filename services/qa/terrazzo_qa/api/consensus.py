"""What several annotators came to, with the maps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from terrazzo_qa.api.parameters import Cursor, Insider, Limit, PathId, QueryId, deps_of, next_cursor
from terrazzo_qa.domain.records import ConsensusRecord, Listing
from terrazzo_qa.handlers import projects
from terrazzo_qa.ports import Deps
from terrazzo_runtime.http import problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Box, Page
from terrazzo_schema.rest.qa import ConsensusView

router = APIRouter(prefix="/v1/consensus", tags=["consensus"])


@router.get("/{project_id}", operation_id="list_consensus", responses=problems(401, 403, 404, 422))
def list_consensus(
    project_id: PathId,
    caller: Insider,
    request: Request,
    batch_id: QueryId = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[ConsensusView]:
    """Decided votes of several annotators, by task id."""
    where = {} if batch_id is None else {"batch_id": batch_id}
    with deps_of(request).uow.read() as store:
        projects.known_project(store, caller.organisation_id, project_id)
        rows = store.consensuses(caller.organisation_id, project_id, Listing(limit + 1, cursor, where))
    return Page(
        items=[_view(row) for row in rows[:limit]],
        next_cursor=next_cursor(rows, limit, [row.task_id for row in rows]),
    )


@router.get("/{project_id}/{task_id}", operation_id="get_consensus", responses=problems(401, 403, 404, 422))
def get_consensus(project_id: PathId, task_id: PathId, caller: Insider, request: Request) -> ConsensusView:
    """The consensus of one task."""
    return _view(_known(deps_of(request), caller.organisation_id, project_id, task_id))


@router.get(
    "/{project_id}/{task_id}/maps/{kind}",
    operation_id="get_consensus_map",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(401, 403, 404, 422)},
)
def get_map(
    project_id: PathId,
    task_id: PathId,
    kind: Literal["posterior", "disagreement"],
    caller: Insider,
    request: Request,
) -> Response:
    """A gray PNG of the image's size: the winner's posterior, or the share of votes against it, 0..255."""
    deps = deps_of(request)
    row = _known(deps, caller.organisation_id, project_id, task_id)
    digest = row.posterior_hash if kind == "posterior" else row.disagreement_hash
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=31536000, immutable"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(deps.blobs.get(digest), media_type="image/png", headers=headers)


def _known(deps: Deps, organisation_id: str, project_id: str, task_id: str) -> ConsensusRecord:
    with deps.uow.read() as store:
        projects.known_project(store, organisation_id, project_id)
        row = store.consensus(organisation_id, project_id, task_id)
    if row is None:
        raise NotFound(
            f"no consensus of task {task_id}",
            field="task_id",
            value=task_id,
            remedy="there is one when several annotators were asked for and all their work has passed",
        )
    return row


def _view(row: ConsensusRecord) -> ConsensusView:
    return ConsensusView(
        task_id=row.task_id,
        sample_id=row.sample.sample_id,
        batch_id=row.batch_id,
        mask_id=row.mask_id,
        posterior_hash=row.posterior_hash,
        disagreement_hash=row.disagreement_hash,
        method=row.method,
        reason=row.reason,
        num_votes=len(row.submission_ids),
        agreement=row.agreement,
        disputed_pixels=row.disputed_pixels,
        region=None if row.region is None else Box(**asdict(row.region)),
        state="accepted" if row.state == "accepted" else "adjudicating",
        submission_ids=row.submission_ids,
        annotator_ids=row.annotator_ids,
        created_at=row.created_at,
    )
