"""Which model answers for a project, and the swap from one to the next."""

from __future__ import annotations

from terrazzo_inference.domain.model import ModelDescription
from terrazzo_inference.handlers.projects import require_project
from terrazzo_inference.ports import Deps, Model, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotFound
from terrazzo_schema.events import ModelPromoted, PredictorReady
from terrazzo_schema.rest.inference import PredictorView


def promote(
    tx: Tx[Store], organisation_id: str, project_id: str, message: ModelPromoted, description: ModelDescription
) -> None:
    """The model, which is loaded, answers from this commit on. Jobs that began keep the one they began with."""
    tx.store.put_predictor(
        Model(
            model_id=message.model_id,
            organisation_id=organisation_id,
            project_id=project_id,
            model_name=message.model_name,
            version=message.version,
            class_ids=description.class_ids,
            tile_px=description.tile_px,
            loaded_at=tx.clock.now(),
        )
    )
    tx.publish(
        PredictorReady(model_id=message.model_id, model_name=message.model_name, version=message.version),
        key=project_id,
        organisation_id=organisation_id,
        project_id=project_id,
    )


def release_unused(deps: Deps) -> None:
    """Unload what no project answers with and no unfinished job waits for."""
    loaded = deps.runtime.loaded()
    with deps.uow.read() as store:
        in_use = store.models_in_use()
    for model_name, version in loaded:
        if (model_name, version) not in in_use:
            deps.runtime.unload(model_name, version)


def view_predictor(store: Store, organisation_id: str, project_id: str) -> PredictorView:
    """Raises NotKnownYet for an unknown project, NotFound when it has no model."""
    require_project(store, organisation_id, project_id)
    model = store.predictor(organisation_id, project_id)
    if model is None:
        raise NotFound(
            f"project {project_id} has no model yet",
            field="project_id",
            value=project_id,
            remedy="train a model and promote it",
        )
    return PredictorView(
        project_id=project_id,
        model_id=model.model_id,
        model_name=model.model_name,
        version=model.version,
        loaded_at=model.loaded_at,
        class_ids=list(model.class_ids),
        tile_px=model.tile_px,
    )
