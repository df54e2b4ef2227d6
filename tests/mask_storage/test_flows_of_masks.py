"""A mask that is made from another keeps what changed from there, pixel for pixel."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.handlers.prepare import PreparedMask, add_all, prepare_many
from terrazzo_mask_storage.handlers.projects import ontology_of
from terrazzo_mask_storage.ports import Mask, Scope
from terrazzo_masks import diff, tiles

from .conftest import PROJECT, World
from .test_storage_regions import paint
from .test_storage_upkeep import blobby, deps_of

SCOPE = Scope("org_test0001", PROJECT)


def stored(world: World, maps: list[tuple[NDArray[np.uint8], str | None]]) -> list[Mask]:
    """The rows of masks, each made from another (or from none)."""
    deps = deps_of(world)
    with deps.uow.read() as store:
        ontology = ontology_of(store.project(SCOPE).ontology_json)
    made = [p for p in prepare_many(deps, SCOPE, maps, ontology) if isinstance(p, PreparedMask)]
    assert len(made) == len(maps)
    with deps.uow.begin() as tx:
        add_all(tx.store, SCOPE, [(p, f"smp_{n:024x}", Origin("import", "me")) for n, p in enumerate(made)])
    with deps.uow.read() as store:
        rows = store.masks(SCOPE, [p.mask.mask_id for p in made])
    return [rows[p.mask.mask_id] for p in made]


@pytest.mark.parametrize(("height", "width"), [(60, 80), (256, 256), (300, 700), (2_100, 2_100)])
def test_the_flow_is_that_of_the_two_label_maps(world: World, height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    size = height // 60  # blobs of some tiles, so that tiles are of one class too
    small_HW = blobby(1, height // size + 1, width // size + 1)
    old_HW = np.kron(small_HW, np.ones((size, size), np.uint8))[:height, :width]
    new_HW = old_HW.copy()
    y, x = rng.integers(0, height - 40), rng.integers(0, width - 40)
    new_HW[y : y + 40, x : x + 40] = rng.integers(0, 4, (40, 40))
    flat_HW = np.full_like(old_HW, 2)
    [old] = stored(world, [(old_HW, None)])
    assert (old.base_mask_id, old.flow) == (None, None)
    new, flat, same = stored(world, [(m, old.mask_id) for m in (new_HW, flat_HW, old_HW.copy())])
    assert same == old  # what was said first of a mask stays
    assert new.base_mask_id == flat.base_mask_id == old.mask_id
    assert new.flow == diff.flow(old_HW, new_HW) != {}
    assert flat.flow == diff.flow(old_HW, flat_HW) != {}
    [back] = stored(world, [(np.where(flat_HW == 2, np.uint8(3), old_HW), flat.mask_id)])
    assert back.flow == {(2, 3): height * width}


def test_a_base_in_other_tiles_changes_no_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old_HW = blobby(3, 300, 300)
    new_HW = old_HW.copy()
    new_HW[10:20, 10:20] = 2
    # As an older release may have stored it.
    in_small_tiles = functools.partial(tiles.build, tile_px=64)
    with monkeypatch.context() as patch:
        patch.setattr(tiles, "build", in_small_tiles)
        [old] = stored(world, [(old_HW, None)])
    assert old.mask_id == in_small_tiles(old_HW, tiles.MemoryParts()).digest
    [new] = stored(world, [(new_HW, old.mask_id)])
    assert new.mask_id == tiles.build(new_HW, tiles.MemoryParts()).digest
    assert (new.base_mask_id, new.flow) == (None, None)


def test_a_base_of_another_shape_says_nothing(world: World) -> None:
    [old] = stored(world, [(blobby(1, 60, 80), None)])
    [new] = stored(world, [(blobby(1, 80, 60), old.mask_id)])
    assert (new.base_mask_id, new.flow) == (None, None)


def test_a_painted_region_says_what_it_changed(world: World) -> None:
    labels_HW = blobby(2, 300, 400)
    mask_id = world.put(labels_HW)
    painted = paint(world, mask_id, np.full((30, 30), 3, np.uint8), 240, 240)
    edited_HW = labels_HW.copy()
    edited_HW[240:270, 240:270] = 3
    with deps_of(world).uow.read() as store:
        row = store.mask(SCOPE, painted["mask_id"])
    assert row is not None
    assert (row.base_mask_id, row.flow) == (mask_id, diff.flow(labels_HW, edited_HW))
