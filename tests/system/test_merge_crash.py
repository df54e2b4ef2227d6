"""A merge with conflicts, killed at every port call on its way and started again: one merge, one ruling each.

The path is walked once. At each point at which a process can die, what it would leave on disk is copied, unless
that was left before. On every copy a new process goes on, and the clients send again what was not answered. Points
that leave the same files in the same step can't be told apart, so every point is tried.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from system_harness import Harness

from terrazzo_client import TerrazzoClient
from terrazzo_mask_storage.ports import Scope
from terrazzo_qa.domain.records import Listing
from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.consumer import Consumer
from terrazzo_runtime.service import Ports

from .test_crash import ONTOLOGY, Fuse, FusedBlobs, FusedBus, FusedDatabase, npy

SERVICES = ("task", "mask_storage", "qa")


@dataclass(frozen=True)
class Prepared:
    """Two labelled images, one painted differently on two branches, the other removed on one; and a judge."""

    folder: Path
    clock: FakeClock
    scope: Scope
    admin_key: str
    judge_key: str


def painted(y: int, x: int, class_id: int) -> np.ndarray:
    labels_HW = np.ones((64, 64), np.uint8)
    labels_HW[y : y + 24, x : x + 24] = class_id
    return labels_HW


def commit(admin: TerrazzoClient, project_id: str, masks: dict[str, np.ndarray | None], branch: str) -> None:
    ids = {
        sample_id: None if labels_HW is None else admin.masks.put(project_id, npy(labels_HW)).mask_id
        for sample_id, labels_HW in masks.items()
    }
    admin.datasets.stage(project_id, ids, branch=branch)
    admin.datasets.commit(project_id, message=f"on {branch}", branch=branch)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder, clock = tmp_path_factory.mktemp("prepared") / "data", FakeClock()
    harness = Harness(folder, SERVICES, clock)
    admin_key = harness.system.admin_key()
    organisation_id = harness.system.ports["task"].authority.verify(admin_key).organisation_id
    with harness.client(admin_key) as admin:
        project_id = admin.projects.create(name="merge", ontology=ONTOLOGY, held_out_percent=0).project_id
        harness.drain()
        samples = []
        for seed in range(2):
            buffer = io.BytesIO()
            pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG")
            samples.append(admin.images.upload(project_id, buffer.getvalue(), name=f"{seed}.png").sample_id)
        harness.drain()
        one, other = samples
        commit(admin, project_id, dict.fromkeys(samples, np.ones((64, 64), np.uint8)), "main")
        admin.datasets.create_branch(project_id, "side")
        commit(admin, project_id, {one: painted(4, 4, 2), other: None}, "main")
        commit(admin, project_id, {one: painted(16, 16, 0), other: painted(4, 4, 2)}, "side")
        judge_key = admin.keys.create(name="judge", role="reviewer").key
        harness.drain()
    harness.close()
    return Prepared(folder, clock, Scope(organisation_id, project_id), admin_key, judge_key)


class Camera(Fuse):
    """Never blows: at each point it keeps what is on disk, once for each step of the path."""

    def __init__(self, folder: Path, kept: Path) -> None:
        super().__init__(None)
        self.folder, self.kept, self.step = folder, kept, 0
        self.states: dict[tuple[int, str], Path] = {}

    def burn(self) -> None:
        self.count += 1
        copy = self.kept / f"{self.count:04}"
        # By another process: SQLite's locks on a file end when this one closes any handle of it.
        subprocess.run(["cp", "-r", str(self.folder), str(copy)], check=True)
        digest = hashlib.sha256()
        for file in sorted(copy.rglob("*")):
            if file.is_file() and file.suffix != ".sqlite-shm":  # an index of the log, made again at the start
                digest.update(f"{file.relative_to(copy)} {file.stat().st_size}\n".encode() + file.read_bytes())
        if self.states.setdefault((self.step, digest.hexdigest()), copy) is not copy:
            shutil.rmtree(copy)


class Walk:
    """The steps of the clients, on one folder."""

    def __init__(self, prepared: Prepared, folder: Path, fuse: Fuse | None = None) -> None:
        self.prepared, self.fuse = prepared, fuse
        self.harness = Harness(folder, SERVICES, prepared.clock, wrap=self._fused)
        self.steps: list[Callable[[], object]] = [
            self._merge,
            self.harness.drain,
            lambda: self._judge(1),
            lambda: self._judge(2),
            self.harness.drain,
        ]

    def _fused(self, _name: str, ports: Ports) -> Ports:
        if self.fuse is None:
            return ports
        database: Any = FusedDatabase(ports.database, self.fuse)
        blobs: Any = FusedBlobs(ports.blobs, self.fuse)
        return replace(ports, database=database, blobs=blobs, bus=FusedBus(ports.bus, self.fuse))

    def _merge(self) -> None:
        with self.harness.client(self.prepared.admin_key) as admin:
            admin.datasets.merge(self.prepared.scope.project_id, "side", idempotency_key="m")

    def _judge(self, number: int) -> None:
        project_id = self.prepared.scope.project_id
        with self.harness.client(self.prepared.judge_key) as judge:
            lease = judge.tasks.lease(project_id, idempotency_key=f"l{number}")
            assert lease is not None
            answer: dict[str, str] = {"verdict": "remove"}
            if lease.task.removed_by is None:
                ruling = npy(np.full((64, 64), 2, np.uint8))
                answer = {"mask_id": judge.masks.put(project_id, ruling, idempotency_key="p").mask_id}
            judge.tasks.submit(
                lease.task.task_id,
                lease_id=lease.lease_id,
                seconds_spent=9.0,
                idempotency_key=f"s{number}",
                **answer,
            )

    def outcome(self) -> tuple[Any, ...]:
        """What the three services remember, from their stores: requests would take most of the test's time."""
        scope = self.prepared.scope
        services = self.harness.system.services
        with services["mask_storage"].uow.read() as store:
            [merge] = store.merges(scope, None, 10)
            head = store.commit(scope, store.head(scope, "main"))
            versions = (merge.state, merge.num_resolved, head.num_samples, head.tree_id, len(store.graph(scope)))
        with services["task"].uow.read() as store:
            tasks = store.tasks(scope.organisation_id, scope.project_id, limit=10)
            work = store.submissions(scope.organisation_id, scope.project_id, limit=10)
        with services["qa"].uow.read() as store:
            found = store.adjudications(scope.organisation_id, scope.project_id, Listing(10))
            checked = store.submissions(scope.organisation_id, scope.project_id, Listing(10))
        states = [sorted(item.state for item in items) for items in (tasks, work, found)]
        return (*versions, *states, len(checked))


