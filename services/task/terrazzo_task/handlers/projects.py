"""Projects and their ontologies."""

from __future__ import annotations

import json
from typing import Any

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotFound, Unprocessable
from terrazzo_schema.events import OntologyPublished, ProjectCreated
from terrazzo_schema.ids import new_id
from terrazzo_schema.ontology import Ontology, parse_ontology
from terrazzo_schema.rest.task import OntologyUpdate, OntologyView, ProjectCreate, ProjectView
from terrazzo_task.domain.projects import OntologyVersion, Project, refuse_reused_ids
from terrazzo_task.handlers.views import ontology_view, project_view
from terrazzo_task.ports import Projects, Store

MAX_QA_SETTINGS_BYTES = 65_536


def project_of(store: Projects, organisation_id: str, project_id: str, *, for_change: bool = False) -> Project:
    """Raises NotFound for a project that is not there, or is another organisation's."""
    project = store.project(organisation_id, project_id, for_change=for_change)
    if project is None:
        raise NotFound(f"no project {project_id}", field="project_id", value=project_id)
    return project


def create_project(tx: Tx[Store], caller: Principal, command: ProjectCreate) -> ProjectView:
    """Raises OntologyError, and Unprocessable for check settings that are no JSON."""
    ontology = _readable(parse_ontology(command.ontology))
    project = Project(
        sequence=0,
        project_id=new_id("prj"),
        organisation_id=caller.organisation_id,
        name=command.name,
        held_out_percent=command.held_out_percent,
        lease_s=command.lease_s,
        ontology_version=1,
        created_at=tx.clock.now(),
    )
    tx.store.add_project(project)
    version = _add_version(tx, project, ontology)
    tx.publish(
        ProjectCreated(
            name=project.name,
            held_out_percent=project.held_out_percent,
            ontology_version=1,
            ontology_json=version.ontology_json,
            qa_settings_json=_settings_json(command.qa),
        ),
        key=project.project_id,
        organisation_id=project.organisation_id,
        project_id=project.project_id,
    )
    return project_view(project)


def update_ontology(tx: Tx[Store], caller: Principal, project_id: str, command: OntologyUpdate) -> OntologyView:
    """A new version; the same ontology again is the version that it already has.

    Raises OntologyError, and Unprocessable for an id that belonged to a removed class.
    """
    project = project_of(tx.store, caller.organisation_id, project_id, for_change=True)
    ontology = _readable(parse_ontology(command.ontology))
    versions = tx.store.ontologies(caller.organisation_id, project_id)
    parsed = [parse_ontology(version.ontology_json) for version in versions]
    if ontology == parsed[-1]:
        return ontology_view(versions[-1])
    refuse_reused_ids(parsed[-1], parsed[:-1], ontology)
    project = tx.store.change_project(project, ontology_version=project.ontology_version + 1)
    version = _add_version(tx, project, ontology)
    tx.publish(
        OntologyPublished(version=version.version, ontology_json=version.ontology_json),
        key=project_id,
        organisation_id=project.organisation_id,
        project_id=project_id,
    )
    return ontology_view(version)


def ontology_of(store: Projects, organisation_id: str, project_id: str, number: int | None) -> OntologyVersion:
    """The newest version, or the one numbered. Raises NotFound."""
    project = project_of(store, organisation_id, project_id)
    wanted = project.ontology_version if number is None else number
    for version in store.ontologies(organisation_id, project_id):
        if version.version == wanted:
            return version
    raise NotFound(
        f"project {project_id} has no ontology version {wanted}",
        field="version",
        value=wanted,
        remedy=f"versions 1 to {project.ontology_version}",
    )


def _add_version(tx: Tx[Store], project: Project, ontology: Ontology) -> OntologyVersion:
    version = OntologyVersion(
        project.organisation_id,
        project.project_id,
        project.ontology_version,
        ontology.to_json(),
        tx.clock.now(),
    )
    tx.store.add_ontology(version)
    return version


def _readable(ontology: Ontology) -> Ontology:
    """JSON may carry half of a surrogate pair or a NUL, which no database takes."""
    for name in (ontology.name, *(text for c in ontology.classes for text in (c.name, c.layer))):
        if not name.isprintable():
            raise Unprocessable(
                "a name in the ontology has characters that can't be printed",
                field="ontology",
                value=ascii(name),
                remedy="use printable characters",
            )
    return ontology


def _settings_json(settings: dict[str, Any]) -> str:
    try:
        text = json.dumps(settings, allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise Unprocessable(f"the check settings are no JSON: {error}", field="qa") from error
    if len(text) > MAX_QA_SETTINGS_BYTES:
        raise Unprocessable(f"the check settings have {len(text)} bytes", field="qa", remedy="at most 65536")
    return text
