"""Simulated people as clients: each has a key, leases tasks, looks, works, and submits over REST."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace

import numpy as np

from terrazzo.simulation.annotators import Annotation, AnnotatorProfile, annotate, rng_for
from terrazzo.simulation.reference_world import World
from terrazzo.simulation.review import adjudicate, audit
from terrazzo.simulation.timing import DEFAULT_TIME_MODEL
from terrazzo_client import TerrazzoClient
from terrazzo_masks.labels import LabelMap
from terrazzo_schema.rest.mask_storage import Provenance
from terrazzo_schema.rest.task import LeaseView, SubmissionView, TaskView

__all__ = ["Person", "Work"]


@dataclass(frozen=True)
class Work:
    """One submission, and what only the simulation knows of it."""

    person: str
    task: TaskView
    submission: SubmissionView
    labels_HW: LabelMap | None
    from_nothing_seconds: float


@dataclass
class Person:
    """`world` is this person's eyes: what is truly in the image."""

    profile: AnnotatorProfile
    annotator_id: str
    client: TerrazzoClient
    world: World
    seed: int
    names: dict[str, str]
    done: list[Work] = field(default_factory=list)

    def lease(self, project_id: str, batch_id: str, kinds: list[str]) -> LeaseView | None:
        return self.client.tasks.lease(project_id, batch_id=batch_id, kinds=kinds)

    def work(self, held: LeaseView) -> Work:
        """Do what the task asks and submit it."""
        task = held.task
        truth_HW = self.world.truth(self.names[task.sample_id])
        tries = sum(done.task.task_id == task.task_id for done in self.done)
        purpose = f"{task.kind} again {tries}" if tries else task.kind
        rng = rng_for(self.seed, self.profile.name, task.sample_id, purpose)
        if task.kind == "audit":
            work = self._audit(held, truth_HW, rng)
        else:
            made = (
                self._annotate(task, truth_HW, rng)
                if task.kind == "annotate"
                else self._adjudicate(task, truth_HW, rng)
            )
            seconds = made.seconds
            mask_id = self._store(task, made.labels_HW)
            submission = self._submit(held, mask_id, seconds)
            work = Work(self.profile.name, task, submission, made.labels_HW, made.from_nothing_seconds)
        self.done.append(work)
        return work

    def _annotate(self, task: TaskView, truth_HW: LabelMap, rng: np.random.Generator) -> Annotation:
        proposal_HW = self._labels(task, task.proposal.mask_id) if task.proposal else None
        classes = self.world.ontology.classes
        if task.returned_reason is None or proposal_HW is None:
            return annotate(truth_HW, proposal_HW, self.profile, rng, classes)
        # Nobody hands in unread, or in a hurry, what has just come back from the checks.
        reading = replace(self.profile, accept_blindly_prob=0.0)
        made = annotate(truth_HW, proposal_HW, reading, rng, classes)
        return replace(made, seconds=max(made.seconds, DEFAULT_TIME_MODEL.seconds_to_accept(proposal_HW)))

    def _adjudicate(self, task: TaskView, truth_HW: LabelMap, rng: np.random.Generator) -> Annotation:
        assert task.mask_id is not None
        assert task.region is not None
        consensus_HW = self._labels(task, task.mask_id)
        candidates = [self._labels(task, mask_id) for mask_id in task.candidate_mask_ids]
        # Where classes tie the consensus says nothing: what the first voter said is what there is to start from.
        consensus_HW = np.where(consensus_HW == 0, candidates[0], consensus_HW)
        rows = slice(task.region.y, task.region.y + task.region.height)
        columns = slice(task.region.x, task.region.x + task.region.width)
        made = adjudicate(
            truth_HW[rows, columns],
            [labels_HW[rows, columns] for labels_HW in (consensus_HW, *candidates)],
            self.profile,
            rng,
            self.world.ontology.classes,
        )
        whole_HW = consensus_HW.copy()
        whole_HW[rows, columns] = made.labels_HW
        return Annotation(whole_HW, made.action, made.seconds, made.seconds, made.stats)

    def _audit(self, held: LeaseView, truth_HW: LabelMap, rng: np.random.Generator) -> Work:
        task = held.task
        assert task.mask_id is not None
        judged_HW = self._labels(task, task.mask_id)
        verdict = audit(truth_HW, judged_HW, self.profile, rng, self.world.ontology.classes)
        mask_id = None if verdict.corrected_HW is None else self._store(task, verdict.corrected_HW)
        submission = self._submit(held, mask_id, verdict.seconds, "pass" if verdict.ok else "fail")
        return Work(self.profile.name, task, submission, verdict.corrected_HW, verdict.seconds)

    def _labels(self, task: TaskView, mask_id: str) -> LabelMap:
        return self.client.masks.labels(task.project_id, mask_id).astype(np.uint16)

    def _store(self, task: TaskView, labels_HW: LabelMap) -> str:
        source = {"annotate": "submission", "adjudicate": "adjudication", "audit": "audit"}[task.kind]
        parent = task.mask_id or (task.proposal.mask_id if task.proposal else None)
        provenance = Provenance(
            source=source,  # type: ignore[arg-type]
            actor=self.annotator_id,
            sample_id=task.sample_id,
            parent_mask_id=parent,
        )
        expected = (task.height, task.width)
        return self.client.masks.put(
            task.project_id, npy_bytes(labels_HW), provenance=provenance, expected=expected
        ).mask_id

    def _submit(
        self, held: LeaseView, mask_id: str | None, seconds: float, verdict: str | None = None
    ) -> SubmissionView:
        return self.client.tasks.submit(
            held.task.task_id,
            lease_id=held.lease_id,
            mask_id=mask_id,
            seconds_spent=round(seconds, 3),
            verdict=verdict,
            idempotency_key=f"work-{held.lease_id}",
        )


def npy_bytes(labels_HW: LabelMap) -> bytes:
    """The label map as `.npy`, uint8 where its ids fit."""
    buffer = io.BytesIO()
    np.save(
        buffer, labels_HW.astype(np.uint8) if labels_HW.max(initial=0) < 256 else labels_HW, allow_pickle=False
    )
    return buffer.getvalue()
