"""Events in: projects and their ontologies, accepted masks."""

from __future__ import annotations

from google.protobuf.message import Message

from terrazzo_mask_storage.handlers.accepted import accept
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.projects import add_project, publish_ontology
from terrazzo_mask_storage.ports import Acceptance, Project, Scope
from terrazzo_runtime.consumer import Handler
from terrazzo_schema.events import Event, MaskAccepted, OntologyPublished, ProjectCreated


def handlers_of(deps: Deps) -> dict[type[Message], Handler]:
    def on_project_created(event: Event) -> None:
        message = event.message
        assert isinstance(message, ProjectCreated)
        project = Project(message.name, message.held_out_percent, message.ontology_version, message.ontology_json)
        with deps.uow.begin(cause=event) as tx:
            add_project(tx, _scope(event), project)

    def on_ontology_published(event: Event) -> None:
        message = event.message
        assert isinstance(message, OntologyPublished)
        with deps.uow.begin(cause=event) as tx:
            publish_ontology(tx, _scope(event), message.version, message.ontology_json)

    def on_mask_accepted(event: Event) -> None:
        message = event.message
        assert isinstance(message, MaskAccepted)
        acceptance = Acceptance(
            message.sample_id,
            message.task_id,
            message.revision,
            message.mask_id,
            message.decided_by,
            tuple(message.submission_ids),
        )
        with deps.uow.begin(cause=event) as tx:
            accept(tx, deps, _scope(event), acceptance)

    return {
        ProjectCreated: on_project_created,
        OntologyPublished: on_ontology_published,
        MaskAccepted: on_mask_accepted,
    }


def _scope(event: Event) -> Scope:
    return Scope(event.organisation_id, event.project_id)
