"""What training knows of a project: the classes to tell apart and the held-out share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Project:
    project_id: str
    organisation_id: str
    name: str
    ontology_json: str
    ontology_version: int
    held_out_percent: int
