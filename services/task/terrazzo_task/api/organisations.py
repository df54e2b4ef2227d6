"""/v1/organisations and /v1/keys."""

from __future__ import annotations

from fastapi import APIRouter, Request

from terrazzo_runtime.http import Caller, RequestOnce, problems
from terrazzo_schema.errors import NotFound
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.task import (
    KeyCreate,
    KeyCreated,
    KeyView,
    OrganisationCreate,
    OrganisationCreated,
    OrganisationView,
)
from terrazzo_task.api.parameters import Admin, IdCursor, KeyId, Limit, Manager, deps_of, page
from terrazzo_task.handlers import organisations as handlers
from terrazzo_task.handlers.views import key_view, organisation_view

router = APIRouter(prefix="/v1", tags=["organisations"])


@router.post(
    "/organisations",
    status_code=201,
    operation_id="create_organisation",
    responses=problems(400, 401, 403, 422),
)
def create_organisation(
    command: OrganisationCreate, caller: Admin, once: RequestOnce, request: Request
) -> OrganisationCreated:
    """A new organisation and its first key, which is shown this once."""
    deps = deps_of(request)
    made = deps.uow.once(
        once, handlers.OrganisationWithKey, lambda tx: handlers.create_organisation(tx, caller, command)
    )
    token = handlers.token_of(deps.authority, made.organisation.organisation_id, made.key)
    return OrganisationCreated(**made.organisation.model_dump(), key=token)


@router.get("/organisations/current", operation_id="current_organisation", responses=problems(401, 404))
def current_organisation(caller: Caller, request: Request) -> OrganisationView:
    """The organisation that the key belongs to."""
    with deps_of(request).uow.read() as store:
        organisation = store.organisation(caller.organisation_id)
    if organisation is None:
        raise NotFound(
            f"no organisation {caller.organisation_id}", field="organisation_id", value=caller.organisation_id
        )
    return organisation_view(organisation)


@router.post("/keys", status_code=201, operation_id="create_key", responses=problems(400, 401, 403, 422))
def create_key(command: KeyCreate, caller: Admin, once: RequestOnce, request: Request) -> KeyCreated:
    """A key of the caller's organisation. It is shown this once, and stored nowhere."""
    deps = deps_of(request)
    made = deps.uow.once(once, KeyView, lambda tx: handlers.create_key(tx, caller, command))
    token = handlers.token_of(deps.authority, caller.organisation_id, made)
    return KeyCreated(**made.model_dump(), key=token)


@router.get("/keys", operation_id="list_keys", responses=problems(401, 403, 422))
def list_keys(caller: Manager, request: Request, cursor: IdCursor = None, limit: Limit = 100) -> Page[KeyView]:
    """Keys, revoked ones too, oldest first. The tokens themselves are not known any more."""
    with deps_of(request).uow.read() as store:
        keys = store.keys(caller.organisation_id, cursor, limit + 1)
    return page([key_view(k) for k in keys], [k.key_id for k in keys], limit)


@router.delete(
    "/keys/{key_id}", status_code=204, operation_id="revoke_key", responses=problems(401, 403, 404, 422)
)
def revoke_key(key_id: KeyId, caller: Admin, once: RequestOnce, request: Request) -> None:
    """From now on the key is refused: here at once, by the other services within moments."""
    deps_of(request).uow.once(once, handlers.Done, lambda tx: handlers.revoke_key(tx, caller, key_id))
