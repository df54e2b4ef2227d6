"""The path submit -> check -> consensus -> commit, stopped at every port call and started again.

As in SQLite's anomaly tests: run number n is stopped at the n-th point, a new process opens the same files
and goes on, the client sends again what was not answered. It ends when a run reaches no n-th point.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from system_harness import Harness

from terrazzo_runtime.bus import Delivery, Record
from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.consumer import Consumer
from terrazzo_runtime.service import Ports

ONTOLOGY = {"name": "two", "classes": [{"id": 1, "name": "ground"}, {"id": 2, "name": "thing"}]}
SHARDS = 4


class Crash(BaseException):
    """The process dies here. Not an Exception: nothing may catch it and carry on."""


class Fuse:
    """Counts the points at which a process can die, and dies at number `limit` (None: never)."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.count = 0
        self.blown = False

    def burn(self) -> None:
        self.count += 1
        if self.blown or self.count == self.limit:
            self.blown = True  # a dead process does nothing more, whoever still asks it
            raise Crash


class FusedDatabase:
    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def write(self) -> Iterator[Any]:
        self._fuse.burn()  # before anything is written
        with self._inner.write() as connection:
            yield connection
            self._fuse.burn()  # all is written, nothing committed
        self._fuse.burn()  # committed, and nobody was told


class FusedBlobs:
    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, data: bytes) -> str:
        self._fuse.burn()
        digest: str = self._inner.put(data)
        self._fuse.burn()
        return digest


class FusedBus:
    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def publish(self, records: Sequence[Record]) -> None:
        self._fuse.burn()
        self._inner.publish(records)
        self._fuse.burn()

    def subscribe(self, group: str, topics: Sequence[str]) -> Any:
        return FusedSubscription(self._inner.subscribe(group, topics), self._fuse)

    def close(self) -> None:
        self._inner.close()


class FusedSubscription:
    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def poll(self, max_records: int, timeout_s: float) -> list[Delivery]:
        found: list[Delivery] = self._inner.poll(max_records, timeout_s)
        if found:
            self._fuse.burn()
        return found

    def ack(self, delivery: Delivery) -> None:
        self._fuse.burn()
        self._inner.ack(delivery)
        self._fuse.burn()


@dataclass(frozen=True)
class Prepared:
    """A project with one task for two annotators, both of whom hold a lease, as files in a folder."""

    folder: Path
    clock: FakeClock
    project_id: str
    admin_key: str
    task_id: str
    sample_id: str
    held: list[tuple[str, str]]  # (key, lease id)


def votes() -> list[np.ndarray]:
    """Two label maps that differ by a few pixels: a consensus, and no dispute worth a third person."""
    first = np.ones((64, 64), np.uint8)
    first[16:48, 16:48] = 2
    second = first.copy()
    second[16, 16:20] = 1
    return [first, second]


def npy(labels_HW: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, labels_HW)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    clock = FakeClock()
    harness = Harness(folder, ("task", "mask_storage", "qa"), clock)
    admin_key = harness.system.admin_key()
    with harness.client(admin_key) as admin:
        project = admin.projects.create(name="crash", ontology=ONTOLOGY, held_out_percent=0)
        harness.drain()
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
        image = admin.images.upload(project.project_id, buffer.getvalue(), name="a.png")
        harness.drain()
        batch = admin.batches.create(project.project_id, name="b", size=1, redundancy=2, multi_share=1.0)
        held = []
        for name in ("ann", "bob"):
            key = admin.keys.create(name=name, role="annotator").key
            lease = harness.client(key).tasks.lease(project.project_id, batch_id=batch.batch_id)
            assert lease is not None
            held.append((key, lease.lease_id))
        harness.drain()
    harness.close()
    return Prepared(folder, clock, project.project_id, admin_key, lease.task.task_id, image.sample_id, held)


@dataclass(frozen=True)
class Outcome:
    tree_id: str
    submissions: tuple[tuple[str, str], ...]
    num_votes: int
    task_state: str
    num_commits: int
    num_consensus: int


