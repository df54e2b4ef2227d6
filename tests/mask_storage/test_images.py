"""Images: what they truly are, each stored once, broken and hostile ones refused with a reason."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from terrazzo_mask_storage.domain.pictures import probe
from terrazzo_schema.errors import CorruptInput, TooLarge, Unprocessable
from terrazzo_schema.events import ImageStored

from .conftest import PROJECT, World, picture_bytes, random_picture


def test_an_image_becomes_a_sample_and_its_bytes_come_back_unchanged(world: World) -> None:
    data = picture_bytes(random_picture(1))
    view = world.upload(data, "street 1.png", attributes='{"site": "north"}')
    assert (view["height"], view["width"], view["channels"], view["media_type"]) == (60, 80, 3, "image/png")
    content = world.client.get(f"/v1/images/{PROJECT}/{view['image_hash']}/content")
    assert content.content == data
    assert content.headers["content-type"] == "image/png"
    [event] = world.said(ImageStored)
    assert event.key == view["sample_id"] == event.message.sample.sample_id
    assert event.message.attributes == {"site": "north"}


def test_the_client_that_holds_an_image_gets_not_modified(world: World) -> None:
    view = world.upload(picture_bytes(random_picture(1)))
    first = world.client.get(f"/v1/images/{PROJECT}/{view['image_hash']}/content")
    again = world.client.get(first.request.url, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert "immutable" in first.headers["cache-control"]


def test_the_same_bytes_under_a_new_name_are_linked_and_said_again(world: World) -> None:
    data = picture_bytes(random_picture(1))
    first = world.upload(data, "a.png")
    second = world.upload(data, "b.png")
    third = world.upload(data, "b.png")
    assert not first["duplicate"]
    assert second["duplicate"]
    assert third["duplicate"]
    assert third["names"] == ["a.png", "b.png"]
    assert [event.message.name for event in world.said(ImageStored)] == ["a.png", "b.png"]
    assert len(world.client.get(f"/v1/images/{PROJECT}").json()["items"]) == 1


@pytest.mark.parametrize(
    ("format", "media_type"),
    [("JPEG", "image/jpeg"), ("TIFF", "image/tiff"), ("WEBP", "image/webp"), ("BMP", "image/bmp")],
)
def test_the_type_is_what_the_bytes_say_not_the_name(world: World, format: str, media_type: str) -> None:
    assert world.upload(picture_bytes(random_picture(1), format), "lies.png")["media_type"] == media_type


def test_sixteen_bit_gray_is_taken_and_can_be_looked_at(world: World) -> None:
    values = np.linspace(1000, 5000, 300 * 400).reshape(300, 400).astype(np.uint16)
    view = world.upload(picture_bytes(values), "deep.png")
    assert view["channels"] == 1
    thumbnail = world.client.get(f"/v1/images/{PROJECT}/{view['image_hash']}/thumbnail?size=64")
    shown = np.asarray(Image.open(io.BytesIO(thumbnail.content)))
    assert shown.shape == (48, 64)
    assert shown.min() < 10
    assert shown.max() > 245


def refused(world: World, data: bytes, name: str = "x.png") -> tuple[int, str]:
    answer = world.client.post(f"/v1/images/{PROJECT}", params={"name": name}, content=data)
    assert answer.headers["content-type"] == "application/problem+json"
    assert world.client.get(f"/v1/images/{PROJECT}").json()["items"] == []
    return answer.status_code, answer.json()["detail"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_a_file_that_was_cut_short_is_refused_and_leaves_nothing(world: World, format: str) -> None:
    data = picture_bytes(random_picture(2, 300, 300), format)
    status, detail = refused(world, data[: len(data) // 2])
    assert status == 400
    assert "damaged or cut short" in detail or "header" in detail


def test_bytes_that_are_no_image_are_named_by_how_they_start(world: World) -> None:
    status, detail = refused(world, b"GIF89a not really")
    assert status == 400
    assert "47 49 46" in detail
    assert refused(world, b"")[0] == 400


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_header(make_world) -> None:
    world = make_world(max_image_pixels=1_000_000)
    status, detail = refused(world, png_header(60_000, 60_000))
    assert status == 413
    assert "60000 x 60000" in detail


def test_an_image_within_our_limit_is_taken_though_it_is_over_pillows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert world.upload(picture_bytes(random_picture(1)))["width"] == 80


def test_a_file_with_more_bytes_than_the_limit_is_too_large(make_world) -> None:
    world = make_world(max_image_bytes=1_000)
    assert refused(world, picture_bytes(random_picture(1)))[0] == 413


def test_several_pages_and_float_pixels_are_refused_with_a_remedy(world: World) -> None:
    out = io.BytesIO()
    pages = [Image.new("L", (8, 8)), Image.new("L", (8, 8))]
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    status, detail = refused(world, out.getvalue())
    assert (status, detail) == (422, "the file holds 2 pictures")
    assert refused(world, picture_bytes(np.zeros((4, 4), np.float32), "TIFF"))[0] == 422


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow's remarks on damaged TIFF and EXIF
def test_damaged_bytes_anywhere_are_an_image_or_a_business_error() -> None:
    num_refused = 0
    rng = np.random.default_rng(0)
    for format in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
        data = bytearray(picture_bytes(random_picture(3, 20, 30), format))
        for _ in range(150):
            broken = bytearray(data)
            for place in rng.integers(0, min(len(broken), 200), 3):
                broken[place] = rng.integers(0, 256)
            try:
                found = probe(bytes(broken), 10_000)
            except (CorruptInput, TooLarge, Unprocessable):
                num_refused += 1
            else:
                assert 1 <= found.height * found.width <= 10_000
    assert num_refused > 100


def test_a_name_or_attribute_that_is_not_text_is_refused(world: World) -> None:
    data = picture_bytes(random_picture(1))
    for params in (
        {"name": ""},
        {"name": "a\0b"},
        {"name": "x" * 201},
        {"name": "a", "attributes": "[1]"},
        {"name": "a", "attributes": '{"a": 1}'},
        {"name": "a", "attributes": "{" * 5_000},
        {"name": "a", "attributes": json.dumps({str(n): "" for n in range(101)})},
    ):
        answer = world.client.post(f"/v1/images/{PROJECT}", params=params, content=data)
        assert answer.status_code == 422, params


def test_tiles_of_the_pyramid_cover_each_level(world: World) -> None:
    gradient = np.zeros((500, 700, 3), np.uint8)
    gradient[..., 0] = np.linspace(0, 255, 700).astype(np.uint8)
    view = world.upload(picture_bytes(gradient))
    base = f"/v1/images/{PROJECT}/{view['image_hash']}"
    pyramid = world.client.get(f"{base}/pyramid").json()
    assert pyramid == {"tile_px": 256, "levels": [[500, 700], [250, 350], [125, 175]]}
    for level, (height, width) in enumerate(pyramid["levels"]):
        canvas = np.zeros((height, width, 3), np.uint8)
        for row in range(-(-height // 256)):
            for col in range(-(-width // 256)):
                answer = world.client.get(f"{base}/tiles/{level}/{row}/{col}")
                assert answer.headers["content-type"] == "image/jpeg"
                tile = np.asarray(Image.open(io.BytesIO(answer.content)))
                canvas[row * 256 : row * 256 + tile.shape[0], col * 256 : col * 256 + tile.shape[1]] = tile
        expected = np.linspace(0, 255, width)
        assert np.abs(canvas[height // 2, :, 0].astype(int) - expected).max() < 12
    assert world.client.get(f"{base}/tiles/0/2/0").status_code == 404
    assert world.client.get(f"{base}/tiles/9/0/0").status_code == 404


def test_images_are_listed_in_pages(world: World) -> None:
    hashes = {world.upload(picture_bytes(random_picture(seed)))["image_hash"] for seed in range(5)}
    found: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = world.client.get(f"/v1/images/{PROJECT}", params=params).json()
        found += [item["image_hash"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == sorted(hashes)


def test_another_organisation_finds_nothing_here(world: World) -> None:
    view = world.upload(picture_bytes(random_picture(1)))
    stranger = world.as_("admin", organisation_id="org_other001")
    for path in ("", "/content", "/thumbnail", "/pyramid", "/tiles/0/0/0"):
        assert stranger.get(f"/v1/images/{PROJECT}/{view['image_hash']}{path}").status_code == 404
    etag = {"If-None-Match": f'"{view["image_hash"]}"'}
    assert stranger.get(f"/v1/images/{PROJECT}/{view['image_hash']}/content", headers=etag).status_code == 404
    answer = stranger.get(f"/v1/images/{PROJECT}")
    assert answer.status_code == 404
    assert answer.headers["retry-after"] == "1"


def test_a_vendor_sees_an_image_it_was_given_and_may_not_look_around(world: World) -> None:
    view = world.upload(picture_bytes(random_picture(1)))
    vendor = world.as_("vendor", vendor="acme")
    assert vendor.get(f"/v1/images/{PROJECT}/{view['image_hash']}/content").status_code == 200
    assert vendor.get(f"/v1/images/{PROJECT}").status_code == 403
    assert vendor.post(f"/v1/images/{PROJECT}?name=x", content=b"x").status_code == 403


def test_an_upload_sent_again_with_its_key_gets_the_same_answer(world: World) -> None:
    data = picture_bytes(random_picture(1))
    headers = {"Idempotency-Key": "once"}
    url = f"/v1/images/{PROJECT}?name=a.png"
    first = world.client.post(url, content=data, headers=headers)
    second = world.client.post(url, content=data, headers=headers)
    assert first.json() == second.json()
    assert not second.json()["duplicate"]
    other = world.client.post(url, content=picture_bytes(random_picture(2)), headers=headers)
    assert other.status_code == 422
