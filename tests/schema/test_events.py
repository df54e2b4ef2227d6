"""Events: golden bytes of every message decode for ever; hostile bytes are refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo_schema.errors import CorruptInput
from terrazzo_schema.events import EVENT_TYPES, SOURCE_OF, Event, peek_type, topic_of, unwrap, wrap

GOLDEN = Path(__file__).parent / "golden" / "events.json"


def filled(message_type: type[Message]) -> Message:
    """A message with every field set, from the field's own number, so that a swap of two is seen."""
    message = message_type()
    for field in message.DESCRIPTOR.fields:
        _fill(message, field)
    return message


def _fill(message: Any, field: FieldDescriptor) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        getattr(message, field.name)["key"] = f"value {field.number}"
    elif kind is not None:
        inner = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
        inner.SetInParent()
        for part in kind.fields:
            _fill(inner, part)
    else:
        values: dict[int, Any] = {
            FieldDescriptor.TYPE_STRING: f"{field.name} {field.number}",
            FieldDescriptor.TYPE_BOOL: True,
            FieldDescriptor.TYPE_DOUBLE: field.number / 8,
            FieldDescriptor.TYPE_FLOAT: field.number / 8,
        }
        value = values.get(field.type, field.number * 100)
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)


def event_of(message: Message) -> Event:
    return Event(
        id="evt_00000000000000000000000001",
        source=SOURCE_OF[str(message.DESCRIPTOR.full_name)],
        time=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
        organisation_id="org_00000001",
        project_id="prj_00000001",
        key="smp_00000001",
        causation_id="evt_00000000000000000000000000",
        trace_id="trc_00000001",
        message=message,
    )


def write_golden() -> None:
    """Add the bytes of messages that have none yet. Those that are there are never written again."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    for name, message_type in sorted(EVENT_TYPES.items()):
        if name not in golden:
            message = filled(message_type)
            golden[name] = {"bytes": wrap(event_of(message)).hex(), "says": MessageToDict(message)}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_the_golden_bytes_of_each_event_decode_for_ever(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert name in golden, "a new event needs golden bytes: python tests/schema/test_events.py"
    event = unwrap(bytes.fromhex(golden[name]["bytes"]))
    assert event.type == name
    assert event == event_of(event.message)
    said = MessageToDict(event.message)
    assert {key: said[key] for key in golden[name]["says"]} == golden[name]["says"]


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_an_event_survives_its_bytes_and_has_one_form(name: str) -> None:
    event = event_of(filled(EVENT_TYPES[name]))
    data = wrap(event)
    assert unwrap(data) == event
    assert wrap(unwrap(data)) == data
    assert peek_type(data) == name
    assert topic_of(event.source) == f"terrazzo.{event.source}.v1"


def test_an_unknown_type_is_refused_by_name() -> None:
    data = wrap(event_of(filled(EVENT_TYPES["terrazzo.v1.KeyRevoked"]))).replace(b"KeyRevoked", b"KeyRestoed")
    with pytest.raises(CorruptInput, match="KeyRestoed"):
        unwrap(data)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_an_event_or_are_refused(data: bytes) -> None:
    try:
        event = unwrap(data)
    except CorruptInput:
        return
    assert event.type in EVENT_TYPES


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_a_damaged_event_is_read_or_refused_and_never_crashes(data: st.DataObject) -> None:
    good = wrap(event_of(filled(EVENT_TYPES["terrazzo.v1.SubmissionReceived"])))
    position = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:position] + bytes([data.draw(st.integers(0, 255))]) + good[position + 1 :]
    try:
        unwrap(damaged)
    except CorruptInput:
        return


if __name__ == "__main__":
    write_golden()
