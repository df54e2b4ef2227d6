"""Records as clients see them."""

from __future__ import annotations

import json

from terrazzo_schema.rest.base import Box
from terrazzo_schema.rest.task import (
    BatchView,
    KeyView,
    LeaseView,
    OntologyView,
    OrganisationView,
    ProjectView,
    Proposal,
    SampleView,
    SubmissionView,
    TaskView,
)
from terrazzo_task.domain.projects import Batch, Key, OntologyVersion, Organisation, Project, Sample
from terrazzo_task.domain.work import Lease, Submission, Task


def organisation_view(organisation: Organisation) -> OrganisationView:
    return OrganisationView(
        organisation_id=organisation.organisation_id,
        name=organisation.name,
        created_at=organisation.created_at,
    )


def key_view(key: Key) -> KeyView:
    return KeyView.model_validate(
        {
            "key_id": key.key_id,
            "name": key.name,
            "role": key.role,
            "vendor": key.vendor,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
        }
    )


def project_view(project: Project) -> ProjectView:
    return ProjectView(
        project_id=project.project_id,
        name=project.name,
        held_out_percent=project.held_out_percent,
        ontology_version=project.ontology_version,
        lease_s=project.lease_s,
        model_id=project.model_id,
        num_samples=project.num_samples,
        created_at=project.created_at,
    )


def ontology_view(version: OntologyVersion) -> OntologyView:
    return OntologyView(
        project_id=version.project_id,
        version=version.version,
        ontology=json.loads(version.ontology_json),
        created_at=version.created_at,
    )


def sample_view(sample: Sample) -> SampleView:
    return SampleView.model_validate(
        {
            "sample_id": sample.sample_id,
            "project_id": sample.project_id,
            "name": sample.name,
            "image_hash": sample.image_hash,
            "height": sample.height,
            "width": sample.width,
            "split": sample.split,
            "state": sample.state,
            "mask_id": sample.mask_id,
            "entropy_mean": sample.entropy_mean,
            "scored_by": sample.scored_by,
            "created_at": sample.created_at,
        }
    )


def batch_view(batch: Batch) -> BatchView:
    return BatchView.model_validate(
        {
            "batch_id": batch.batch_id,
            "project_id": batch.project_id,
            "name": batch.name,
            "strategy": batch.strategy,
            "state": batch.state,
            "model_id": batch.model_id,
            "sample_ids": list(batch.sample_ids),
            "num_tasks": batch.num_tasks,
            "num_tasks_final": batch.num_tasks_final,
            "created_at": batch.created_at,
        }
    )


def task_view(task: Task) -> TaskView:
    proposal = None
    if task.proposal_mask_id is not None:
        proposal = Proposal(mask_id=task.proposal_mask_id, model_id=task.proposal_model_id or "")
    region = task.region
    return TaskView.model_validate(
        {
            "task_id": task.task_id,
            "project_id": task.project_id,
            "batch_id": task.batch_id,
            "kind": task.kind,
            "state": task.state,
            "sample_id": task.sample_id,
            "sample_name": task.sample_name,
            "image_hash": task.image_hash,
            "height": task.height,
            "width": task.width,
            "priority": task.priority,
            "redundancy": task.redundancy,
            "num_submissions": task.num_submissions,
            "proposal": proposal,
            "region": region and Box(y=region.y, x=region.x, height=region.height, width=region.width),
            "mask_id": task.mask_id,
            "candidate_mask_ids": list(task.candidate_mask_ids),
            "base_mask_id": task.base_mask_id,
            "removed_by": task.removed_by,
            "subject_id": task.subject_id,
            "returned_reason": task.returned_reason,
            "chosen_by": task.chosen_by,
            "created_at": task.created_at,
            "closed_at": task.closed_at,
        }
    )


def lease_view(lease: Lease, task: Task) -> LeaseView:
    return LeaseView(
        lease_id=lease.lease_id,
        task=task_view(task),
        annotator_id=lease.annotator_id,
        expires_at=lease.expires_at,
    )


def submission_view(submission: Submission) -> SubmissionView:
    return SubmissionView.model_validate(
        {
            "submission_id": submission.submission_id,
            "task_id": submission.task_id,
            "project_id": submission.project_id,
            "batch_id": submission.batch_id,
            "sample_id": submission.sample_id,
            "kind": submission.kind,
            "annotator_id": submission.annotator_id,
            "annotator": submission.annotator,
            "vendor": submission.vendor,
            "mask_id": submission.mask_id,
            "verdict": submission.verdict,
            "seconds_spent": submission.seconds_spent,
            "state": submission.state,
            "late": submission.late,
            "codes": list(submission.codes),
            "created_at": submission.created_at,
        }
    )
