"""Copies of what the task service says: projects, ontologies, samples."""

from __future__ import annotations

from terrazzo_inference.ports import Project, Sample, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import OntologyPublished, ProjectCreated, SampleAdded


def add_project(tx: Tx[Store], organisation_id: str, project_id: str, message: ProjectCreated) -> None:
    tx.store.put_project(
        Project(
            project_id=project_id,
            organisation_id=organisation_id,
            name=message.name,
            ontology_json=message.ontology_json,
            ontology_version=message.ontology_version,
            held_out_percent=message.held_out_percent,
            qa_settings=message.qa_settings_json,
        )
    )


def publish_ontology(tx: Tx[Store], organisation_id: str, project_id: str, message: OntologyPublished) -> None:
    if not tx.store.put_ontology(organisation_id, project_id, message.version, message.ontology_json):
        raise unknown_project(project_id)


def add_sample(tx: Tx[Store], organisation_id: str, project_id: str, message: SampleAdded) -> None:
    sample = message.sample
    tx.store.put_sample(
        organisation_id,
        project_id,
        Sample(sample.sample_id, sample.image_hash, sample.height, sample.width),
        message.split,
        message.name,
    )


def require_project(store: Store, organisation_id: str, project_id: str) -> Project:
    """Raises NotKnownYet, also for a project of another organisation."""
    project = store.project(organisation_id, project_id)
    if project is None:
        raise unknown_project(project_id)
    return project


def unknown_project(project_id: str) -> NotKnownYet:
    return NotKnownYet(f"no project {project_id}", field="project_id", value=project_id)
