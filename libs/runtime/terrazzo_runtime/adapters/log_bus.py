"""The in-process bus: a durable log in one SQLite file, with Kafka's semantics and none of its servers.

Several processes on one machine may share the file. To keep consumers honest it delivers in a
seeded random order across keys, and (where asked) delivers a share of the records twice.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from terrazzo_runtime.bus import Delivery, Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, low INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS acks (
    name TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (name, position)
) WITHOUT ROWID;
"""


class LogBus:
    """See the module. `poll_interval_s` bounds how late another process's record is seen."""

    def __init__(
        self,
        path: Path,
        *,
        duplicate_share: float = 0.0,
        seed: int = 0,
        redeliver_after_s: float = 600.0,
        poll_interval_s: float = 0.25,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.RLock()
        self.arrived = threading.Condition(self._lock)
        self.duplicate_share = duplicate_share
        self.seed = seed
        self.redeliver_after_s = redeliver_after_s
        self.poll_interval_s = poll_interval_s
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(_SCHEMA)

    def publish(self, records: Sequence[Record]) -> None:
        with self._lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                self.db.executemany(
                    "INSERT INTO records (id, topic, key, value) VALUES (?, ?, ?, ?)",
                    [(r.id, r.topic, r.key, r.value) for r in records],
                )
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.arrived.notify_all()

    def subscribe(self, group: str, topics: Sequence[str]) -> LogSubscription:
        with self._lock:
            self.db.execute("INSERT OR IGNORE INTO groups (name, low) VALUES (?, 0)", (group,))
        return LogSubscription(self, group, tuple(topics))

    def close(self) -> None:
        with self._lock:
            self.db.close()


class LogSubscription:
    def __init__(self, bus: LogBus, group: str, topics: tuple[str, ...]) -> None:
        self._bus = bus
        self._group = group
        self._topics = topics
        self._random = random.Random(f"{bus.seed}/{group}")
        self._in_flight: dict[int, float] = {}  # position -> moment of redelivery
        self._held: dict[str, int] = {}  # key -> the position it waits for
        self._seen_twice: set[int] = set()

    def poll(self, max_records: int, timeout_s: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout_s
        with self._bus.arrived:
            while True:
                found = self._take(max_records)
                remaining = deadline - time.monotonic()
                if found or remaining <= 0:
                    return found
                self._bus.arrived.wait(min(remaining, self._bus.poll_interval_s))

    def _take(self, max_records: int) -> list[Delivery]:
        now = time.monotonic()
        for position in [p for p, due in self._in_flight.items() if due <= now]:
            self._release(position)
        by_key: dict[str, list[Delivery]] = {}
        for position, record_id, topic, key, value in self._waiting(max_records):
            if self._held.get(key, position) == position:
                by_key.setdefault(key, []).append(Delivery(Record(record_id, topic, key, value), position))
        # Only the first of each key goes out: the next one follows its acknowledgement.
        keys = list(by_key)
        self._random.shuffle(keys)
        chosen = [by_key[key][0] for key in keys[:max_records]]
        for delivery in chosen:
            self._in_flight[delivery.position] = now + self._bus.redeliver_after_s
            self._held[delivery.record.key] = delivery.position
        return chosen

    def _waiting(self, max_records: int) -> list[tuple[int, str, str, str, bytes]]:
        marks = ",".join("?" * len(self._topics))
        held = list(self._in_flight)
        rows = self._bus.db.execute(
            f"SELECT position, id, topic, key, value FROM records r WHERE topic IN ({marks}) "
            "AND position > (SELECT low FROM groups WHERE name = ?) "
            "AND NOT EXISTS (SELECT 1 FROM acks a WHERE a.name = ? AND a.position = r.position) "
            "ORDER BY position LIMIT ?",
            (*self._topics, self._group, self._group, max_records * 4 + len(held) * 2 + 16),
        )
        return [row for row in rows if row[0] not in self._in_flight]

    def ack(self, delivery: Delivery) -> None:
        with self._bus.arrived:
            self._release(delivery.position)
            share = self._bus.duplicate_share
            if share and delivery.position not in self._seen_twice and self._random.random() < share:
                self._seen_twice.add(delivery.position)  # as if the acknowledgement was lost
                return
            self._seen_twice.discard(delivery.position)
            self._bus.db.execute(
                "INSERT OR IGNORE INTO acks (name, position) VALUES (?, ?)", (self._group, delivery.position)
            )
            self._advance()

    def _advance(self) -> None:
        """Move the low mark over what is acknowledged (or not ours), so that polls stay short."""
        marks = ",".join("?" * len(self._topics))
        first_open = self._bus.db.execute(
            f"SELECT MIN(position) FROM records r WHERE topic IN ({marks}) "
            "AND position > (SELECT low FROM groups WHERE name = ?) "
            "AND NOT EXISTS (SELECT 1 FROM acks a WHERE a.name = ? AND a.position = r.position)",
            (*self._topics, self._group, self._group),
        ).fetchone()[0]
        last = self._bus.db.execute("SELECT COALESCE(MAX(position), 0) FROM records").fetchone()[0]
        low = (first_open - 1) if first_open is not None else last
        self._bus.db.execute("BEGIN IMMEDIATE")
        self._bus.db.execute("UPDATE groups SET low = ? WHERE name = ? AND low < ?", (low, self._group, low))
        self._bus.db.execute("DELETE FROM acks WHERE name = ? AND position <= ?", (self._group, low))
        self._bus.db.execute("COMMIT")

    def nack(self, delivery: Delivery, delay_s: float) -> None:
        with self._bus.arrived:
            self._in_flight[delivery.position] = time.monotonic() + delay_s

    def _release(self, position: int) -> None:
        self._in_flight.pop(position, None)
        for key in [k for k, p in self._held.items() if p == position]:
            del self._held[key]

    def close(self) -> None:
        with self._bus.arrived:
            self._in_flight.clear()
            self._held.clear()
