"""Events in."""

from __future__ import annotations

from google.protobuf.message import Message

from terrazzo_inference.handlers import jobs, models, projects
from terrazzo_inference.ports import Deps
from terrazzo_runtime.consumer import Handler
from terrazzo_schema.events import (
    BatchChosen,
    Event,
    ModelPromoted,
    OntologyPublished,
    ProjectCreated,
    SampleAdded,
)


def handlers_of(deps: Deps) -> dict[type[Message], Handler]:
    def on_project_created(event: Event) -> None:
        assert isinstance(event.message, ProjectCreated)
        with deps.uow.begin(cause=event) as tx:
            projects.add_project(tx, event.organisation_id, event.project_id, event.message)

    def on_ontology_published(event: Event) -> None:
        assert isinstance(event.message, OntologyPublished)
        with deps.uow.begin(cause=event) as tx:
            projects.publish_ontology(tx, event.organisation_id, event.project_id, event.message)

    def on_sample_added(event: Event) -> None:
        assert isinstance(event.message, SampleAdded)
        with deps.uow.begin(cause=event) as tx:
            projects.add_sample(tx, event.organisation_id, event.project_id, event.message)

    def on_model_promoted(event: Event) -> None:
        """Load first, commit after: until the commit the old model answers, and then the new one can.

        A model whose files are wrong is parked at once as a dead letter, and the old one stays.
        """
        assert isinstance(event.message, ModelPromoted)
        description = deps.runtime.load(event.message.model_name, event.message.version)
        with deps.uow.begin(cause=event) as tx:
            models.promote(tx, event.organisation_id, event.project_id, event.message, description)
        models.release_unused(deps)

    def on_batch_chosen(event: Event) -> None:
        assert isinstance(event.message, BatchChosen)
        with deps.uow.begin(cause=event) as tx:
            jobs.propose_batch(tx, event.organisation_id, event.project_id, event.message)

    return {
        ProjectCreated: on_project_created,
        OntologyPublished: on_ontology_published,
        SampleAdded: on_sample_added,
        ModelPromoted: on_model_promoted,
        BatchChosen: on_batch_chosen,
    }
