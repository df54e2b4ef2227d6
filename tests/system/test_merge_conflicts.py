"""Two branches paint one image: the conflict becomes a task, a person rules, and the merge is made by itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from system_harness import Harness

from terrazzo_client import TerrazzoClient

from .test_crash import ONTOLOGY, npy

BASE = np.ones((64, 64), np.uint8)


def painted(y: int, x: int, class_id: int) -> NDArray[np.uint8]:
    labels_HW = BASE.copy()
    labels_HW[y : y + 24, x : x + 24] = class_id
    return labels_HW


OURS, THEIRS = painted(4, 4, 2), painted(16, 16, 0)


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
