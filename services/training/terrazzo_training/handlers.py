"""Commands: one transaction each. HTTP, events and the supervisor call these; nothing else writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from terrazzo_runtime.unit_of_work import Tx, UnitOfWork
from terrazzo_schema.errors import Conflict, NotFound, NotKnownYet, Unprocessable
from terrazzo_schema.events import ModelPromoted, ModelRegistered, RunFinished, RunProgress, RunStarted
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.training import (
    EpochView,
    Metrics,
    ModelView,
    PromoteCreate,
    PromotionView,
    RunCreate,
    RunView,
)
from terrazzo_training.domain.configuration import model_name_of, trainer_settings
from terrazzo_training.domain.models import Model, decide_promotion
from terrazzo_training.domain.project import Project
from terrazzo_training.domain.reports import EpochReport
from terrazzo_training.domain.runs import Run, State
from terrazzo_training.ports import JobLauncher, Store


@dataclass(frozen=True)
class Deps:
    """What endpoints and event handlers are given."""

    uow: UnitOfWork[Store]
    launcher: JobLauncher


# --- projects -------------------------------------------------------------------------------------


def learn_project(tx: Tx[Store], project: Project) -> None:
    """Keep what ProjectCreated says, unless a newer ontology is known already."""
    known = tx.store.project(project.organisation_id, project.project_id)
    if known is None or known.ontology_version < project.ontology_version:
        tx.store.put_project(project)


def learn_ontology(tx: Tx[Store], organisation_id: str, project_id: str, version: int, ontology_json: str) -> None:
    """Runs created from now on use this ontology. Raises NotKnownYet before the project's own event."""
    known = tx.store.project(organisation_id, project_id)
    if known is None:
        raise NotKnownYet(f"no project {project_id}", field="project_id", value=project_id)
    if version > known.ontology_version:
        tx.store.put_project(replace(known, ontology_version=version, ontology_json=ontology_json))


# --- runs -----------------------------------------------------------------------------------------


def create_run(tx: Tx[Store], organisation_id: str, body: RunCreate) -> RunView:
    """Queue a run. Raises NotKnownYet, Unprocessable."""
    project = tx.store.project(organisation_id, body.project_id)
    if project is None:
        raise NotKnownYet(f"no project {body.project_id}", field="project_id", value=body.project_id)
    for field, ref in (("ref", body.ref), ("eval_ref", body.eval_ref)):
        if ref is not None and not ref.isprintable():
            raise Unprocessable(
                f"{field} has characters that no name has",
                field=field,
                value=ascii(ref),
                remedy="commit id, branch or tag",
            )
    if body.init_from is not None:
        parent = tx.store.model(organisation_id, body.init_from)
        if parent is None or parent.project_id != body.project_id:
            raise Unprocessable(
                f"init_from: the project has no model {body.init_from}",
                field="init_from",
                value=body.init_from,
                remedy="give the id of one of its models, or null",
            )
    run_id = new_id("run")
    run = Run(
        run_id=run_id,
        organisation_id=organisation_id,
        project_id=body.project_id,
        state="queued",
        ref=body.ref,
        eval_ref=body.eval_ref,
        init_from=body.init_from,
        seed=body.seed,
        config=dict(body.config),
        settings=trainer_settings(run_id, project, body.seed, body.config),
        created_at=tx.clock.now(),
    )
    tx.store.add_run(run)
    return _run_view(run, [])


def list_runs(
    store: Store, organisation_id: str, project_id: str | None, cursor: int | None, limit: int
) -> Page[RunView]:
    """Newest first."""
    found = store.runs(organisation_id, project_id, cursor, limit + 1)
    runs = found[:limit]
    epochs = store.epochs([run.run_id for run in runs])
    return Page(
        items=[_run_view(run, epochs.get(run.run_id, [])) for run in runs],
        next_cursor=str(runs[-1].sequence) if len(found) > limit else None,
    )


def get_run(store: Store, organisation_id: str, run_id: str) -> RunView:
    """Raises NotFound."""
    run = _run(store, organisation_id, run_id)
    return _run_view(run, store.epochs([run_id]).get(run_id, []))


