"""Accepted masks: the sample's label from then on, staged on main."""

from __future__ import annotations

from terrazzo_mask_storage.handlers.datasets import stage_items
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.projects import known_project
from terrazzo_mask_storage.handlers.refs import MAIN
from terrazzo_mask_storage.ports import Acceptance, Scope, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import CorruptInput, NotKnownYet, Unprocessable


def accept(tx: Tx[Store], deps: Deps, scope: Scope, acceptance: Acceptance) -> None:
    """Stage an accepted mask, unless this task has said a revision as high or higher before.

    A sample's acceptances arrive in the order in which they were said, so one of another task is the newer one.
    Raises NotKnownYet while project, sample or mask are not here; CorruptInput (parked at once) for a mask that
    can never be the sample's.
    """
    known_project(tx.store, scope)
    if acceptance.sample_id not in tx.store.images_of(scope, [acceptance.sample_id]):
        raise NotKnownYet(f"no sample {acceptance.sample_id} yet", field="sample_id", value=acceptance.sample_id)
    if tx.store.mask(scope, acceptance.mask_id) is None:
        raise NotKnownYet(f"no mask {acceptance.mask_id} yet", field="mask_id", value=acceptance.mask_id)
    earlier = tx.store.acceptances(scope, acceptance.sample_id)
    if any(e.task_id == acceptance.task_id and e.revision >= acceptance.revision for e in earlier):
        return
    tx.store.put_acceptance(scope, acceptance)
    try:
        stage_items(tx, deps, scope, MAIN, {acceptance.sample_id: acceptance.mask_id})
    except Unprocessable as error:
        raise CorruptInput(error.detail, field=error.field, value=error.value) from error
