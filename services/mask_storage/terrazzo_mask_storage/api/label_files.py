"""Folders of label files over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from terrazzo_mask_storage.api import edge
from terrazzo_mask_storage.api.edge import Given, ProjectId, RawBody, scope_of
from terrazzo_mask_storage.handlers.exchange import checkouts, label_files
from terrazzo_mask_storage.handlers.refs import MAIN
from terrazzo_runtime.http import Fingerprint, IdempotencyKey, problems
from terrazzo_runtime.unit_of_work import Once
from terrazzo_schema.rest.mask_storage import MESSAGE_MAX, CheckoutCreate, LabelsReport

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
Message = Annotated[
    str | None,
    Query(max_length=MESSAGE_MAX, description="also commit all that is staged, and why"),
]
BranchName = Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]


@router.post(
    "/{project_id}/labels",
    operation_id="put_labels",
    openapi_extra=edge.takes("application/octet-stream"),
    responses=problems(400, 401, 403, 404, 409, 413, 422, 507),
)
def put_labels(
    project_id: ProjectId,
    request: Request,
    body: RawBody,
    caller: edge.Manager,
    deps: Given,
    branch: BranchName = MAIN,
    message: Message = None,
    idempotency_key: IdempotencyKey = None,
) -> LabelsReport:
    """Stage many label files at once: a bundle (see the service's README) of files named by sample or image.

    What is staged already, sent again, changes nothing. With a message, what is staged then is committed.
    """
    once: Once | None = None
    if message is not None and idempotency_key is not None:
        fingerprint = Fingerprint(request)
        fingerprint.update(body)
        once = fingerprint.once(caller, idempotency_key)
    return label_files.put_labels(deps, scope_of(caller, project_id), branch, body, caller, message, once)


@router.post(
    "/{project_id}/labels/checkout",
    operation_id="checkout",
    response_class=StreamingResponse,
    responses={**problems(401, 403, 404, 422), **edge.gives("application/octet-stream")},
)
def checkout(
    project_id: ProjectId, command: CheckoutCreate, caller: edge.Insider, deps: Given
) -> StreamingResponse:
    """A bundle of the label files that lead from what a folder holds to a version."""
    bundle = checkouts.checkout(deps, scope_of(caller, project_id), command)
    return StreamingResponse(bundle, media_type="application/octet-stream")
