"""Resources of the task service: organisations, keys, projects, samples, batches, tasks, submissions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from terrazzo_client.connection import Connection, command, path_of
from terrazzo_client.sse import server_events
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.task import (
    BatchCreate,
    BatchView,
    KeyCreate,
    KeyCreated,
    KeyView,
    LeaseCreate,
    LeaseView,
    OntologyUpdate,
    OntologyView,
    OrganisationCreate,
    OrganisationCreated,
    OrganisationView,
    ProgressView,
    ProjectCreate,
    ProjectView,
    SampleView,
    SubmissionCreate,
    SubmissionView,
    TaskUpdate,
    TaskView,
)


class Organisations:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, *, idempotency_key: str | None = None) -> OrganisationCreated:
        """A new organisation and its first admin key, which is shown this once."""
        body = command(OrganisationCreate, name=name)
        answer = self._connection.write("POST", path_of("organisations"), body, idempotency_key=idempotency_key)
        return OrganisationCreated.model_validate_json(answer.content)

    def current(self) -> OrganisationView:
        """The organisation that the key belongs to."""
        return self._connection.read(path_of("organisations", "current"), OrganisationView)


class Keys:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        role: str,
        *,
        vendor: str | None = None,
        expires_in_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> KeyCreated:
        """A new key; `key` is shown this once. Roles: admin, manager, reviewer, annotator, vendor,
        trainer, viewer."""
        body = command(KeyCreate, name=name, role=role, vendor=vendor, expires_in_s=expires_in_s)
        answer = self._connection.write("POST", path_of("keys"), body, idempotency_key=idempotency_key)
        return KeyCreated.model_validate_json(answer.content)

    def list(self) -> Iterator[KeyView]:
        return self._connection.pages(path_of("keys"), Page[KeyView])

    def revoke(self, key_id: str, *, idempotency_key: str | None = None) -> None:
        """Every service refuses the key from the moment that it hears of it."""
        self._connection.write("DELETE", path_of("keys", key_id), idempotency_key=idempotency_key)


class Projects:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        ontology: Mapping[str, Any],
        *,
        held_out_percent: int = 20,
        qa: Mapping[str, Any] | None = None,
        lease_s: int = 3_600,
        idempotency_key: str | None = None,
    ) -> ProjectView:
        """A project with its ontology (the document of an ontology file). `held_out_percent` of the
        samples are never labelled for training. `qa` overrides check settings by name."""
        body = command(
            ProjectCreate,
            name=name,
            ontology=dict(ontology),
            held_out_percent=held_out_percent,
            qa=dict(qa or {}),
            lease_s=lease_s,
        )
        answer = self._connection.write("POST", path_of("projects"), body, idempotency_key=idempotency_key)
        return ProjectView.model_validate_json(answer.content)

    def list(self) -> Iterator[ProjectView]:
        return self._connection.pages(path_of("projects"), Page[ProjectView])

    def get(self, project_id: str) -> ProjectView:
        return self._connection.read(path_of("projects", project_id), ProjectView)

    def ontology(self, project_id: str, version: int | None = None) -> OntologyView:
        """The ontology, by default its newest version."""
        path = path_of("projects", project_id, "ontology")
        return self._connection.read(path, OntologyView, {"version": version})

    def update_ontology(
        self, project_id: str, ontology: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> OntologyView:
        """A new version. Classes may be added, renamed or moved; a removed id is never used again."""
        body = command(OntologyUpdate, ontology=dict(ontology))
        path = path_of("projects", project_id, "ontology")
        answer = self._connection.write("PUT", path, body, idempotency_key=idempotency_key)
        return OntologyView.model_validate_json(answer.content)

    def progress(self, project_id: str) -> ProgressView:
        return self._connection.read(path_of("projects", project_id, "progress"), ProgressView)

    def stream_progress(self, project_id: str, *, once: bool = False) -> Iterator[ProgressView]:
        """Progress now and on every change (at most one a second), until the server ends the stream
        or you stop reading. `once`: only the present one. Raises NoAnswer when the connection is lost."""
        path = path_of("projects", project_id, "progress", "stream")
        with self._connection.stream(path, {"once": True if once else None}) as response:
            for event in server_events(response.iter_lines()):
                if event.name == "progress":
                    yield ProgressView.model_validate_json(event.data)


class Samples:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, project_id: str, *, split: str | None = None, state: str | None = None) -> Iterator[SampleView]:
        """Samples by id. `split`: train, held_out; `state`: unlabelled, in_progress, labelled."""
        params = {"split": split, "state": state}
        return self._connection.pages(path_of("projects", project_id, "samples"), Page[SampleView], params)

    def get(self, project_id: str, sample_id: str) -> SampleView:
        return self._connection.read(path_of("projects", project_id, "samples", sample_id), SampleView)


class Batches:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        project_id: str,
        name: str,
        size: int,
        *,
        strategy: str = "active",
        redundancy: int = 3,
        multi_share: float = 0.25,
        random_share: float = 0.1,
        priority: int = 0,
        seed: int = 0,
        idempotency_key: str | None = None,
    ) -> BatchView:
        """Choose `size` unlabelled samples of the train split and make their tasks.

        `strategy`: active or random. A `multi_share` of the samples gets `redundancy` annotators, the
        others one; `random_share` of an active batch is drawn at random. Raises Conflict when
        nothing is left to choose.
        """
        body = command(
            BatchCreate,
            name=name,
            size=size,
            strategy=strategy,
            redundancy=redundancy,
            multi_share=multi_share,
            random_share=random_share,
            priority=priority,
            seed=seed,
        )
        path = path_of("projects", project_id, "batches")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return BatchView.model_validate_json(answer.content)

    def list(self, project_id: str) -> Iterator[BatchView]:
        return self._connection.pages(path_of("projects", project_id, "batches"), Page[BatchView])

    def get(self, project_id: str, batch_id: str) -> BatchView:
        return self._connection.read(path_of("projects", project_id, "batches", batch_id), BatchView)

    def cancel(self, project_id: str, batch_id: str, *, idempotency_key: str | None = None) -> BatchView:
        """Cancel the batch and its tasks that are not final."""
        path = path_of("projects", project_id, "batches", batch_id, "cancel")
        answer = self._connection.write("POST", path, idempotency_key=idempotency_key)
        return BatchView.model_validate_json(answer.content)


class Tasks:
    """Tasks, and the work on them: lease, extend, release, submit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        project_id: str,
        *,
        state: str | None = None,
        kind: str | None = None,
        batch_id: str | None = None,
    ) -> Iterator[TaskView]:
        params = {"state": state, "kind": kind, "batch_id": batch_id}
        return self._connection.pages(path_of("projects", project_id, "tasks"), Page[TaskView], params)

    def get(self, task_id: str) -> TaskView:
        return self._connection.read(path_of("tasks", task_id), TaskView)

    def update(self, task_id: str, *, priority: int, idempotency_key: str | None = None) -> TaskView:
        body = command(TaskUpdate, priority=priority)
        answer = self._connection.write("PATCH", path_of("tasks", task_id), body, idempotency_key=idempotency_key)
        return TaskView.model_validate_json(answer.content)

    def cancel(self, task_id: str, *, idempotency_key: str | None = None) -> TaskView:
        path = path_of("tasks", task_id, "cancel")
        answer = self._connection.write("POST", path, idempotency_key=idempotency_key)
        return TaskView.model_validate_json(answer.content)

    def lease(
        self,
        project_id: str,
        *,
        batch_id: str | None = None,
        kinds: Sequence[str] | None = None,
        lease_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> LeaseView | None:
        """The next task for the key's owner until `expires_at`; None when there is nothing to do."""
        body = command(
            LeaseCreate, batch_id=batch_id, kinds=None if kinds is None else list(kinds), lease_s=lease_s
        )
        path = path_of("projects", project_id, "leases")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return None if answer.status_code == 204 else LeaseView.model_validate_json(answer.content)

    def extend(
        self, lease_id: str, *, lease_s: int | None = None, idempotency_key: str | None = None
    ) -> LeaseView:
        """Hold the task until `lease_s` from now (None: the project's). Raises Conflict when it is over."""
        answer = self._connection.send(
            "POST",
            path_of("leases", lease_id, "extend"),
            params={"lease_s": lease_s},
            idempotency_key=idempotency_key,
        )
        return LeaseView.model_validate_json(answer.content)

    def release(self, lease_id: str, *, idempotency_key: str | None = None) -> None:
        """Give the task back to the queue."""
        self._connection.write("DELETE", path_of("leases", lease_id), idempotency_key=idempotency_key)

    def submit(
        self,
        task_id: str,
        *,
        lease_id: str,
        seconds_spent: float,
        mask_id: str | None = None,
        verdict: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> SubmissionView:
        """Hand in work. `mask_id` comes from `masks.put`. For an audit, `verdict` is "pass" or "fail",
        and `mask_id` the correction of a failed mask. Where one side of a merge removed the sample
        (`task.removed_by`), the verdict "remove" takes the place of a mask."""
        body = command(
            SubmissionCreate,
            lease_id=lease_id,
            mask_id=mask_id,
            seconds_spent=seconds_spent,
            verdict=verdict,
            note=note,
        )
        path = path_of("tasks", task_id, "submissions")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return SubmissionView.model_validate_json(answer.content)


class Submissions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        project_id: str,
        *,
        task_id: str | None = None,
        annotator_id: str | None = None,
        state: str | None = None,
    ) -> Iterator[SubmissionView]:
        params = {"task_id": task_id, "annotator_id": annotator_id, "state": state}
        path = path_of("projects", project_id, "submissions")
        return self._connection.pages(path, Page[SubmissionView], params)

    def get(self, submission_id: str) -> SubmissionView:
        return self._connection.read(path_of("submissions", submission_id), SubmissionView)
