"""Events: the generated message types and the one envelope they travel in.

`wrap` and `unwrap` are the only mapping between a message and its bytes on the bus. The
envelope follows CloudEvents 1.0; the types come from proto/terrazzo/v1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import DecodeError, Message

from terrazzo_schema._generated import (
    envelope_pb2,
    inference_events_pb2,
    mask_storage_events_pb2,
    qa_events_pb2,
    shapes_pb2,
    task_events_pb2,
    training_events_pb2,
)
from terrazzo_schema.errors import CorruptInput

SCHEMA_VERSION = 1
PACKAGE = "terrazzo.v1."
_MODULES = {
    "task": task_events_pb2,
    "mask_storage": mask_storage_events_pb2,
    "inference": inference_events_pb2,
    "qa": qa_events_pb2,
    "training": training_events_pb2,
}
EVENT_TYPES: dict[str, type[Message]] = {
    PACKAGE + name: getattr(module, name)
    for module in _MODULES.values()
    for name in module.DESCRIPTOR.message_types_by_name
}
# AuditItem is a part of AuditRequested, not an event.
del EVENT_TYPES[PACKAGE + "AuditItem"]
SOURCE_OF: dict[str, str] = {
    PACKAGE + name: source
    for source, module in _MODULES.items()
    for name in module.DESCRIPTOR.message_types_by_name
    if PACKAGE + name in EVENT_TYPES
}


def topic_of(source: str) -> str:
    """The bus topic on which a service says its events."""
    return f"terrazzo.{source}.v1"


def type_name(message_type: type[Message]) -> str:
    return str(message_type.DESCRIPTOR.full_name)


@dataclass(frozen=True)
class Event:
    """One event as the code sees it: where it comes from, and the message it carries."""

    id: str
    source: str
    time: datetime
    organisation_id: str
    project_id: str
    key: str
    causation_id: str
    trace_id: str
    message: Message

    @property
    def type(self) -> str:
        return type_name(type(self.message))


def wrap(event: Event) -> bytes:
    """The event's bytes. Deterministic: the same event has the same bytes."""
    [data] = wrap_many(event, [(event.id, event.key, event.message)])
    return data


def wrap_many(like: Event, rows: Iterable[tuple[str, str, Message]]) -> list[bytes]:
    """The bytes of events that are `like` one but for their (id, key, message): one envelope is filled for all."""
    envelope = envelope_pb2.Envelope(
        source=like.source,
        organisation_id=like.organisation_id,
        project_id=like.project_id,
        causation_id=like.causation_id,
        trace_id=like.trace_id,
        schema_version=SCHEMA_VERSION,
    )
    envelope.time.FromDatetime(like.time.astimezone(UTC))
    wrapped = []
    for event_id, key, message in rows:
        envelope.id, envelope.key, envelope.type = event_id, key, type_name(type(message))
        envelope.data = message.SerializeToString(deterministic=True)
        wrapped.append(envelope.SerializeToString(deterministic=True))
    return wrapped


def peek_type(data: bytes) -> str:
    """The type inside an envelope, without decoding the message. Raises CorruptInput."""
    return str(_envelope(data).type)


def unwrap(data: bytes) -> Event:
    """Read an event. Raises CorruptInput for bytes that are no envelope of a known type."""
    envelope = _envelope(data)
    message_type = EVENT_TYPES.get(envelope.type)
    if message_type is None:
        raise CorruptInput(f"unknown event type {envelope.type!r}", field="type", value=envelope.type)
    message = message_type()
    try:
        message.ParseFromString(envelope.data)
    except DecodeError as error:
        raise CorruptInput(f"event {envelope.id} is no {envelope.type}: {error}", field="data") from error
    try:
        time = envelope.time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise CorruptInput(f"event {envelope.id} has no valid time: {error}", field="time") from error
    return Event(
        id=envelope.id,
        source=envelope.source,
        time=time,
        organisation_id=envelope.organisation_id,
        project_id=envelope.project_id,
        key=envelope.key,
        causation_id=envelope.causation_id,
        trace_id=envelope.trace_id,
        message=message,
    )


def _envelope(data: bytes) -> envelope_pb2.Envelope:
    envelope = envelope_pb2.Envelope()
    try:
        envelope.ParseFromString(data)
    except DecodeError as error:
        raise CorruptInput(f"not an event envelope: {error}", field="envelope") from error
    if not envelope.id or not envelope.type:
        raise CorruptInput("an event envelope without id or type", field="envelope")
    return envelope


AdjudicationRequested = qa_events_pb2.AdjudicationRequested
AdjudicationWithdrawn = qa_events_pb2.AdjudicationWithdrawn
AuditCompleted = qa_events_pb2.AuditCompleted
AuditItem = qa_events_pb2.AuditItem
AuditRequested = qa_events_pb2.AuditRequested
BatchChosen = task_events_pb2.BatchChosen
BatchClosed = task_events_pb2.BatchClosed
ClassShare = shapes_pb2.ClassShare
CommitCreated = mask_storage_events_pb2.CommitCreated
ConflictDecided = qa_events_pb2.ConflictDecided
ConflictFound = mask_storage_events_pb2.ConflictFound
ConflictWithdrawn = mask_storage_events_pb2.ConflictWithdrawn
ConsensusReached = qa_events_pb2.ConsensusReached
ImageStored = mask_storage_events_pb2.ImageStored
KeyRevoked = task_events_pb2.KeyRevoked
MaskAccepted = qa_events_pb2.MaskAccepted
MaskStaged = mask_storage_events_pb2.MaskStaged
MergeClosed = mask_storage_events_pb2.MergeClosed
MergeOpened = mask_storage_events_pb2.MergeOpened
ModelPromoted = training_events_pb2.ModelPromoted
ModelRegistered = training_events_pb2.ModelRegistered
OntologyPublished = task_events_pb2.OntologyPublished
PredictionFailed = inference_events_pb2.PredictionFailed
PredictionReady = inference_events_pb2.PredictionReady
PredictorReady = inference_events_pb2.PredictorReady
ProjectCreated = task_events_pb2.ProjectCreated
Region = shapes_pb2.Region
RunFinished = training_events_pb2.RunFinished
RunProgress = training_events_pb2.RunProgress
RunStarted = training_events_pb2.RunStarted
SampleAdded = task_events_pb2.SampleAdded
SampleRef = shapes_pb2.SampleRef
SubmissionChecked = qa_events_pb2.SubmissionChecked
SubmissionReceived = task_events_pb2.SubmissionReceived
TagCreated = mask_storage_events_pb2.TagCreated
TaskClosed = task_events_pb2.TaskClosed
