"""Projects as the QA service knows them, and their settings."""

from __future__ import annotations

import json
from typing import Any

from terrazzo_qa.domain.records import Project
from terrazzo_qa.domain.settings import parse_settings
from terrazzo_qa.ports import Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet, Unprocessable
from terrazzo_schema.events import OntologyPublished, ProjectCreated
from terrazzo_schema.rest.qa import CheckSettingsView


def known_project(store: Store, organisation_id: str, project_id: str) -> Project:
    """Raises NotKnownYet: the task service owns projects, and its event may be on the way."""
    project = store.project(organisation_id, project_id)
    if project is None:
        raise NotKnownYet(
            f"no project {project_id}",
            field="project_id",
            value=project_id,
            remedy="create it first, with POST /v1/projects",
        )
    return project


def create_project(tx: Tx[Store], organisation_id: str, project_id: str, message: ProjectCreated) -> None:
    """Keep a new project. Settings that make no sense are refused whole, and the project says why."""
    if tx.store.project(organisation_id, project_id) is not None:
        return
    given, problem = _settings_of(message.qa_settings_json)
    tx.store.add_project(
        Project(
            organisation_id=organisation_id,
            project_id=project_id,
            name=message.name,
            ontology_version=message.ontology_version,
            ontology_json=message.ontology_json,
            held_out_percent=message.held_out_percent,
            settings=given,
            settings_problem=problem,
        )
    )


def _settings_of(text: str) -> tuple[dict[str, Any], str | None]:
    # The event can't be refused any more, and trying it again would change nothing.
    try:
        given = json.loads(text or "{}")
        if not isinstance(given, dict):
            return {}, f"the settings are a {type(given).__name__}, not an object"
        parse_settings(given)
    except Unprocessable as error:
        return {}, error.detail
    except json.JSONDecodeError as error:
        return {}, f"the settings are not JSON: {error}"
    return given, None


def publish_ontology(tx: Tx[Store], organisation_id: str, project_id: str, message: OntologyPublished) -> None:
    """Check against the newest ontology from now on. An older version that comes late is ignored."""
    project = known_project(tx.store, organisation_id, project_id)
    if message.version > project.ontology_version:
        tx.store.replace_ontology(organisation_id, project_id, message.version, message.ontology_json)


def update_settings(
    tx: Tx[Store], organisation_id: str, project_id: str, given: dict[str, Any]
) -> CheckSettingsView:
    """Change the given keys; the others stay. Raises Unprocessable."""
    changed = {**known_project(tx.store, organisation_id, project_id).settings, **given}
    parse_settings(changed)
    tx.store.replace_settings(organisation_id, project_id, changed)
    return settings_view(known_project(tx.store, organisation_id, project_id))


def settings_view(project: Project) -> CheckSettingsView:
    settings = parse_settings(project.settings).model_dump(mode="json")
    return CheckSettingsView(project_id=project.project_id, settings=settings, problem=project.settings_problem)
