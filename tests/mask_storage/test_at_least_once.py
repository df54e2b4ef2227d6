"""Twice, together, broken off: events come again, requests race, and what was cut off is sent again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_schema.errors import NotKnownYet, StorageFull
from terrazzo_schema.events import CommitCreated, MaskAccepted, MaskStaged, OntologyPublished

from .conftest import PROJECT, World, picture_bytes, random_picture
from .test_exchange import import_, zip_of


def test_an_accepted_mask_that_is_delivered_twice_is_staged_once(world: World) -> None:
    sample_id = world.sample(1)
    mask_id = world.put(np.ones((60, 80), np.uint8))
    message = MaskAccepted(task_id="tsk_1", sample_id=sample_id, mask_id=mask_id, revision=1)
    world.hear(message, twice=True, key=sample_id)
    assert len(world.said(MaskStaged)) == 1
    # Said again under another id (the other service published it twice): the revision tells.
    world.commit()
    world.hear(message, key=sample_id)
    assert world.dataset("status")["staged"] == 0
    assert len(world.said(MaskStaged)) == 1


def test_an_ontology_of_a_project_not_heard_of_yet_is_tried_again(world: World) -> None:
    message = OntologyPublished(version=2, ontology_json="{}")
    with pytest.raises(NotKnownYet):
        world.hear(message, project_id="prj_later0001")


def test_the_same_mask_from_many_hands_at_once_is_one_mask(world: World) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (300, 300), dtype=np.uint8)
    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(lambda n: world.put(labels, world.as_("annotator", name=f"ann{n}")), range(12)))
    assert len(ids) == 1
    [mask_id] = ids
    assert (world.labels(mask_id) == labels).all()
    rows = world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/provenance").json()
    assert sorted(row["actor"] for row in rows) == sorted(f"key_ann{n}0000" for n in range(12))


def test_commits_that_race_make_one_line_of_history(world: World) -> None:
    samples = [world.sample(seed) for seed in range(6)]
    mask_id = world.put(np.ones((60, 80), np.uint8))
    world.stage(dict.fromkeys(samples, mask_id))

    def commit(sample_id: str) -> int:
        body = {"message": sample_id, "sample_ids": [sample_id]}
        return world.client.post(f"/v1/datasets/{PROJECT}/commits", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(commit, samples + samples)).count(201) == 6
    log = world.dataset("commits")["items"]
    assert [commit["num_samples"] for commit in log] == [6, 5, 4, 3, 2, 1]
    assert [commit["parent_ids"] for commit in log[:-1]] == [[commit["commit_id"]] for commit in log[1:]]
    assert len(world.said(CommitCreated)) == 6


class Interrupted(Exception):
    """The process was killed here."""


class FailingBlobs(MemoryBlobs):
    """Dies at its nth write, or is full from then on."""

    def __init__(self, writes: int, error: Exception) -> None:
        super().__init__()
        self.writes = writes
        self.error: Exception | None = error

    def put(self, data: bytes) -> str:
        if self.error is not None:
            if self.writes == 0:
                raise self.error
            self.writes -= 1
        return super().put(data)


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("error", [Interrupted(), StorageFull("no room")], ids=["killed", "full"])
def test_an_import_broken_off_at_any_write_is_simply_sent_again(make_world, writes: int, error: Exception) -> None:
    data = zip_of(
        {
            "images/a.png": picture_bytes(random_picture(1)),
            "masks/a.png": picture_bytes(np.random.default_rng(1).integers(0, 2, (60, 80), np.uint8)),
            "images/b.png": picture_bytes(random_picture(2)),
            "masks/b.png": picture_bytes(np.random.default_rng(2).integers(0, 2, (60, 80), np.uint8)),
        }
    )
    blobs = FailingBlobs(writes, error)
    world = make_world(blobs=blobs)
    client = world.as_("admin", name="tester")
    headers = {"Idempotency-Key": "import-1"}
    first = client.post(f"/v1/datasets/{PROJECT}/import", content=data, headers=headers)
    if writes < 3:  # two images, and one pack for both masks
        assert first.status_code == (507 if isinstance(error, StorageFull) else 500)
        # Nothing points to bytes that are not there.
        for image in world.client.get(f"/v1/images/{PROJECT}").json()["items"]:
            assert blobs.exists(image["image_hash"])
    blobs.error = None
    again = client.post(f"/v1/datasets/{PROJECT}/import", content=data, headers=headers)
    report = again.json()
    assert (report["num_imported"], report["num_skipped"], report["num_losses"]) == (2, 0, 0)
    assert world.commit()["num_samples"] == 2
    assert import_(world, data)["num_imported"] == 2
    assert world.dataset("status")["staged"] == 0
