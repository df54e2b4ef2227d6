"""Batches: choosing samples, making their tasks, and closing both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict, NotFound
from terrazzo_schema.events import BatchChosen, BatchClosed, SampleRef, TaskClosed
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.task import BatchCreate, BatchView, TaskUpdate, TaskView
from terrazzo_task.domain.choose import Chosen, choose, with_several_annotators
from terrazzo_task.domain.projects import Batch, Project, Sample
from terrazzo_task.domain.work import ADJUDICATE, ANNOTATE, Task
from terrazzo_task.handlers.projects import project_of
from terrazzo_task.handlers.views import batch_view, task_view
from terrazzo_task.ports import Store

PROPOSAL_PATIENCE = timedelta(minutes=30)
"""A batch that gets no proposal for this long goes on without: no task waits for ever."""


def create_batch(tx: Tx[Store], caller: Principal, project_id: str, command: BatchCreate) -> BatchView:
    """Choose samples and make their tasks, in the chosen order. Raises Conflict when none is left."""
    project = project_of(tx.store, caller.organisation_id, project_id, for_change=True)
    chosen = _choose(tx, project, command)
    if not chosen:
        raise Conflict(
            "no unlabelled sample of the train split is left to choose",
            remedy="add images, or cancel a batch that holds some",
        )
    ids = [c.sample_id for c in chosen]
    samples = tx.store.samples_by_id(caller.organisation_id, project_id, ids)
    now = tx.clock.now()
    waits = project.model_id is not None
    batch = tx.store.add_batch(
        Batch(
            sequence=0,
            batch_id=new_id("bat"),
            organisation_id=caller.organisation_id,
            project_id=project_id,
            name=command.name,
            strategy=command.strategy,
            state="proposing" if waits else "open",
            priority=command.priority,
            model_id=project.model_id,
            sample_ids=tuple(ids),
            num_tasks=len(ids),
            num_tasks_final=0,
            num_waiting=len(ids) if waits else 0,
            created_at=now,
            proposed_at=now,
        )
    )
    several = with_several_annotators(ids, command.multi_share, command.seed)
    tx.store.add_tasks(
        [
            new_task(
                batch,
                sample,
                kind=ANNOTATE,
                state="waiting" if waits else "open",
                redundancy=command.redundancy if sample.sample_id in several else 1,
                chosen_by=one.arm,
                tx=tx,
            )
            for sample, one in zip(samples, chosen, strict=True)
        ]
    )
    tx.store.set_samples_in_progress(samples)
    tx.publish(
        BatchChosen(
            batch_id=batch.batch_id, model_id=batch.model_id or "", samples=[sample_ref(s) for s in samples]
        ),
        key=batch.batch_id,
        organisation_id=batch.organisation_id,
        project_id=project_id,
    )
    return batch_view(batch)


def _choose(tx: Tx[Store], project: Project, command: BatchCreate) -> list[Chosen]:
    pixels: Counter[int] = Counter()
    for found in tx.store.class_pixels(project.project_id):
        pixels[found.class_id] += found.pixels
    return choose(
        tx.store.candidates(project.organisation_id, project.project_id),
        tx.store.covered_embeddings(project.organisation_id, project.project_id),
        pixels,
        size=command.size,
        strategy=command.strategy,
        random_share=command.random_share,
        seed=command.seed,
    )


def sample_ref(sample: Sample | Task) -> SampleRef:
    return SampleRef(
        sample_id=sample.sample_id, image_hash=sample.image_hash, height=sample.height, width=sample.width
    )


def new_task(
    batch: Batch,
    sample: Sample,
    *,
    kind: str,
    state: str = "open",
    redundancy: int = 1,
    chosen_by: str | None = None,
    tx: Tx[Store],
) -> Task:
    """A task of the batch on this sample, not stored yet."""
    return Task(
        sequence=0,
        task_id=new_id("tsk"),
        organisation_id=batch.organisation_id,
        project_id=batch.project_id,
        batch_id=batch.batch_id,
        kind=kind,
        state=state,
        sample_id=sample.sample_id,
        sample_name=sample.name,
        image_hash=sample.image_hash,
        height=sample.height,
        width=sample.width,
        priority=batch.priority,
        redundancy=redundancy,
        created_at=tx.clock.now(),
        chosen_by=chosen_by,
    )


def add_tasks_to_batch(tx: Tx[Store], batch: Batch, tasks: Sequence[Task]) -> Batch:
    """More work on a batch (adjudication, audit). One that was closed is open again until it is done."""
    tx.store.add_tasks(tasks)
    return settle(tx, batch, num_more=len(tasks))


def settle(
    tx: Tx[Store], batch: Batch, *, num_more: int = 0, num_final: int = 0, num_no_longer_waiting: int = 0
) -> Batch:
    """Keep a batch's counts and state in step with its tasks. BatchClosed is said once, the first time."""
    num_tasks = batch.num_tasks + num_more
    num_tasks_final = batch.num_tasks_final + num_final
    num_waiting = batch.num_waiting - num_no_longer_waiting
    is_done = num_tasks_final == num_tasks
    state, closed_at = batch.state, batch.closed_at
    if state != "cancelled":
        state = "closed" if is_done else ("proposing" if num_waiting else "open")
    if is_done and closed_at is None:
        closed_at = tx.clock.now()
        tx.publish(
            BatchClosed(batch_id=batch.batch_id, num_tasks=num_tasks),
            key=batch.batch_id,
            organisation_id=batch.organisation_id,
            project_id=batch.project_id,
        )
    return tx.store.change_batch(
        batch,
        num_tasks=num_tasks,
        num_tasks_final=num_tasks_final,
        num_waiting=num_waiting,
        state=state,
        closed_at=closed_at,
    )