def cancel_run(tx: Tx[Store], organisation_id: str, run_id: str) -> RunView:
    """End it for good; its trainer is stopped next. Raises NotFound, Conflict when it is over otherwise."""
    run = _run(tx.store, organisation_id, run_id)
    if run.is_over and run.state != "cancelled":
        raise Conflict(f"the run is over: {run.state}", field="run_id", value=run_id)
    if not run.is_over:
        run = _finish(tx, run, "cancelled", reason="cancelled on request")
    return _run_view(run, tx.store.epochs([run_id]).get(run_id, []))


def resolve_run(tx: Tx[Store], run: Run, commit_id: str, eval_commit_id: str | None) -> None:
    """Pin a queued run to the dataset versions that its refs name now."""
    current = _run(tx.store, run.organisation_id, run.run_id)
    if current.state == "queued" and current.commit_id is None:
        tx.store.replace_run(replace(current, commit_id=commit_id, eval_commit_id=eval_commit_id))


def start_run(tx: Tx[Store], run: Run, code_version: str, crashed: bool = False) -> Run | None:
    """Count a start, before the trainer is launched; None when the run is over meanwhile.

    A second start is a continuation from the checkpoint, so that RunStarted is said once.
    """
    current = _run(tx.store, run.organisation_id, run.run_id)
    if current.is_over:
        return None
    assert current.commit_id is not None
    if current.state == "queued":
        tx.publish(
            RunStarted(run_id=run.run_id, commit_id=current.commit_id),
            key=run.run_id,
            organisation_id=run.organisation_id,
            project_id=run.project_id,
        )
    started = replace(
        current,
        state="running",
        started_at=current.started_at or tx.clock.now(),
        code_version=current.code_version or code_version,
        num_starts=current.num_starts + 1,
        num_crashes=current.num_crashes + crashed,
    )
    tx.store.replace_run(started)
    return started


def record_epoch(tx: Tx[Store], run: Run, report: EpochReport) -> bool:
    """Keep an epoch's figures and say so, once. False when it is known or the run is over."""
    if _run(tx.store, run.organisation_id, run.run_id).state != "running" or not tx.store.add_epoch(run, report):
        return False
    tx.publish(
        RunProgress(run_id=run.run_id, epoch=report.epoch, num_epochs=run.num_epochs, loss=report.loss),
        key=run.run_id,
        organisation_id=run.organisation_id,
        project_id=run.project_id,
    )
    return True


def fail_run(tx: Tx[Store], run: Run, reason: str) -> None:
    current = _run(tx.store, run.organisation_id, run.run_id)
    if not current.is_over:
        _finish(tx, current, "failed", reason=reason[:2_000])


def register_model(
    tx: Tx[Store], run: Run, version: int, metrics: Mapping[str, Any], weights_hash: str
) -> Model | None:
    """The run's result becomes a model version; None when the run is over meanwhile (cancelled)."""
    current = _run(tx.store, run.organisation_id, run.run_id)
    if current.is_over:
        return None
    assert current.commit_id is not None
    assert current.code_version is not None
    model = Model(
        model_id=new_id("mdl"),
        organisation_id=run.organisation_id,
        project_id=run.project_id,
        run_id=run.run_id,
        commit_id=current.commit_id,
        eval_commit_id=current.eval_commit_id or current.commit_id,
        parent_model_id=current.init_from,
        model_name=model_name_of(run.project_id),
        version=version,
        arch=str(current.settings["arch"]),
        seed=current.seed,
        config=current.settings,
        code_version=current.code_version,
        metrics=dict(metrics),
        weights_hash=weights_hash,
        state="registered",
        created_at=tx.clock.now(),
    )
    tx.store.add_model(model)
    _finish(tx, current, "succeeded", model_id=model.model_id)
    tx.publish(
        ModelRegistered(
            model_id=model.model_id,
            run_id=run.run_id,
            commit_id=model.commit_id,
            model_name=model.model_name,
            version=version,
            miou=model.miou or 0.0,
        ),
        key=model.model_id,
        organisation_id=run.organisation_id,
        project_id=run.project_id,
    )
    return model


