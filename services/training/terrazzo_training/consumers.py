"""Events in: projects and their ontologies."""

from __future__ import annotations

from google.protobuf.message import Message

from terrazzo_runtime.consumer import Handler
from terrazzo_schema.events import Event, OntologyPublished, ProjectCreated
from terrazzo_training import handlers
from terrazzo_training.domain.project import Project
from terrazzo_training.handlers import Deps


def handlers_of(deps: Deps) -> dict[type[Message], Handler]:
    def on_project_created(event: Event) -> None:
        assert isinstance(event.message, ProjectCreated)
        project = Project(
            project_id=event.project_id,
            organisation_id=event.organisation_id,
            name=event.message.name,
            ontology_json=event.message.ontology_json,
            ontology_version=event.message.ontology_version,
            held_out_percent=event.message.held_out_percent,
        )
        with deps.uow.begin(cause=event) as tx:
            handlers.learn_project(tx, project)

    def on_ontology_published(event: Event) -> None:
        message = event.message
        assert isinstance(message, OntologyPublished)
        with deps.uow.begin(cause=event) as tx:
            handlers.learn_ontology(
                tx, event.organisation_id, event.project_id, message.version, message.ontology_json
            )

    return {ProjectCreated: on_project_created, OntologyPublished: on_ontology_published}