class Scenario:
    """The clients' side. Each step is sent until it is answered, with the same idempotency key."""

    def __init__(self, prepared: Prepared, folder: Path, fuse: Fuse) -> None:
        self.prepared = prepared
        self.folder = folder
        self.fuse = fuse
        self.num_starts = 0
        self.harness: Any = None

    def run(self) -> Outcome:
        shutil.copytree(self.prepared.folder, self.folder)
        for (key, lease_id), labels_HW in zip(self.prepared.held, votes(), strict=True):
            self._insist(lambda k=key, lease=lease_id, v=labels_HW: self._submit(k, lease, v))
        self._insist(self._drain)
        self._insist(self._commit)
        self._insist(self._drain)
        outcome = self._insist(self._look)
        self.harness.close()
        return outcome

    def _insist(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                if self.harness is None:
                    self._start()
                answer = step()
                if not self.fuse.blown:
                    return answer
            except BaseException:
                if not self.fuse.blown:
                    raise
            self._restart()

    def _start(self) -> None:
        self.num_starts += 1
        self.harness = Harness(self.folder, ("task", "mask_storage", "qa"), self.prepared.clock, wrap=self._fused)

    def _restart(self) -> None:
        if self.harness is not None:
            self.harness.close()
        self.harness = None
        self.fuse = Fuse(None)

    def _fused(self, name: str, ports: Ports) -> Ports:
        return replace(
            ports,
            database=FusedDatabase(ports.database, self.fuse),  # type: ignore[arg-type]
            blobs=FusedBlobs(ports.blobs, self.fuse),  # type: ignore[arg-type]
            bus=FusedBus(ports.bus, self.fuse),
        )

    def _submit(self, key: str, lease_id: str, labels_HW: np.ndarray) -> None:
        with self.harness.client(key) as client:
            mask = client.masks.put(self.prepared.project_id, npy(labels_HW), idempotency_key=f"m-{lease_id}")
            client.tasks.submit(
                self.prepared.task_id,
                lease_id=lease_id,
                mask_id=mask.mask_id,
                seconds_spent=60.0,
                idempotency_key=f"s-{lease_id}",
            )

    def _drain(self) -> None:
        self.harness.drain()

    def _commit(self) -> None:
        with self.harness.client(self.prepared.admin_key) as admin:
            admin.datasets.commit(self.prepared.project_id, message="first", idempotency_key="commit-1")

    def _look(self) -> Outcome:
        with self.harness.client(self.prepared.admin_key) as admin:
            project_id = self.prepared.project_id
            log = list(admin.datasets.log(project_id))
            consensus = list(admin.consensus.list(project_id))
            submissions = admin.submissions.list(project_id)
            return Outcome(
                tree_id=log[0].tree_id,
                submissions=tuple(sorted((s.annotator, s.state) for s in submissions)),
                num_votes=consensus[0].num_votes,
                task_state=admin.tasks.get(self.prepared.task_id).state,
                num_commits=len(log),
                num_consensus=len(consensus),
            )


def run_to(limit: int | None, prepared: Prepared, folder: Path) -> tuple[Outcome, int, int]:
    fuse = Fuse(limit)
    scenario = Scenario(prepared, folder, fuse)
    outcome = scenario.run()
    shutil.rmtree(folder)
    return outcome, fuse.count, scenario.num_starts


EXPECTED = {"submissions": (("ann", "accepted"), ("bob", "accepted")), "num_votes": 2, "task_state": "accepted"}


def assert_nothing_lost_and_nothing_twice(outcome: Outcome) -> None:
    assert outcome.submissions == EXPECTED["submissions"]
    assert outcome.num_votes == 2
    assert outcome.task_state == "accepted"
    assert outcome.num_commits == 1
    assert outcome.num_consensus == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_process_killed_at_any_port_call_loses_nothing_and_counts_nothing_twice(
    shard: int, prepared: Prepared, tmp_path: Path
) -> None:
    expected, num_points, _ = run_to(None, prepared, tmp_path / "whole")
    assert_nothing_lost_and_nothing_twice(expected)
    assert num_points > 50, "the path must have many points at which it can be stopped"
    for limit in range(1 + shard, num_points + 1, SHARDS):
        outcome, _, num_starts = run_to(limit, prepared, tmp_path / f"run-{limit}")
        assert num_starts == 2, f"point {limit} was not reached"
        assert outcome == expected, f"killed at point {limit} of {num_points}"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_the_inbox_the_same_test_finds_doubled_or_lost_work(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a consumer that acknowledges before it handles must be caught."""
    expected, num_points, _ = run_to(None, prepared, tmp_path / "whole")
    original = Consumer._deliver

    def acknowledge_first(self: Consumer, delivery: Delivery) -> None:
        assert self._subscription is not None
        self._subscription.ack(delivery)
        original(self, delivery)

    monkeypatch.setattr(Consumer, "_deliver", acknowledge_first)
    different = 0
    for limit in range(1, num_points + 1):
        try:
            outcome, _, _ = run_to(limit, prepared, tmp_path / f"run-{limit}")
        except Exception:  # noqa: BLE001 - a lost event may leave nothing to commit, in many ways
            different += 1
        else:
            different += outcome != expected
        if different:
            break
    assert different, "the test can't tell a broken consumer from a sound one"
