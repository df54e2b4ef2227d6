"""Organisations, keys, projects, samples, batches, and how an ontology may change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from terrazzo_schema.errors import Unprocessable
from terrazzo_schema.ontology import Ontology


@dataclass(frozen=True)
class Organisation:
    organisation_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True)
class Key:
    """An API key as it is remembered; the signed token itself is stored nowhere."""

    key_id: str
    organisation_id: str
    name: str
    role: str
    vendor: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Project:
    sequence: int
    project_id: str
    organisation_id: str
    name: str
    held_out_percent: int
    lease_s: int
    ontology_version: int
    created_at: datetime
    model_id: str | None = None
    model_at: datetime | None = None
    num_samples: int = 0


@dataclass(frozen=True)
class OntologyVersion:
    organisation_id: str
    project_id: str
    version: int
    ontology_json: str
    created_at: datetime


@dataclass(frozen=True)
class ClassShare:
    """What a model saw of one class: its share of the image's pixels and their mean entropy, both 0..1."""

    class_id: int
    share: float
    entropy: float


@dataclass(frozen=True)
class Sample:
    organisation_id: str
    project_id: str
    sample_id: str
    name: str
    image_hash: str
    height: int
    width: int
    split: str
    state: str
    created_at: datetime
    mask_id: str | None = None
    mask_revision: int = 0
    entropy_mean: float | None = None
    scored_by: str | None = None
    scored_at: datetime | None = None
    classes: tuple[ClassShare, ...] = ()


@dataclass(frozen=True)
class Batch:
    sequence: int
    batch_id: str
    organisation_id: str
    project_id: str
    name: str
    strategy: str
    state: str
    priority: int
    model_id: str | None
    sample_ids: tuple[str, ...]
    num_tasks: int
    num_tasks_final: int
    num_waiting: int
    created_at: datetime
    proposed_at: datetime
    closed_at: datetime | None = None


def refuse_reused_ids(current: Ontology, earlier: Iterable[Ontology], proposed: Ontology) -> None:
    """An id means one class for ever: one that was removed stays reserved.

    A class may be renamed, recoloured or moved. Raises Unprocessable for an id that an earlier version
    had and the current one no longer has: masks drawn then may still carry it.
    """
    reserved = {class_id for old in earlier for class_id in old.ids} - set(current.ids)
    for candidate in proposed.classes:
        if candidate.id in reserved:
            raise Unprocessable(
                f"the id {candidate.id} belonged to a class that was removed, and stays reserved",
                field="ontology.classes.id",
                value=candidate.id,
                remedy=f"give {candidate.name!r} an id that was never used in this project",
            )


def forecast_pixels(sample: Sample) -> dict[int, int]:
    """Predicted pixels per class. Whole numbers, so that adding and taking away leaves no rest."""
    area = sample.height * sample.width
    found = {c.class_id: round(c.share * area) for c in sample.classes}
    return {class_id: pixels for class_id, pixels in found.items() if pixels > 0}
