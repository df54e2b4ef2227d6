"""The Python client and this service understand each other, method by method."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from terrazzo_client import TerrazzoClient
from terrazzo_schema.rest.mask_storage import Provenance

from .conftest import PROJECT, World, picture_bytes, random_picture


def test_every_method_of_the_client_is_answered(world: World, tmp_path: Path) -> None:
    client = TerrazzoClient("http://testserver", world.key_of("admin"), transport=world.client._transport)
    data = picture_bytes(random_picture(1, 300, 280))
    image = client.images.upload(PROJECT, data, "a b/ü.png", {"site": "x"})
    assert client.images.content(PROJECT, image.image_hash) == data
    assert [i.sample_id for i in client.images.list(PROJECT)] == [image.sample_id]
    assert client.images.get(PROJECT, image.image_hash).names == ["a b/ü.png"]
    assert client.images.thumbnail(PROJECT, image.image_hash, 64)
    assert client.images.pyramid(PROJECT, image.image_hash).levels[0] == (300, 280)
    assert client.images.tile(PROJECT, image.image_hash, 0, 1, 1)
    labels_HW = np.full((300, 280), 2, np.uint8)
    labels_HW[5, 6] = 3
    about = Provenance(source="import", actor="me", sample_id=image.sample_id)
    mask = client.masks.put(PROJECT, labels_HW, provenance=about, expected=(300, 280))
    assert client.masks.get(PROJECT, mask.mask_id).counts == mask.counts
    assert [tile.counts[3] for tile in client.masks.tiles(PROJECT, mask.mask_id, class_id=3)] == [1]
    painted = client.masks.paint(PROJECT, mask.mask_id, np.full((4, 5), 1, np.uint8), y=10, x=20)
    assert painted.counts == {1: 20, 2: 300 * 280 - 21, 3: 1}
    assert client.masks.put(PROJECT, labels_HW, base=painted.mask_id, provenance=about).mask_id == mask.mask_id
    assert client.masks.blank(PROJECT, 70_000, 90_000, class_id=2).counts == {2: 6_300_000_000}
    assert client.storage.stats().num_masks == 3
    assert [line.report.num_damages for line in client.storage.verify() if line.report is not None] == [0]
    assert client.storage.gc(dry_run=True).num_removed == 0
    assert (client.masks.labels(PROJECT, mask.mask_id) == labels_HW).all()
    assert client.masks.region(PROJECT, mask.mask_id, y=5, x=6, height=1, width=1)[0, 0] == 3
    assert client.masks.tile(PROJECT, mask.mask_id, 1, 1)
    assert list(client.masks.provenance(PROJECT, mask.mask_id)) == [about]
    assert client.datasets.stage(PROJECT, {image.sample_id: mask.mask_id}).staged == 1
    assert client.datasets.status(PROJECT).staged == 1
    commit = client.datasets.commit(PROJECT, "first")
    assert client.datasets.tag(PROJECT, "release/1", "main").commit_id == commit.commit_id
    assert client.datasets.show(PROJECT, "release/1") == commit
    assert list(client.datasets.log(PROJECT)) == [commit]
    assert [t.name for t in client.datasets.tags(PROJECT)] == ["release/1"]
    assert [b.name for b in client.datasets.branches(PROJECT)] == ["main"]
    [entry] = client.datasets.entries(PROJECT, commit.commit_id)
    assert client.datasets.entry(PROJECT, image.sample_id) == entry
    assert client.datasets.diff(PROJECT, "main", commit.commit_id).num_changed == 0
    assert list(client.datasets.diff_samples(PROJECT, "main", "release/1")) == []
    assert client.datasets.blame(PROJECT, image.sample_id, y=5, x=6).set_by == "me"
    path = client.datasets.export(PROJECT, "main", "index", tmp_path / "out.zip")
    assert len(zipfile.ZipFile(path).namelist()) == 4
    assert client.datasets.import_(PROJECT, path, branch="again").num_imported == 1
