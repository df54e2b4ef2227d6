"""One round of the loop, stage by stage, through the public REST API alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from terrazzo.simulation.people import Person, Work
from terrazzo.simulation.summary import StageSpan
from terrazzo.simulation.waiting import wait_until
from terrazzo_client import ApiError, TerrazzoClient
from terrazzo_schema.errors import Unavailable
from terrazzo_schema.rest.qa import AuditView, ConsensusView
from terrazzo_schema.rest.task import BatchView, TaskView
from terrazzo_schema.rest.training import ModelView

CROPS_PER_SAMPLE = 50
FINAL = ("accepted", "cancelled")
_MAX_SWEEPS = 200


@dataclass(frozen=True)
class RoundSettings:
    """What a round is asked for; the same in each round but for its seed."""

    batch_size: int
    strategy: str
    redundancy: int = 3
    multi_share: float = 0.25
    random_share: float = 0.1
    audit_share: float = 0.25
    confidence: float = 0.95
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class RoundResult:
    """What a round did, as the services answered."""

    index: int
    batch: BatchView
    works: list[Work]
    consensus: list[ConsensusView]
    audit: AuditView | None
    commit_id: str
    model: ModelView
    promoted: bool
    num_adjudicated: int
    num_returned: int
    stage_wall_s: dict[str, float]


@dataclass
class Loop:
    """A project under way: who works on it, and what has happened so far."""

    client: TerrazzoClient
    project_id: str
    annotators: list[Person]
    reviewer: Person
    auditor: Person
    eval_ref: str
    seed: int
    settings: RoundSettings
    say: Callable[[str], None]
    started_s: float = field(default_factory=time.monotonic)
    stages: list[StageSpan] = field(default_factory=list)
    current: ModelView | None = None
    labelled: int = 0

    def run(self, index: int) -> RoundResult:
        """Round `index` (1 is the first). Raises Unavailable when a stage does not come to its end."""
        first_stage = len(self.stages)
        if self.current is not None:
            with self.stage(index, "score"):
                self._score()
        with self.stage(index, "choose"):
            batch = self._choose(index)
        with self.stage(index, "predict"):
            batch = self._await_open(batch)
        with self.stage(index, "annotate"):
            works = self._annotate(batch)
        with self.stage(index, "adjudicate"):
            adjudications = self._adjudicate(batch)
        with self.stage(index, "audit"):
            audit, audits = self._audit(batch, index)
        with self.stage(index, "commit"):
            commit_id = self._commit(batch, index)
        with self.stage(index, "train"):
            model = self._train(commit_id, index, batch)
        with self.stage(index, "promote"):
            promoted = self._promote(model)
        consensus = list(self.client.consensus.list(self.project_id, batch_id=batch.batch_id))
        works = self._with_states([*works, *adjudications, *audits])
        return RoundResult(
            index=index,
            batch=self.client.batches.get(self.project_id, batch.batch_id),
            works=works,
            consensus=sorted(consensus, key=lambda c: c.sample_id),
            audit=audit,
            commit_id=commit_id,
            model=model,
            promoted=promoted,
            num_adjudicated=len(adjudications),
            num_returned=sum(w.submission.state == "returned" for w in works),
            stage_wall_s={s.name: round(s.end_s - s.start_s, 3) for s in self.stages[first_stage:]},
        )

    @contextmanager
    def stage(self, index: int, name: str) -> Iterator[None]:
        self.say(f"round {index}: {name}")
        start = time.monotonic() - self.started_s
        yield
        end = time.monotonic() - self.started_s
        self.stages.append(StageSpan(round=index, name=name, start_s=round(start, 3), end_s=round(end, 3)))

    def _score(self) -> None:
        """Let the current model look at everything that nobody has labelled yet."""
        samples = self.client.samples.list(self.project_id, split="train", state="unlabelled")
        sample_ids = sorted(s.sample_id for s in samples)
        if not sample_ids:
            return
        job = self.client.predictions.create(self.project_id, sample_ids, purpose="score")
        self.client.predictions.wait(self.project_id, job.job_id)
        assert self.current is not None
        model_id = self.current.model_id

        def all_scored() -> bool | None:
            waiting = self.client.samples.list(self.project_id, split="train", state="unlabelled")
            return all(s.scored_by == model_id for s in waiting) or None

        wait_until(all_scored, "the scores to reach the task service")

    def _choose(self, index: int) -> BatchView:
        asked = self.settings
        return self.client.batches.create(
            self.project_id,
            name=f"round {index}",
            size=asked.batch_size,
            strategy=asked.strategy,
            redundancy=asked.redundancy,
            multi_share=asked.multi_share,
            random_share=asked.random_share,
            seed=self.seed * 1_000 + index,
        )

    def _await_open(self, batch: BatchView) -> BatchView:
        def opened() -> BatchView | None:
            now = self.client.batches.get(self.project_id, batch.batch_id)
            return now if now.state != "proposing" else None

        return wait_until(opened, "the proposals of the batch", limit_s=600)

    def _annotate(self, batch: BatchView) -> list[Work]:
        """Sweeps: everyone takes tasks in turn, works, submits; then the checks speak. A returned task
        is open again in the next sweep, so who gets it does not depend on how fast the checks were."""
        works: list[Work] = []
        for _ in range(_MAX_SWEEPS):
            swept = self._sweep(batch, self.annotators, "annotate")
            if not swept:
                return works
            works += swept
            for work in swept:
                self._await_check(work)
        raise Unavailable(f"after {_MAX_SWEEPS} sweeps there are still tasks that come back")

    def _sweep(self, batch: BatchView, people: list[Person], kind: str) -> list[Work]:
        held = []
        willing = list(people)
        while willing:
            for person in list(willing):
                try:
                    lease = person.lease(self.project_id, batch.batch_id, [kind])
                except ApiError as error:
                    if error.status != 409:  # 409: this person holds as many as allowed
                        raise
                    lease = None
                if lease is None:
                    willing.remove(person)
                else:
                    held.append((person, lease))
        works = []
        for number, (person, lease) in enumerate(held, start=1):
            self.say(f"{kind} {number}/{len(held)} ({person.profile.name})")
            works.append(person.work(lease))
        return works

    def _await_check(self, work: Work) -> None:
        submission_id = work.submission.submission_id

        def checked() -> bool | None:
            try:
                return self.client.checks.get(self.project_id, submission_id).passed
            except ApiError as error:
                if error.status != 404:
                    raise
                return None

        if wait_until(checked, f"the checks of {submission_id}"):
            return

        def returned() -> bool | None:
            return self.client.submissions.get(submission_id).state == "returned" or None

        wait_until(returned, f"{submission_id} to be returned")

    def _with_states(self, works: list[Work]) -> list[Work]:
        return [replace(w, submission=self.client.submissions.get(w.submission.submission_id)) for w in works]

    def _tasks(self, batch: BatchView, kind: str) -> list[TaskView]:
        return list(self.client.tasks.list(self.project_id, kind=kind, batch_id=batch.batch_id))

    def _adjudicate(self, batch: BatchView) -> list[Work]:
        """The reviewer settles what the annotators disputed; ends when each sample is accepted."""

        def all_decided_or_disputed() -> bool | None:
            undecided = sum(t.state not in FINAL for t in self._tasks(batch, "annotate"))
            disputed = sum(t.state not in FINAL for t in self._tasks(batch, "adjudicate"))
            return undecided == disputed or None

        wait_until(all_decided_or_disputed, "the consensus of every task")
        works = []
        while swept := self._sweep(batch, [self.reviewer], "adjudicate"):
            works += swept
            for work in swept:
                self._await_check(work)

        def all_final() -> bool | None:
            return all(t.state in FINAL for k in ("annotate", "adjudicate") for t in self._tasks(batch, k)) or None

        wait_until(all_final, "every task of the batch to be accepted")
        return works

    def _audit(self, batch: BatchView, index: int) -> tuple[AuditView | None, list[Work]]:
        """A random share of the accepted masks is judged by someone who made none of them."""
        if self.settings.audit_share <= 0:
            return None, []
        audit = self.client.audits.create(
            self.project_id,
            batch.batch_id,
            share=self.settings.audit_share,
            confidence=self.settings.confidence,
            seed=self.seed * 1_000 + index,
        )

        def tasks_made() -> bool | None:
            return len(self._tasks(batch, "audit")) == audit.num_items or None

        wait_until(tasks_made, "the audit's tasks")
        works = []
        while swept := self._sweep(batch, [self.auditor], "audit"):
            works += swept

        def completed() -> AuditView | None:
            now = self.client.audits.get(self.project_id, audit.audit_id)
            return now if now.state == "completed" else None

        return wait_until(completed, "the audit's end"), works

    def _commit(self, batch: BatchView, index: int) -> str:
        wanted: dict[str, str] = {}

        def batch_closed() -> bool | None:
            return self.client.batches.get(self.project_id, batch.batch_id).state == "closed" or None

        wait_until(batch_closed, "the batch to close")
        for view in self._accepted(batch):
            wanted[view[0]] = view[1]

        def all_staged() -> bool | None:
            staged = self.client.datasets.status(self.project_id, branch="main").staged_masks
            return all(staged.get(sample_id) == mask_id for sample_id, mask_id in wanted.items()) or None

        wait_until(all_staged, "the accepted masks to be staged")
        return self.client.datasets.commit(self.project_id, message=f"Round {index}", branch="main").commit_id

    def _accepted(self, batch: BatchView) -> list[tuple[str, str]]:
        """(sample, mask) of the batch as the task service holds them after corrections by the audit."""
        corrected = {
            item.sample_id: item.corrected_mask_id
            for audit in self.client.audits.list(self.project_id)
            if audit.batch_id == batch.batch_id
            for item in audit.items
            if item.corrected_mask_id
        }

        def settled(sample_id: str) -> str | None:
            view = self.client.samples.get(self.project_id, sample_id)
            if view.mask_id is None or corrected.get(sample_id, view.mask_id) != view.mask_id:
                return None
            return view.mask_id

        return [
            (sample_id, wait_until(lambda s=sample_id: settled(s), f"the mask of {sample_id}"))  # type: ignore[misc]
            for sample_id in batch.sample_ids
        ]

    def _train(self, commit_id: str, index: int, batch: BatchView) -> ModelView:
        self.labelled += len(batch.sample_ids)
        run = self.client.runs.create(
            self.project_id,
            commit_id,
            eval_ref=self.eval_ref,
            init_from=self.current.model_id if self.current else None,
            seed=self.seed * 1_000 + index,
            config={**training_effort(self.labelled), **self.settings.training},
        )
        shown = 0

        def ended() -> Any:
            nonlocal shown
            now = self.client.runs.get(run.run_id)
            if len(now.epochs) > shown:
                shown = len(now.epochs)
                self.say(f"round {index}: train, epoch {shown}/{now.num_epochs}, loss {now.epochs[-1].loss:.3f}")
            return now if now.state in ("succeeded", "failed", "cancelled") else None

        done = wait_until(ended, "the training run", limit_s=3_600)
        if done.state != "succeeded" or done.model_id is None:
            raise Unavailable(f"training run {run.run_id} {done.state}: {done.reason}")
        return self.client.models.get(done.model_id)

    def _promote(self, model: ModelView) -> bool:
        answer = self.client.models.promote(model.model_id, only_if_better=True)
        if not answer.promoted:
            return False

        def serving() -> bool | None:
            return self.client.projects.get(self.project_id).model_id == model.model_id or None

        wait_until(serving, "the promoted model to answer")
        self.current = self.client.models.get(model.model_id)
        return True


def training_effort(num_labelled: int) -> dict[str, int]:
    """Ten epochs, together `CROPS_PER_SAMPLE` crops of each labelled sample (four a step): more data is
    trained on for longer, as with a fixed number of passes. Bounded, so that a round takes minutes on two
    cores."""
    steps = CROPS_PER_SAMPLE * num_labelled // 4
    return {"epochs": 10, "steps_per_epoch": max(10, min(120, steps // 10))}
