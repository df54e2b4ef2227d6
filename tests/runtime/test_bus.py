"""The suite of behaviours that every adapter of the bus port passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from terrazzo_runtime.adapters.log_bus import LogBus
from terrazzo_runtime.bus import Bus, Record

BusFactory = Callable[..., Bus]


@pytest.fixture(params=["log"])
def bus_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BusFactory]:
    """Opens the same bus each time: a second call is a restart."""
    opened: list[Bus] = []

    def make(duplicate_share: float = 0.0, seed: int = 0) -> Bus:
        bus = LogBus(tmp_path / "bus.sqlite", duplicate_share=duplicate_share, seed=seed)
        opened.append(bus)
        return bus

    yield make
    for bus in opened:
        bus.close()


def record(number: int, key: str = "k", topic: str = "t") -> Record:
    return Record(f"evt_{number}", topic, key, str(number).encode())


def drain(bus: Bus, group: str = "g", topics: tuple[str, ...] = ("t",)) -> list[str]:
    subscription = bus.subscribe(group, topics)
    seen = []
    while deliveries := subscription.poll(8, 0.0):
        for delivery in deliveries:
            seen.append(delivery.record.id)
            subscription.ack(delivery)
    subscription.close()
    return seen


def test_every_group_gets_every_record_of_its_topics(bus_factory: BusFactory) -> None:
    bus = bus_factory()
    bus.publish([record(1), record(2, topic="other"), record(3)])
    assert sorted(drain(bus, "a")) == sorted(drain(bus, "b")) == ["evt_1", "evt_3"]
    assert len(drain(bus, "c", ("t", "other"))) == 3
    assert drain(bus, "a") == []


def test_records_of_a_key_come_in_order_and_across_keys_in_any(bus_factory: BusFactory) -> None:
    bus = bus_factory(seed=3)
    bus.publish([record(i, key=f"k{i % 5}") for i in range(60)])
    seen = [int(name.split("_")[1]) for name in drain(bus)]
    assert sorted(seen) == list(range(60))
    assert seen != sorted(seen), "the order across keys must not be the order of publishing"
    for key in range(5):
        of_key = [n for n in seen if n % 5 == key]
        assert of_key == sorted(of_key)


def test_a_later_record_of_a_key_waits_for_the_earlier_one(bus_factory: BusFactory) -> None:
    bus = bus_factory()
    bus.publish([record(1), record(2)])
    subscription = bus.subscribe("g", ["t"])
    (first,) = subscription.poll(8, 0.0)
    assert subscription.poll(8, 0.0) == []
    subscription.ack(first)
    assert [d.record.id for d in subscription.poll(8, 0.0)] == ["evt_2"]


def test_a_record_that_was_not_acknowledged_comes_again_after_a_restart(bus_factory: BusFactory) -> None:
    bus = bus_factory()
    bus.publish([record(1)])
    assert len(bus.subscribe("g", ["t"]).poll(8, 0.0)) == 1
    assert drain(bus_factory()) == ["evt_1"]
    assert drain(bus_factory()) == []


def test_a_nacked_record_comes_again_after_its_delay_before_its_successors(bus_factory: BusFactory) -> None:
    bus = bus_factory()
    bus.publish([record(1), record(2), record(3, key="other")])
    subscription = bus.subscribe("g", ["t"])
    first = next(d for d in subscription.poll(8, 0.0) if d.record.id == "evt_1")
    subscription.nack(first, 0.05)
    assert subscription.poll(8, 0.0) == []
    again = subscription.poll(8, 1.0)
    assert [d.record.id for d in again] == ["evt_1"]


def test_a_share_of_records_is_really_delivered_twice(bus_factory: BusFactory) -> None:
    bus = bus_factory(duplicate_share=0.5, seed=1)
    bus.publish([record(i, key=str(i)) for i in range(100)])
    seen = drain(bus)
    assert set(seen) == {f"evt_{i}" for i in range(100)}
    assert 120 < len(seen) < 180


def test_records_outlive_the_process(bus_factory: BusFactory) -> None:
    bus_factory().publish([record(1), record(2)])
    assert drain(bus_factory()) == ["evt_1", "evt_2"]
