"""Masks by region: blank ones of any size, strokes, where a class is; content in the profile that is asked for."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np

from terrazzo_masks import codec

from .conftest import PROJECT, World, picture_bytes
from .test_storage_upkeep import blobby, forget_caches


def blank(world: World, height: int, width: int, **more: Any) -> dict[str, Any]:
    answer = world.client.post(f"/v1/masks/{PROJECT}/blank", json={"height": height, "width": width, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def paint(world: World, mask_id: str, patch_HW: np.ndarray, y: int, x: int, **params: Any) -> dict[str, Any]:
    answer = world.client.post(
        f"/v1/masks/{PROJECT}/{mask_id}/region", params={"y": y, "x": x, **params}, content=picture_bytes(patch_HW)
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def region(world: World, mask_id: str, y: int, x: int, height: int, width: int) -> np.ndarray:
    params: dict[str, Any] = {"y": y, "x": x, "height": height, "width": width, "format": "npy"}
    answer = world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/region", params=params)
    assert answer.status_code == 200, answer.text
    found: np.ndarray = np.load(io.BytesIO(answer.content))
    return found


def test_a_region_that_is_painted_gives_the_mask_that_a_whole_upload_would(world: World) -> None:
    labels = blobby(1, 600, 500)
    mask_id = world.put(labels)
    patch = blobby(2, 90, 120)
    painted = paint(world, mask_id, patch, 200, 300)
    labels[200:290, 300:420] = patch
    assert painted["mask_id"] == world.put(labels)
    assert (world.labels(painted["mask_id"]) == labels).all()
    rows = world.client.get(f"/v1/masks/{PROJECT}/{painted['mask_id']}/provenance").json()
    assert rows[0]["parent_mask_id"] == mask_id


def test_pixels_of_the_value_to_keep_change_nothing(world: World) -> None:
    labels = blobby(1, 300, 300)
    mask_id = world.put(labels)
    patch = np.full((50, 60), 255, np.uint8)
    patch[10:40, 20:50] = 3
    painted = paint(world, mask_id, patch, 100, 100, keep=255)
    labels[110:140, 120:150] = 3
    assert (world.labels(painted["mask_id"]) == labels).all()
    nothing = paint(world, mask_id, np.full((5, 5), 255, np.uint8), 0, 0, keep=255)
    assert (nothing["mask_id"], nothing["new_bytes"]) == (mask_id, 0)


def test_a_patch_that_leaves_the_mask_or_has_an_unknown_class_is_refused(world: World) -> None:
    mask_id = world.put(np.ones((300, 300), np.uint8))
    url = f"/v1/masks/{PROJECT}/{mask_id}/region"
    outside = world.client.post(f"{url}?y=290&x=0", content=picture_bytes(np.ones((20, 20), np.uint8)))
    assert (outside.status_code, outside.json()["remedy"]) == (422, "stay inside 300 x 300")
    unknown = world.client.post(f"{url}?y=0&x=0", content=picture_bytes(np.full((20, 20), 77, np.uint8)))
    assert (unknown.status_code, unknown.json()["value"]) == (422, "77")
    missing = world.client.post(f"/v1/masks/{PROJECT}/{'0' * 64}/region?y=0&x=0", content=b"x")
    assert missing.status_code == 404
    viewer = world.as_("viewer", name="eye").post(f"{url}?y=0&x=0", content=b"x")
    assert viewer.status_code == 403


def test_a_map_of_ten_billion_pixels_is_made_painted_and_read_by_regions(world: World) -> None:
    huge = blank(world, 100_000, 100_000, class_id=1)
    assert huge["counts"] == {"1": 10**10}
    rng = np.random.default_rng(0)
    mask_id, sizes, seconds = huge["mask_id"], [], []
    paint(world, mask_id, np.full((30, 30), 2, np.uint8), 5, 5)  # compilers and caches
    for _ in range(10):
        y, x = (int(v) for v in rng.integers(0, 99_000, 2))
        stroke = np.full((40, 200), 255, np.uint8)
        stroke[5:35, 10:190] = 2
        start = time.perf_counter()
        painted = paint(world, mask_id, stroke, y, x, keep=255)
        seconds.append(time.perf_counter() - start)
        sizes.append(painted["new_bytes"])
        mask_id = painted["mask_id"]
        assert (region(world, mask_id, y + 5, x + 10, 30, 180) == 2).all()
        assert (region(world, mask_id, y, x, 5, 200) == 1).all()
    assert max(sizes) < 20 * 1024
    assert sorted(seconds)[len(seconds) // 2] < 0.5, "some 10 ms; much more means that the whole map was read"
    top = world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/tiles/0/0?level=9&format=npy")
    shown = np.load(io.BytesIO(top.content))
    assert shown.shape == (196, 196)
    assert (shown == 2).any(), "a stroke of 180 pixels is seen from far away"
    assert painted["counts"] == {"1": 10**10 - 54_000, "2": 54_000}
    whole = world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/content")
    assert (whole.status_code, whole.json()["type"].rsplit("/", 1)[-1]) == (413, "too-large")
    assert world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/content?format=manifest").status_code == 200


def test_a_blank_mask_over_the_limit_or_of_no_class_is_refused(make_world) -> None:
    world = make_world(max_mask_pixels=10_000)
    url = f"/v1/masks/{PROJECT}/blank"
    assert world.client.post(url, json={"height": 101, "width": 100}).status_code == 413
    assert world.client.post(url, json={"height": 10, "width": 10, "class_id": 77}).status_code == 422
    assert blank(world, 100, 100)["counts"] == {"0": 10_000}


def test_where_a_class_is_and_how_much_of_each_is_told_tile_by_tile(world: World) -> None:
    labels = np.ones((600, 900), np.uint8)
    labels[300:400, 700:720] = 300 % 256
    labels = labels.astype(np.uint16)
    labels[10, 10] = 300
    labels[550:, 850:] = 300
    mask_id = world.put(np.where(labels == 44, 2, labels).astype(np.uint16))
    url = f"/v1/masks/{PROJECT}/{mask_id}/tiles"
    found = world.client.get(url, params={"class_id": 300}).json()["items"]
    assert [(tile["row"], tile["col"]) for tile in found] == [(0, 0), (2, 3)]
    assert found[0]["counts"] == {"1": found[0]["height"] * found[0]["width"] - 1, "300": 1}
    every, cursor = [], None
    while True:
        page = world.client.get(url, params={"limit": 5, **({"cursor": cursor} if cursor else {})}).json()
        every += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sum(tile["height"] * tile["width"] for tile in every) == labels.size
    total: dict[str, int] = {}
    for tile in every:
        for class_id, pixels in tile["counts"].items():
            total[class_id] = total.get(class_id, 0) + pixels
    assert total == world.client.get(f"/v1/masks/{PROJECT}/{mask_id}").json()["counts"]
    assert world.client.get(url, params={"class_id": 3}).json()["items"] == []


def test_a_training_reader_asks_for_the_profile_that_it_wants(world: World) -> None:
    labels = blobby(3)
    mask_id = world.put(labels)
    for profile in ("fast", "small"):
        answer = world.client.get(f"/v1/masks/{PROJECT}/{mask_id}/content?format={profile}")
        assert answer.headers["content-type"] == "application/x-terrazzo-mask"
        assert (codec.decode(answer.content) == labels).all()
        assert answer.content == codec.encode(labels, profile)


def test_a_corrected_mask_is_stored_as_a_patch_on_its_parent(world: World) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (64, 64), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    first = world.client.put(f"/v1/masks/{PROJECT}", content=picture_bytes(labels)).json()
    mask_id = first["mask_id"]
    for n in range(12):
        labels[30 + n : 50 + n, 40:70] = 1 + n % 3
        answer = world.client.put(f"/v1/masks/{PROJECT}?base={mask_id}", content=picture_bytes(labels)).json()
        assert 0 < answer["new_bytes"] < first["new_bytes"] / 4
        mask_id = answer["mask_id"]
        forget_caches(world)
        assert (world.labels(mask_id) == labels).all()
    unknown = world.client.put(f"/v1/masks/{PROJECT}?base={'0' * 64}", content=picture_bytes(labels))
    assert unknown.status_code == 404