# --- models ---------------------------------------------------------------------------------------


def list_models(
    store: Store, organisation_id: str, project_id: str | None, cursor: int | None, limit: int
) -> Page[ModelView]:
    """Newest first."""
    found = store.models(organisation_id, project_id, cursor, limit + 1)
    models = found[:limit]
    return Page(
        items=[_model_view(model) for model in models],
        next_cursor=str(models[-1].sequence) if len(found) > limit else None,
    )


def get_model(store: Store, organisation_id: str, model_id: str) -> ModelView:
    """Raises NotFound."""
    return _model_view(_model(store, organisation_id, model_id))


def promote_model(tx: Tx[Store], organisation_id: str, model_id: str, body: PromoteCreate) -> PromotionView:
    """Make it the project's model, or say why not. A second time changes nothing. Raises NotFound."""
    model = _model(tx.store, organisation_id, model_id)
    if model.state == "promoted":
        return PromotionView(promoted=True, model=_model_view(model), reason="it is the project's model already")
    present = tx.store.promoted_model(organisation_id, model.project_id)
    decision = decide_promotion(model, present, body.only_if_better)
    if not decision.promote:
        return PromotionView(promoted=False, model=_model_view(model), reason=decision.reason)
    if present is not None:
        tx.store.replace_model(replace(present, state="retired"))
    model = replace(model, state="promoted", promoted_at=tx.clock.now())
    tx.store.replace_model(model)
    tx.publish(
        ModelPromoted(
            model_id=model_id, model_name=model.model_name, version=model.version, miou=model.miou or 0.0
        ),
        key=model.project_id,
        organisation_id=organisation_id,
        project_id=model.project_id,
    )
    return PromotionView(promoted=True, model=_model_view(model), reason=decision.reason)


def _run(store: Store, organisation_id: str, run_id: str) -> Run:
    run = store.run(organisation_id, run_id)
    if run is None:
        raise NotFound(f"no run {run_id}", field="run_id", value=run_id)
    return run


def _model(store: Store, organisation_id: str, model_id: str) -> Model:
    model = store.model(organisation_id, model_id)
    if model is None:
        raise NotFound(f"no model {model_id}", field="model_id", value=model_id)
    return model


def _finish(
    tx: Tx[Store], run: Run, state: State, *, reason: str | None = None, model_id: str | None = None
) -> Run:
    run = replace(run, state=state, reason=reason, model_id=model_id, finished_at=tx.clock.now())
    tx.store.replace_run(run)
    tx.publish(
        RunFinished(run_id=run.run_id, state=state, model_id=model_id or "", reason=reason or ""),
        key=run.run_id,
        organisation_id=run.organisation_id,
        project_id=run.project_id,
    )
    return run


def _run_view(run: Run, epochs: list[EpochReport]) -> RunView:
    return RunView(
        run_id=run.run_id,
        project_id=run.project_id,
        state=run.state,
        commit_id=run.commit_id or "",
        eval_commit_id=run.eval_commit_id,
        init_from=run.init_from,
        seed=run.seed,
        config=run.config,
        num_epochs=run.num_epochs,
        epochs=[
            EpochView(epoch=e.epoch, loss=e.loss, learning_rate=e.learning_rate, seconds=e.seconds) for e in epochs
        ],
        model_id=run.model_id,
        reason=run.reason,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def _model_view(model: Model) -> ModelView:
    return ModelView(
        model_id=model.model_id,
        project_id=model.project_id,
        run_id=model.run_id,
        commit_id=model.commit_id,
        eval_commit_id=model.eval_commit_id,
        parent_model_id=model.parent_model_id,
        model_name=model.model_name,
        version=model.version,
        arch=model.arch,
        seed=model.seed,
        config=model.config,
        code_version=model.code_version,
        metrics=Metrics.model_validate(model.metrics),
        state=model.state,
        created_at=model.created_at,
        promoted_at=model.promoted_at,
    )
