"""The projects that this service has heard of, and their ontologies."""

from __future__ import annotations

from functools import lru_cache

from terrazzo_mask_storage.ports import Project, Scope, Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.ontology import Ontology, parse_ontology


def known_project(store: Store, scope: Scope) -> Project:
    """Raises NotKnownYet for a project of which no event has arrived."""
    project = store.project(scope)
    if project is None:
        raise NotKnownYet(
            f"no project {scope.project_id}", field="project_id", value=scope.project_id, remedy="check the id"
        )
    return project


@lru_cache(maxsize=64)
def ontology_of(ontology_json: str) -> Ontology:
    return parse_ontology(ontology_json)


def add_project(tx: Tx[Store], scope: Scope, project: Project) -> None:
    known = tx.store.project(scope)
    if known is None or known.ontology_version < project.ontology_version:
        tx.store.put_project(scope, project)


def publish_ontology(tx: Tx[Store], scope: Scope, version: int, ontology_json: str) -> None:
    known = known_project(tx.store, scope)
    if version > known.ontology_version:
        tx.store.put_project(scope, Project(known.name, known.held_out_percent, version, ontology_json))
