"""Server-sent events, as the HTML standard parses them (section 9.2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerEvent:
    """One event: its name ("message" when the server gave none) and its data."""

    name: str
    data: str


def server_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Events from the lines of a text/event-stream. Comments (heartbeats) are skipped; an event that
    the stream's end cut off is dropped, as the standard says."""
    name, data = "", list[str]()
    for line in lines:
        if line == "":
            if data:
                yield ServerEvent(name or "message", "\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
