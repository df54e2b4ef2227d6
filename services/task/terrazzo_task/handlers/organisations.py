"""Organisations and API keys."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from terrazzo_runtime.auth import Principal, TokenAuthority
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Forbidden, NotFound, Unprocessable
from terrazzo_schema.events import KeyRevoked
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.task import KeyCreate, KeyView, OrganisationCreate, OrganisationView
from terrazzo_task.domain.projects import Key, Organisation
from terrazzo_task.handlers.views import key_view, organisation_view
from terrazzo_task.ports import Store

DEFAULT_ORGANISATION_ID = "org_default"


class OrganisationWithKey(BaseModel):
    """What is remembered of a creation: enough to sign its first key again, but not the key."""

    organisation: OrganisationView
    key: KeyView


class Done(BaseModel):
    """The answer of a command that has nothing to say."""


def bootstrap(tx: Tx[Store]) -> Key:
    """The first organisation, made if it is not there, and a fresh admin key of it."""
    if tx.store.organisation(DEFAULT_ORGANISATION_ID) is None:
        tx.store.add_organisation(Organisation(DEFAULT_ORGANISATION_ID, "default", tx.clock.now()))
    return _add_key(tx, DEFAULT_ORGANISATION_ID, KeyCreate(name="admin", role="admin"))


def create_organisation(tx: Tx[Store], caller: Principal, command: OrganisationCreate) -> OrganisationWithKey:
    """Raises Forbidden for anyone but the admin of the first organisation."""
    if caller.organisation_id != DEFAULT_ORGANISATION_ID:
        raise Forbidden(
            "only an admin of the first organisation may make another",
            remedy="use the key that was printed at start",
        )
    organisation = Organisation(new_id("org"), command.name, tx.clock.now())
    tx.store.add_organisation(organisation)
    key = _add_key(tx, organisation.organisation_id, KeyCreate(name="admin", role="admin"))
    return OrganisationWithKey(organisation=organisation_view(organisation), key=key_view(key))


def create_key(tx: Tx[Store], caller: Principal, command: KeyCreate) -> KeyView:
    """Raises Unprocessable for a vendor's key that names no vendor."""
    if command.role == "vendor" and command.vendor is None:
        raise Unprocessable(
            "a key with the role vendor names its vendor", field="vendor", remedy="give the vendor's name"
        )
    return key_view(_add_key(tx, caller.organisation_id, command))


def revoke_key(tx: Tx[Store], caller: Principal, key_id: str) -> Done:
    """Refused here from now on, and by the other services when they hear of it. A second time does nothing."""
    key = tx.store.key(caller.organisation_id, key_id)
    if key is None:
        raise NotFound(f"no key {key_id}", field="key_id", value=key_id)
    if key.revoked_at is None:
        tx.store.revoke_key(key, tx.clock.now())
        tx.publish(KeyRevoked(key_id=key_id), key=key_id, organisation_id=caller.organisation_id, project_id="")
    return Done()


def token_of(authority: TokenAuthority, organisation_id: str, key: KeyView) -> str:
    """The signed token of a key. The same key always has the same token, so none need be stored."""
    principal = Principal(key.key_id, organisation_id, key.role, key.name, key.vendor)
    return authority.issue(principal, key.expires_at)


def _add_key(tx: Tx[Store], organisation_id: str, command: KeyCreate) -> Key:
    now = tx.clock.now()
    expires_at = None
    if command.expires_in_s is not None:
        expires_at = (now + timedelta(seconds=command.expires_in_s)).replace(microsecond=0)
    key = Key(new_id("key"), organisation_id, command.name, command.role, command.vendor, now, expires_at)
    tx.store.add_key(key)
    return key
