"""Resources of the QA service: checks, consensus, adjudication, audits, scorecards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from terrazzo_client.connection import Connection, command, path_of
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.qa import (
    AdjudicationView,
    AuditCreate,
    AuditView,
    CheckSettingsUpdate,
    CheckSettingsView,
    CheckView,
    ConsensusView,
    ScorecardView,
)


class Checks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def settings(self, project_id: str) -> CheckSettingsView:
        """The settings in force: defaults and what the project changed."""
        return self._connection.read(path_of("checks", project_id, "settings"), CheckSettingsView)

    def update_settings(
        self, project_id: str, settings: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> CheckSettingsView:
        """Change settings by name; an unknown name is refused."""
        body = command(CheckSettingsUpdate, settings=dict(settings))
        path = path_of("checks", project_id, "settings")
        answer = self._connection.write("PUT", path, body, idempotency_key=idempotency_key)
        return CheckSettingsView.model_validate_json(answer.content)

    def list(
        self,
        project_id: str,
        *,
        submission_id: str | None = None,
        sample_id: str | None = None,
        passed: bool | None = None,
    ) -> Iterator[CheckView]:
        params = {"submission_id": submission_id, "sample_id": sample_id, "passed": passed}
        return self._connection.pages(path_of("checks", project_id), Page[CheckView], params)

    def get(self, project_id: str, submission_id: str) -> CheckView:
        return self._connection.read(path_of("checks", project_id, submission_id), CheckView)


class Consensus:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, project_id: str, *, batch_id: str | None = None) -> Iterator[ConsensusView]:
        params = {"batch_id": batch_id}
        return self._connection.pages(path_of("consensus", project_id), Page[ConsensusView], params)

    def get(self, project_id: str, task_id: str) -> ConsensusView:
        return self._connection.read(path_of("consensus", project_id, task_id), ConsensusView)

    def map(self, project_id: str, task_id: str, kind: Literal["posterior", "disagreement"]) -> bytes:
        """A uint8 PNG of the image's size: the winner's posterior, or how much the votes disagree, 0..255."""
        return self._connection.content(path_of("consensus", project_id, task_id, "maps", kind))


class Adjudications:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, project_id: str) -> Iterator[AdjudicationView]:
        return self._connection.pages(path_of("adjudications", project_id), Page[AdjudicationView])

    def get(self, project_id: str, adjudication_id: str) -> AdjudicationView:
        return self._connection.read(path_of("adjudications", project_id, adjudication_id), AdjudicationView)


class Audits:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        project_id: str,
        batch_id: str,
        *,
        size: int | None = None,
        share: float | None = None,
        confidence: float = 0.95,
        seed: int = 0,
        idempotency_key: str | None = None,
    ) -> AuditView:
        """Draw `size` (or a `share` of the) accepted masks of a batch, to be judged by others than their
        makers. Raises Conflict when the batch has no accepted mask."""
        body = command(AuditCreate, batch_id=batch_id, size=size, share=share, confidence=confidence, seed=seed)
        path = path_of("audits", project_id)
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return AuditView.model_validate_json(answer.content)

    def list(self, project_id: str) -> Iterator[AuditView]:
        return self._connection.pages(path_of("audits", project_id), Page[AuditView])

    def get(self, project_id: str, audit_id: str) -> AuditView:
        return self._connection.read(path_of("audits", project_id, audit_id), AuditView)


class Scorecards:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, project_id: str) -> Iterator[ScorecardView]:
        """One card per annotator."""
        return self._connection.pages(path_of("scorecards", project_id), Page[ScorecardView])
