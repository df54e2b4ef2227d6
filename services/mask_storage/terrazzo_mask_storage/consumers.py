"""Events in: projects and their ontologies, accepted masks, rulings on conflicts, how far annotators agree."""

from __future__ import annotations

from google.protobuf.message import Message

from terrazzo_mask_storage.domain.merge_records import MeasuredAgreement
from terrazzo_mask_storage.handlers.accepted import accept
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.gates import hear_agreement
from terrazzo_mask_storage.handlers.merging.rulings import Ruling, hear_ruling
from terrazzo_mask_storage.handlers.projects import add_project, publish_ontology
from terrazzo_mask_storage.ports import Acceptance, Project, Scope
from terrazzo_runtime.consumer import Handler
from terrazzo_schema.events import (
    ConflictDecided,
    ConsensusReached,
    Event,
    MaskAccepted,
    OntologyPublished,
    ProjectCreated,
)


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

    def on_conflict_decided(event: Event) -> None:
        message = event.message
        assert isinstance(message, ConflictDecided)
        ruling = Ruling(message.conflict_id, None if message.removed else message.mask_id, message.decided_by)
        with deps.uow.begin(cause=event) as tx:
            hear_ruling(tx, _scope(event), ruling)

    def on_consensus_reached(event: Event) -> None:
        message = event.message
        assert isinstance(message, ConsensusReached)
        said = MeasuredAgreement(
            message.sample_id, message.task_id, message.agreement, message.num_votes, event.time
        )
        with deps.uow.begin(cause=event) as tx:
            hear_agreement(tx, _scope(event), said)

    return {
        ProjectCreated: on_project_created,
        OntologyPublished: on_ontology_published,
        MaskAccepted: on_mask_accepted,
        ConflictDecided: on_conflict_decided,
        ConsensusReached: on_consensus_reached,
    }


def _scope(event: Event) -> Scope:
    return Scope(event.organisation_id, event.project_id)
