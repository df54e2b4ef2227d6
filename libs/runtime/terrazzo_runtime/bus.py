"""The bus port: topics of keyed records, delivered to each group at least once, in order per key.

Across keys there is no order. A record that was not acknowledged comes again, after a restart
or after `redeliver_after_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Record:
    """What is published. `id` lets a bus that can drop a second copy do so; none has to."""

    id: str
    topic: str
    key: str
    value: bytes


@dataclass(frozen=True)
class Delivery:
    """A record on its way to one group. `position` is the bus's own name for the place."""

    record: Record
    position: int


class Subscription(Protocol):
    def poll(self, max_records: int, timeout_s: float) -> list[Delivery]:
        """The next records, in order per key; [] after `timeout_s` without any.

        While a record of a key is delivered and not acknowledged, later ones of that key are held back.
        """
        ...

    def ack(self, delivery: Delivery) -> None:
        """The record is handled: it need not come again (it may)."""
        ...

    def nack(self, delivery: Delivery, delay_s: float) -> None:
        """The record could not be handled now: deliver it again, not before `delay_s`; its key waits."""
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    def publish(self, records: Sequence[Record]) -> None:
        """Append the records. They are durable when it returns."""
        ...

    def subscribe(self, group: str, topics: Sequence[str]) -> Subscription: ...

    def close(self) -> None: ...