def finish_tasks(tx: Tx[Store], batch: Batch, endings: Sequence[tuple[Task, str]]) -> Batch:
    """Bring tasks of one batch to their final states ("accepted" or "cancelled"). Final ones stay as they are."""
    endings = [(task, state) for task, state in endings if not task.is_final]
    now = tx.clock.now()
    for task, state in endings:
        tx.store.change_task(task, state=state, closed_at=now)
        tx.store.end_leases(task.task_id, "cancelled")
        tx.publish(
            TaskClosed(
                task_id=task.task_id,
                batch_id=task.batch_id,
                sample_id=task.sample_id,
                kind=task.kind,
                state=state,
            ),
            key=task.sample_id,
            organisation_id=task.organisation_id,
            project_id=task.project_id,
        )
    if not endings:
        return batch
    waiting = sum(task.state == "waiting" for task, _ in endings)
    return settle(tx, batch, num_final=len(endings), num_no_longer_waiting=waiting)


def batch_of(tx: Tx[Store], organisation_id: str, batch_id: str) -> Batch:
    """The batch, for change. Raises NotFound."""
    batch = tx.store.batch(organisation_id, batch_id, for_change=True)
    if batch is None:
        raise NotFound(f"no batch {batch_id}", field="batch_id", value=batch_id)
    return batch


def cancel_batch(tx: Tx[Store], caller: Principal, project_id: str, batch_id: str) -> BatchView:
    """Cancel what is not final. Work that came in is kept; samples without a label may be chosen again.

    Cancelling twice does nothing more. Raises NotFound, and Conflict for a batch that is closed.
    """
    batch = batch_of(tx, caller.organisation_id, batch_id)
    if batch.project_id != project_id:
        raise NotFound(f"no batch {batch_id} in this project", field="batch_id", value=batch_id)
    if batch.state == "closed":
        raise Conflict(f"batch {batch_id} is closed: all its work is done", field="state", value=batch.state)
    tasks = tx.store.open_tasks_of_batch(caller.organisation_id, batch_id)
    batch = tx.store.change_batch(batch, state="cancelled")
    batch = finish_tasks(tx, batch, [(task, "cancelled") for task in tasks])
    _free_samples(tx, tasks)
    return batch_view(batch)


def task_of(tx: Tx[Store], organisation_id: str, task_id: str) -> Task:
    """The task, for change. Raises NotFound."""
    task = tx.store.task(organisation_id, task_id, for_change=True)
    if task is None:
        raise NotFound(f"no task {task_id}", field="task_id", value=task_id)
    return task


def cancel_task(tx: Tx[Store], caller: Principal, task_id: str) -> TaskView:
    """Cancel one task. An annotation and its adjudication are one piece of work: they go together.

    Cancelling twice does nothing more. Raises Conflict for an accepted task.
    """
    task = task_of(tx, caller.organisation_id, task_id)
    if task.state == "accepted":
        raise Conflict(f"task {task_id} is accepted", field="state", value=task.state)
    together = [task]
    if task.kind == ANNOTATE:
        together += tx.store.adjudications_of(caller.organisation_id, task_id)
    if task.kind == ADJUDICATE and task.parent_task_id is not None:
        together.append(task_of(tx, caller.organisation_id, task.parent_task_id))
    batch = batch_of(tx, caller.organisation_id, task.batch_id)
    finish_tasks(tx, batch, [(one, "cancelled") for one in together])
    _free_samples(tx, together)
    return task_view(task_of(tx, caller.organisation_id, task_id))


def _free_samples(tx: Tx[Store], tasks: Sequence[Task]) -> None:
    for task in tasks:
        if task.kind == ANNOTATE:
            sample = tx.store.sample(task.organisation_id, task.project_id, task.sample_id, for_change=True)
            if sample is not None and sample.state == "in_progress":
                tx.store.change_sample(sample, state="unlabelled")


def update_task(tx: Tx[Store], caller: Principal, task_id: str, command: TaskUpdate) -> TaskView:
    """Raises Conflict for a task in a final state: its priority means nothing any more."""
    task = task_of(tx, caller.organisation_id, task_id)
    if task.is_final:
        raise Conflict(f"task {task_id} is {task.state}", field="state", value=task.state)
    return task_view(tx.store.change_task(task, priority=command.priority))


def open_stalled(tx: Tx[Store]) -> int:
    """Open the tasks of batches that have waited too long for a proposal. Returns how many tasks."""
    num_opened = 0
    for batch in tx.store.stalled_batches(tx.clock.now() - PROPOSAL_PATIENCE):
        waiting = [
            task
            for task in tx.store.open_tasks_of_batch(batch.organisation_id, batch.batch_id)
            if task.state == "waiting"
        ]
        for task in waiting:
            tx.store.change_task(task, state="open")
        settle(tx, batch, num_no_longer_waiting=len(waiting))
        num_opened += len(waiting)
    return num_opened
