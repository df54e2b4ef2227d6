"""Two branches paint one image: the conflict becomes a task, a person rules, and the merge is made by itself."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from system_harness import Harness

from terrazzo_client import TerrazzoClient
from terrazzo_runtime.clock import FakeClock
from terrazzo_runtime.service import Ports

from .test_crash import ONTOLOGY, Fuse, FusedBlobs, FusedBus, FusedDatabase, npy

SERVICES = ("task", "mask_storage", "qa")
BASE = np.ones((64, 64), np.uint8)


def painted(y: int, x: int, class_id: int) -> NDArray[np.uint8]:
    labels_HW = BASE.copy()
    labels_HW[y : y + 24, x : x + 24] = class_id
    return labels_HW


OURS, THEIRS = painted(4, 4, 2), painted(16, 16, 0)


@dataclass(frozen=True)
class Prepared:
    """A project with one labelled image, painted differently on two branches, and a person to judge."""

    folder: Path
    clock: FakeClock
    project_id: str
    sample_id: str
    admin_key: str
    judge_key: str


def prepare(harness: Harness) -> tuple[str, str, str, str]:
    admin_key = harness.system.admin_key()
    with harness.client(admin_key) as admin:
        project_id = admin.projects.create(name="merge", ontology=ONTOLOGY, held_out_percent=0).project_id
        harness.drain()
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
        sample_id = admin.images.upload(project_id, buffer.getvalue(), name="a.png").sample_id
        harness.drain()
        commit(admin, project_id, sample_id, BASE, "main")
        admin.datasets.create_branch(project_id, "side")
        commit(admin, project_id, sample_id, OURS, "main")
        commit(admin, project_id, sample_id, THEIRS, "side")
        judge_key = admin.keys.create(name="judge", role="reviewer").key
        harness.drain()
    return project_id, sample_id, admin_key, judge_key


def commit(admin: TerrazzoClient, project_id: str, sample_id: str, labels_HW: NDArray[Any], branch: str) -> None:
    mask_id = admin.masks.put(project_id, npy(labels_HW)).mask_id
    admin.datasets.stage(project_id, {sample_id: mask_id}, branch=branch)
    admin.datasets.commit(project_id, message=f"painted on {branch}", branch=branch)


def main_labels(admin: TerrazzoClient, project_id: str, sample_id: str) -> NDArray[Any]:
    return admin.masks.labels(project_id, admin.datasets.entry(project_id, sample_id).mask_id)


def test_a_conflict_goes_to_a_person_and_the_ruling_completes_the_merge(
    harness_factory: Callable[..., Harness],
) -> None:
    harness = harness_factory(bus_duplicate_share=0.5)
    project_id, sample_id, admin_key, judge_key = prepare(harness)
    with harness.client(admin_key) as admin, harness.client(judge_key) as judge:
        merge = admin.datasets.merge(project_id, "side")
        assert (merge.state, merge.num_conflicts) == ("open", 1)
        harness.drain()
        lease = judge.tasks.lease(project_id)
        assert lease is not None
        task = lease.task
        assert task.kind == "adjudicate"
        assert task.region is not None
        assert (task.region.y, task.region.x, task.region.height, task.region.width) == (16, 16, 12, 12)
        sides = [judge.masks.labels(project_id, mask_id) for mask_id in task.candidate_mask_ids]
        assert (sides[0] == OURS).all()
        assert (sides[1] == THEIRS).all()
        ruling = np.full((64, 64), 2, np.uint8)
        ruling[22:28, 16:28] = 1
        mask_id = judge.masks.put(project_id, npy(ruling)).mask_id
        judge.tasks.submit(task.task_id, lease_id=lease.lease_id, mask_id=mask_id, seconds_spent=30.0)
        harness.drain()
        done = admin.datasets.get_merge(project_id, merge.merge_id or "")
        assert (done.state, done.num_resolved) == ("merged", 1)
        expected = THEIRS.copy()
        expected[4:28, 4:28] = 2
        expected[22:28, 16:28] = 1
        assert (main_labels(admin, project_id, sample_id) == expected).all()
        head = admin.datasets.show(project_id)
        assert head.parent_ids == [merge.target_commit_id, merge.source_commit_id]
        assert admin.tasks.get(task.task_id).state == "accepted"
        assert [s.state for s in admin.submissions.list(project_id)] == ["accepted"]
        [adjudication] = admin.adjudications.list(project_id)
        assert (adjudication.state, adjudication.merge_id) == ("decided", merge.merge_id)
        # A ruling is no acceptance: nothing is staged, and the sample's own state is untouched.
        assert admin.datasets.status(project_id).staged == 0
        assert [s.state for s in admin.samples.list(project_id)] == ["unlabelled"]
        blame = admin.datasets.blame(project_id, sample_id, y=24, x=20)
        assert (blame.class_id, blame.set_by_kind, blame.commit_id) == (1, "annotator", head.commit_id)
        assert blame.set_by == adjudication.decided_by


def test_an_abandoned_merge_takes_its_task_from_the_queue(harness_factory: Callable[..., Harness]) -> None:
    harness = harness_factory()
    project_id, _, admin_key, judge_key = prepare(harness)
    with harness.client(admin_key) as admin, harness.client(judge_key) as judge:
        merge = admin.datasets.merge(project_id, "side")
        admin.datasets.abandon_merge(project_id, merge.merge_id or "")
        harness.drain()
        assert judge.tasks.lease(project_id) is None
        assert [t.state for t in admin.tasks.list(project_id)] == ["cancelled"]
        assert [a.state for a in admin.adjudications.list(project_id)] == ["withdrawn"]


def test_whose_work_is_on_a_side_does_not_judge_it(harness_factory: Callable[..., Harness]) -> None:
    harness = harness_factory()
    admin_key = harness.system.admin_key()
    with harness.client(admin_key) as admin:
        project_id = admin.projects.create(name="merge", ontology=ONTOLOGY, held_out_percent=0).project_id
        harness.drain()
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
        sample_id = admin.images.upload(project_id, buffer.getvalue(), name="a.png").sample_id
        harness.drain()
        admin.batches.create(project_id, name="b", size=1, multi_share=0.0)
        painter_key = admin.keys.create(name="painter", role="reviewer").key
        with harness.client(painter_key) as painter:
            lease = painter.tasks.lease(project_id)
            assert lease is not None
            commit(admin, project_id, sample_id, BASE, "start")
            mask_id = painter.masks.put(project_id, npy(OURS)).mask_id
            painter.tasks.submit(lease.task.task_id, lease_id=lease.lease_id, mask_id=mask_id, seconds_spent=30.0)
            harness.drain()
            admin.datasets.create_branch(project_id, "main", "start")
            commit(admin, project_id, sample_id, THEIRS, "start")
            admin.datasets.commit(project_id, message="the painter's")
            assert admin.datasets.merge(project_id, "start").state == "open"
            harness.drain()
            assert painter.tasks.lease(project_id) is None
        with harness.client(admin.keys.create(name="judge", role="reviewer").key) as judge:
            assert judge.tasks.lease(project_id) is not None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder, clock = tmp_path_factory.mktemp("prepared") / "data", FakeClock()
    harness = Harness(folder, SERVICES, clock)
    found = prepare(harness)
    harness.close()
    return Prepared(folder, clock, *found)


class Run:
    """Merge, wait, lease, submit, wait: each step is sent until it is answered; the process may die once."""

    def __init__(self, prepared: Prepared, folder: Path, fuse: Fuse) -> None:
        self.prepared, self.folder, self.fuse = prepared, folder, fuse
        self.harness: Harness | None = None
        self.num_starts = 0

    def whole(self) -> tuple[Any, ...]:
        shutil.copytree(self.prepared.folder, self.folder)
        self._insist(lambda: self._admin().datasets.merge(self.prepared.project_id, "side", idempotency_key="m"))
        self._insist(self._drain)
        self._insist(self._judge)
        self._insist(self._drain)
        outcome: tuple[Any, ...] = self._insist(self._look)
        assert self.harness is not None
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
            if self.harness is not None:
                self.harness.close()
            self.harness, self.fuse = None, Fuse(None)

    def _start(self) -> None:
        self.num_starts += 1
        self.harness = Harness(self.folder, SERVICES, self.prepared.clock, wrap=self._fused)

    def _fused(self, _name: str, ports: Ports) -> Ports:
        return replace(
            ports,
            database=FusedDatabase(ports.database, self.fuse),  # type: ignore[arg-type]
            blobs=FusedBlobs(ports.blobs, self.fuse),  # type: ignore[arg-type]
            bus=FusedBus(ports.bus, self.fuse),
        )

    def _admin(self) -> TerrazzoClient:
        assert self.harness is not None
        return self.harness.client(self.prepared.admin_key)

    def _drain(self) -> None:
        assert self.harness is not None
        self.harness.drain()

    def _judge(self) -> None:
        assert self.harness is not None
        project_id = self.prepared.project_id
        with self.harness.client(self.prepared.judge_key) as judge:
            lease = judge.tasks.lease(project_id, idempotency_key="l")
            assert lease is not None
            mask_id = judge.masks.put(project_id, npy(np.full((64, 64), 2, np.uint8)), idempotency_key="p").mask_id
            judge.tasks.submit(
                lease.task.task_id,
                lease_id=lease.lease_id,
                mask_id=mask_id,
                seconds_spent=9.0,
                idempotency_key="s",
            )

    def _look(self) -> tuple[Any, ...]:
        project_id = self.prepared.project_id
        with self._admin() as admin:
            [merge] = admin.datasets.merges(project_id)
            return (
                merge.state,
                merge.num_resolved,
                admin.datasets.show(project_id).tree_id,
                len(list(admin.datasets.log(project_id))),
                [t.state for t in admin.tasks.list(project_id)],
                [s.state for s in admin.submissions.list(project_id)],
                [a.state for a in admin.adjudications.list(project_id)],
            )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_process_killed_at_any_port_call_merges_once_and_asks_once(prepared: Prepared, tmp_path: Path) -> None:
    def run_to(limit: int | None) -> tuple[tuple[Any, ...], int, int]:
        fuse = Fuse(limit)
        run = Run(prepared, tmp_path / "run", fuse)
        outcome = run.whole()
        shutil.rmtree(tmp_path / "run")
        return outcome, fuse.count, run.num_starts

    expected, num_points, _ = run_to(None)
    assert expected[:2] == ("merged", 1)
    assert expected[3:] == (4, ["accepted"], ["accepted"], ["decided"])
    assert num_points > 50
    # All of them take half an hour; every eighth still meets each kind of call in each service.
    for limit in range(1, num_points + 1, 8):
        outcome, _, num_starts = run_to(limit)
        assert num_starts == 2, f"point {limit} was not reached"
        assert outcome == expected, f"killed at point {limit} of {num_points}"
