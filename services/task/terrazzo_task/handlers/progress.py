"""Live progress, from the running counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from terrazzo_schema.ontology import parse_ontology
from terrazzo_schema.rest.task import ClassProgress, Count, ProgressView
from terrazzo_task.domain.work import SUBMISSION_STATES, TASK_STATES
from terrazzo_task.handlers.projects import ontology_of, project_of
from terrazzo_task.ports import Store, Worked

SAMPLE_COUNTS = ("total", "unlabelled", "in_progress", "labelled", "train", "held_out")


def progress_of(store: Store, organisation_id: str, project_id: str, now: datetime) -> ProgressView:
    """A project's progress. `samples["scored"]` counts those that the current model has scored."""
    project = project_of(store, organisation_id, project_id)
    samples = _filled(store.counts(project_id, "samples"), SAMPLE_COUNTS)
    samples["scored"] = store.num_scored_by(project_id, project.model_id) if project.model_id else 0
    return ProgressView(
        project_id=project_id,
        samples=samples,
        tasks=_filled(store.counts(project_id, "tasks"), TASK_STATES),
        submissions=_filled(store.counts(project_id, "submissions"), SUBMISSION_STATES),
        leases_active=store.num_active_leases(project_id, now),
        seconds_spent=store.counts(project_id, "time_ms").get("total", 0) / 1_000,
        annotators=[_count(w) for w in store.worked(project_id, "annotator")],
        vendors=[_count(w) for w in store.worked(project_id, "vendor")],
        classes=_classes(store, organisation_id, project_id),
    )


def _filled(found: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: found.get(name, 0) for name in names}


def _count(worked: Worked) -> Count:
    return Count(
        name=worked.name,
        tasks=worked.num_tasks,
        submissions=worked.num_submissions,
        seconds=worked.time_ms / 1_000,
    )


def _classes(store: Store, organisation_id: str, project_id: str) -> list[ClassProgress]:
    """The forecast for samples not labelled yet, in the order of the ontology."""
    ontology = parse_ontology(ontology_of(store, organisation_id, project_id, None).ontology_json)
    ahead = {c.class_id: c for c in store.class_pixels(project_id) if not c.labelled}
    total = sum(c.pixels for c in ahead.values())
    return [
        ClassProgress(
            class_id=c.id,
            name=c.name,
            pixel_share=ahead[c.id].pixels / total if c.id in ahead and total else 0.0,
            num_samples=ahead[c.id].num_samples if c.id in ahead else 0,
        )
        for c in ontology.classes
    ]
