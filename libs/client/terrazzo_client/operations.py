"""Operations, the same for every service: health and dead letters."""

from __future__ import annotations

from collections.abc import Iterator

from terrazzo_client.connection import Connection, path_of
from terrazzo_schema.rest.base import DeadLetter, Health, Page


class Operations:
    """`service` is one of task, mask_storage, inference, qa, training."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def health(self, service: str) -> Health:
        """Is it up, and how much waits. Needs no key."""
        return self._connection.read(path_of("ops", service, "health"), Health)

    def dead_letters(self, service: str) -> Iterator[DeadLetter]:
        """Events that the service could not handle after all tries."""
        return self._connection.pages(path_of("ops", service, "dead-letters"), Page[DeadLetter])

    def replay(self, service: str, event_id: str, *, idempotency_key: str | None = None) -> None:
        """Handle a dead letter again; raises the error, and keeps the letter, when it fails again."""
        path = path_of("ops", service, "dead-letters", event_id, "replay")
        self._connection.write("POST", path, idempotency_key=idempotency_key)
