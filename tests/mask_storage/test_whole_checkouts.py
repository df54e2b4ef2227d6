"""A version of many label files, checked out pack by pack: the pixels that were stored, or an error."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from terrazzo_client import TerrazzoClient
from terrazzo_client.label_folder import LabelFolder
from terrazzo_mask_storage.handlers.exchange import checkouts, packed_pngs
from terrazzo_mask_storage.handlers.upkeep.repack import Repacker
from terrazzo_mask_storage.ports import Scope
from terrazzo_masks.labels import LabelMap
from terrazzo_runtime.adapters.memory_blobs import MemoryBlobs
from terrazzo_schema.errors import StorageDamaged
from terrazzo_schema.label_bundle import frames
from terrazzo_schema.rest.mask_storage import CheckoutCreate

from .conftest import PROJECT, World, picture_bytes
from .test_storage_upkeep import HOUR_S, blobby, damage, deps_of, forget_caches, packs_in

SCOPE = Scope("org_test0001", PROJECT)
NUM = 40


@pytest.fixture
def world(make_world, blobs: MemoryBlobs) -> World:
    return make_world(blobs=blobs)


def label_of(number: int) -> LabelMap:
    """Most are one tile; some are of one class, some have several tiles, some ids of 16 bits, some noise."""
    kind = number % 8 if number < 8 else 8
    rng = np.random.default_rng(number)
    shape_HW = (600, 300) if kind == 1 else (60, 80)
    if kind == 0:
        return np.full(shape_HW, 3, np.uint8)
    if kind == 2:
        return np.where(several(number) == 1, np.uint16(300), several(number))
    if kind == 3:
        return rng.integers(0, 4, shape_HW, dtype=np.uint8)
    return several(number, *shape_HW)


def several(seed: int, height: int = 60, width: int = 80) -> LabelMap:
    """Never of one class."""
    labels_HW = blobby(seed, height, width)
    labels_HW[:3], labels_HW[-3:] = 1, 2
    return labels_HW


@pytest.fixture
def made(world: World, key_of, tmp_path: Path) -> dict[str, LabelMap]:
    """A folder of NUM files, added and committed; label maps by the names of their files."""
    maps = {f"m{number:02d}.png": label_of(number) for number in range(NUM)}
    folder = tmp_path / "made"
    folder.mkdir()
    for number, (name, labels_HW) in enumerate(maps.items()):
        world.sample(number, name.replace(".png", ".jpg"), *labels_HW.shape)
        (folder / name).write_bytes(picture_bytes(labels_HW))
    added = folder_of(world, key_of, folder).add(message="labels")
    assert (added.num_files, added.skipped) == (NUM, ())
    return maps


def folder_of(world: World, key_of: Any, path: Path) -> LabelFolder:
    client = TerrazzoClient("http://testserver", key_of("manager"), transport=world.client._transport)
    return LabelFolder(client, PROJECT, path)


def checked_out(world: World) -> dict[str, LabelMap]:
    """Label maps by name, of a folder that held nothing."""
    forget_caches(world)
    body = b"".join(checkouts.checkout(deps_of(world), SCOPE, CheckoutCreate()))
    files = [(f"{name}.png", data) for _, found in frames(body) for name, data, _ in found]
    assert len(files) == len(dict(files))
    return {name: np.asarray(Image.open(io.BytesIO(data))) for name, data in files}


def assert_same(found: dict[str, LabelMap], wanted: dict[str, LabelMap]) -> None:
    assert found.keys() == wanted.keys()
    for name, labels_HW in wanted.items():
        np.testing.assert_array_equal(found[name], labels_HW, err_msg=name)


@pytest.fixture(autouse=True)
def packed(monkeypatch) -> list[int]:
    """How many files came straight from packs, a number for each checkout; a few are many here."""
    counts: list[int] = []
    plain = packed_pngs.pngs_of

    def counting(*given: Any) -> Iterator[Any]:
        found = list(plain(*given))
        counts.append(sum(png is not None for _, png in found))
        return iter(found)

    monkeypatch.setattr(packed_pngs, "pngs_of", counting)
    monkeypatch.setattr(checkouts, "_MANY_FILES", 16)
    return counts


def test_every_file_has_the_pixels_that_were_stored(world: World, made, packed: list[int]) -> None:
    assert_same(checked_out(world), made)
    # The one of one class and the one of several tiles are read the other way.
    assert packed == [NUM - 2]


def test_strokes_that_are_stored_as_patches_and_masks_that_were_packed_again_come_out(
    world: World, made, key_of, tmp_path: Path, clock, packed: list[int]
) -> None:
    folder = folder_of(world, key_of, tmp_path / "made")
    for name in list(made)[10:15]:
        made[name] = made[name].copy()
        made[name][20:24, 10:30] = 2 if made[name][20, 10] != 2 else 3
        (tmp_path / "made" / name).write_bytes(picture_bytes(made[name]))
    assert folder.add(message="strokes").commit is not None
    assert_same(checked_out(world), made)
    assert packed == [NUM - 7]
    clock.advance(30 * HOUR_S)
    Repacker(deps_of(world)).run_once()
    assert_same(checked_out(world), made)
    assert packed[1] > NUM // 2


def test_a_few_files_of_a_pack_are_read_without_listing_it(
    world: World, made, packed: list[int], monkeypatch
) -> None:
    monkeypatch.setattr(packed_pngs, "_SHARE", 0.6)  # there are two parts a mask, about
    assert_same(checked_out(world), made)
    assert packed == [0]
    monkeypatch.setattr(checkouts, "_MANY_FILES", NUM + 1)
    assert_same(checked_out(world), made)
    assert packed == [0]


def test_masks_of_which_each_lies_in_a_pack_of_its_own_come_out(world: World, packed: list[int]) -> None:
    maps = {f"m{number}.png": several(number) for number in range(20)}
    for number, labels_HW in enumerate(maps.values()):
        world.stage({world.sample(number, f"m{number}.jpg"): world.put(labels_HW)})
    world.commit()
    assert_same(checked_out(world), maps)
    assert packed == [20]


def test_a_flipped_bit_anywhere_in_a_pack_is_an_error_or_spares_the_pixels(
    world: World, made, blobs: MemoryBlobs
) -> None:
    [pack] = sorted(packs_in(blobs), key=blobs.size)[-1:]
    num_refused = 0
    for at in range(0, blobs.size(pack), 97):
        damage(blobs, pack, at)
        try:
            found = checked_out(world)
        except StorageDamaged:
            num_refused += 1
        else:
            assert_same(found, made)
        damage(blobs, pack, at)
    assert num_refused > 10
    assert_same(checked_out(world), made)


def test_a_pack_that_is_gone_or_is_another_one_is_an_error(world: World, made, blobs: MemoryBlobs) -> None:
    [other, pack] = sorted(packs_in(blobs), key=blobs.size)[-2:]
    data = blobs._data.pop(pack)
    with pytest.raises(StorageDamaged, match="the pack is not there"):
        checked_out(world)
    blobs._data[pack] = blobs._data[other]
    with pytest.raises(StorageDamaged):
        checked_out(world)
    blobs._data[pack] = data
    assert_same(checked_out(world), made)


def test_images_of_one_name_get_files_by_the_order_of_their_samples_wherever_their_masks_lie(
    world: World, key_of, tmp_path: Path
) -> None:
    samples = sorted(world.sample(number, f"folder-{number}/same.jpg") for number in range(3))
    for class_id, sample_id in reversed(list(enumerate(samples, 1))):
        labels_HW = np.full((60, 80), class_id, np.uint8)
        labels_HW[:9] = 0
        world.stage({sample_id: world.put(labels_HW)})
    world.commit()
    folder_of(world, key_of, tmp_path / "new").checkout("main")
    found = {path.name: np.asarray(Image.open(path))[-1, -1] for path in (tmp_path / "new").glob("*.png")}
    assert found == {"same.png": 1, f"{samples[1]}.png": 2, f"{samples[2]}.png": 3}