def photographed(prepared: Prepared, tmp_path: Path) -> tuple[Camera, tuple[Any, ...]]:
    """The whole path, and every state that a killed process would have left."""
    folder = tmp_path / "whole"
    shutil.copytree(prepared.folder, folder)
    (tmp_path / "kept").mkdir()
    camera = Camera(folder, tmp_path / "kept")
    walk = Walk(prepared, folder, camera)
    for camera.step, step in enumerate(walk.steps):
        step()
    outcome = walk.outcome()
    walk.harness.close()
    return camera, outcome


def gone_on(prepared: Prepared, state: Path, step: int) -> tuple[Any, ...]:
    """What comes of it when a new process goes on from there."""
    walk = Walk(prepared, state)
    try:
        for again in walk.steps[step:]:
            again()
        return walk.outcome()
    finally:
        walk.harness.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_process_killed_at_any_port_call_merges_once_and_asks_once(prepared: Prepared, tmp_path: Path) -> None:
    camera, expected = photographed(prepared, tmp_path)
    assert (expected[0], expected[1], expected[2]) == ("merged", 2, 1)
    assert expected[4:] == (4, ["accepted"] * 2, ["accepted"] * 2, ["decided"] * 2, 2)
    assert camera.count > 200
    assert len(camera.states) > 60, "the path must have many points at which it can be stopped"
    for (step, _), state in camera.states.items():
        assert gone_on(prepared, state, step) == expected, f"killed at point {state.name}, in step {step}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_the_inbox_the_same_test_finds_lost_work(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a consumer that acknowledges before it handles must be caught."""
    original = Consumer._deliver

    def acknowledge_first(self: Consumer, delivery: Any) -> None:
        assert self._subscription is not None
        self._subscription.ack(delivery)
        original(self, delivery)

    monkeypatch.setattr(Consumer, "_deliver", acknowledge_first)
    camera, expected = photographed(prepared, tmp_path)
    assert expected[0] == "merged"
    for (step, _), state in camera.states.items():
        if step != 1:
            continue
        try:
            if gone_on(prepared, state, step) != expected:
                return
        except AssertionError:
            return  # a task never came to be
    pytest.fail("the test can't tell a broken consumer from a sound one")
