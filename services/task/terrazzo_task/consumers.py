"""Events in. Each handler is one transaction: state and inbox row together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from terrazzo_runtime.consumer import Handler
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.events import (
    AdjudicationRequested,
    AdjudicationWithdrawn,
    AuditRequested,
    ConflictDecided,
    Event,
    ImageStored,
    MaskAccepted,
    PredictionFailed,
    PredictionReady,
    PredictorReady,
    SubmissionChecked,
)
from terrazzo_task.handlers import conflicts, outcomes, samples
from terrazzo_task.ports import Deps, Store

Step = Callable[[Tx[Store], Event, Any], None]

STEPS: dict[type[Message], Step] = {
    ImageStored: lambda tx, e, m: samples.image_stored(tx, e.organisation_id, e.project_id, m),
    PredictionReady: lambda tx, e, m: samples.prediction_ready(tx, e.organisation_id, e.project_id, e.time, m),
    PredictionFailed: lambda tx, e, m: samples.prediction_failed(tx, e.organisation_id, m),
    PredictorReady: lambda tx, e, m: samples.predictor_ready(tx, e.organisation_id, e.project_id, e.time, m),
    SubmissionChecked: lambda tx, e, m: outcomes.submission_checked(tx, e.organisation_id, m),
    MaskAccepted: lambda tx, e, m: outcomes.mask_accepted(tx, e.organisation_id, e.project_id, m),
    AdjudicationRequested: lambda tx, e, m: conflicts.adjudication_requested(
        tx, e.organisation_id, e.project_id, m
    ),
    ConflictDecided: lambda tx, e, m: conflicts.conflict_decided(tx, e.organisation_id, m),
    AdjudicationWithdrawn: lambda tx, e, m: conflicts.adjudication_withdrawn(tx, e.organisation_id, m),
    AuditRequested: lambda tx, e, m: outcomes.audit_requested(tx, e.organisation_id, e.project_id, m),
}


def handlers_of(deps: Deps) -> Mapping[type[Message], Handler]:
    """What the service does about each event that it hears."""

    def in_one_transaction(step: Step) -> Handler:
        def handle(event: Event) -> None:
            with deps.uow.begin(cause=event) as tx:
                step(tx, event, event.message)

        return handle

    return {message: in_one_transaction(step) for message, step in STEPS.items()}
