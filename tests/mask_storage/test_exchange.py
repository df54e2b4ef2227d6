"""Export and import: what goes out comes in the same; hostile archives are refused, bad files reported."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest

from terrazzo_mask_storage.domain.layouts import Stems, is_unsafe
from terrazzo_masks.formats import rle
from terrazzo_schema.split import is_held_out

from .conftest import PROJECT, World, picture_bytes, random_picture


def export(world: World, format: str, ref: str = "main") -> zipfile.ZipFile:
    answer = world.client.get(f"/v1/datasets/{PROJECT}/export", params={"format": format, "ref": ref})
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def import_(world: World, data: bytes, expect: int = 200, **params: str) -> dict[str, Any]:
    answer = world.client.post(f"/v1/datasets/{PROJECT}/import", params=params, content=data)
    assert answer.status_code == expect, answer.text
    return answer.json()


def zip_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def filled(world: World) -> dict[str, str]:
    """Three samples with masks, committed: sample id -> mask id. Two of them have the same file name."""
    staged: dict[str, str] = {}
    for seed, name in enumerate(("a.png", "sub/a.png", "weird ü?.png")):
        labels = np.random.default_rng(seed).choice(np.array([0, 1, 2, 300], np.uint16), (60, 80))
        staged[world.sample(seed, name)] = world.put(labels)
    world.stage(dict(staged))
    world.commit()
    return staged


@pytest.mark.parametrize("format", ["index", "coco", "cityscapes"])
def test_what_is_exported_can_be_imported_and_is_the_same_version(world: World, format: str) -> None:
    staged = filled(world)
    archive = export(world, format)
    data = archive.fp.getvalue()  # type: ignore[union-attr]
    assert export(world, format).fp.getvalue() == data  # type: ignore[union-attr]
    tree_id = world.dataset("commits/main")["tree_id"]
    world.stage(dict.fromkeys(staged))
    world.commit()
    report = import_(world, data, format=format)
    assert report == {"num_imported": 3, "num_skipped": 0, "skipped": [], "num_losses": 0, "losses": []}
    assert world.commit()["tree_id"] == tree_id


def test_the_index_layout_has_images_masks_and_classes(world: World) -> None:
    staged = filled(world)
    archive = export(world, "index")
    names = archive.namelist()
    assert names[0] == "classes.json"
    assert sum(name.startswith("images/") for name in names) == 3
    assert {name.removeprefix("images/") for name in names if name.startswith("images/")} == {
        name.removeprefix("masks/") for name in names if name.startswith("masks/")
    }
    assert len({name.lower() for name in names}) == len(names)
    classes = json.loads(archive.read("classes.json"))
    assert [c["id"] for c in classes["classes"]] == [1, 2, 3, 300]
    assert classes["commit_id"] == world.dataset("commits/main")["commit_id"]
    assert len(staged) == 3


def test_cityscapes_puts_held_out_samples_in_val(world: World) -> None:
    filled(world)
    names = export(world, "cityscapes").namelist()
    num_val = sum(is_held_out(e["sample_id"], 30) for e in world.dataset("entries")["items"])
    assert sum(n.startswith("leftImg8bit/val/") for n in names) == num_val
    assert sum(n.endswith("_gtFine_labelIds.png") for n in names) == 3


def test_coco_annotations_say_area_box_and_category(world: World) -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:20, 30:50] = 2
    labels[14:16, 35:40] = 0  # a hole, which run lengths keep
    world.stage({world.sample(1, "x.png"): world.put(labels)})
    world.commit()
    document = json.loads(export(world, "coco").read("annotations.json"))
    [annotation] = document["annotations"]
    assert (annotation["area"], annotation["bbox"], annotation["category_id"]) == (190, [30, 10, 20, 10], 2)
    assert document["images"][0]["file_name"] == "x.png"
    mask = rle.decode(annotation["segmentation"]["counts"], 60, 80)
    assert (mask == (labels == 2)).all()


def test_a_foreign_folder_is_read_by_the_ontologys_pixel_values(world: World) -> None:
    values = np.full((60, 80), 20, np.uint8)
    values[0, :3] = (255, 30, 1)
    data = zip_of(
        {
            "data/images/one.jpg": picture_bytes(random_picture(1), "JPEG"),
            "data/masks/one.tif": picture_bytes(values, "TIFF"),
            "data/images/two.png": picture_bytes(random_picture(2)),
            "__MACOSX/images/._one.jpg": b"junk",
        }
    )
    report = import_(world, data)
    assert (report["num_imported"], report["num_skipped"]) == (2, 0)
    world.commit()
    [entry] = world.dataset("entries")["items"]
    labels = world.labels(entry["mask_id"])
    assert labels[0, :4].tolist() == [0, 300, 1, 2]
    blame = world.dataset(f"blame/{entry['sample_id']}", y=5, x=5)
    assert (blame["set_by"], blame["set_by_kind"]) == ("key_tester0000", "import")


def test_bad_files_are_reported_and_the_good_ones_imported(world: World) -> None:
    good = picture_bytes(random_picture(1))
    stray = np.ones((60, 80), np.uint8)
    stray[3, 4] = 99
    data = zip_of(
        {
            "images/good.png": good,
            "masks/good.png": picture_bytes(np.ones((60, 80), np.uint8)),
            "images/cut.png": good[:500],
            "images/stray.png": picture_bytes(random_picture(2)),
            "masks/stray.png": picture_bytes(stray),
            "images/small.png": picture_bytes(random_picture(3)),
            "masks/small.png": picture_bytes(np.ones((6, 8), np.uint8)),
            "masks/alone.png": picture_bytes(stray),
        }
    )
    report = import_(world, data)
    reasons = {row["file"]: row["reason"] for row in report["skipped"]}
    assert report["num_imported"] == 3
    assert report["num_skipped"] == 4
    assert "damaged or cut short" in reasons["images/cut.png"]
    assert "value 99 (first at row 3, column 4; 1 pixels)" in reasons["masks/stray.png"]
    assert reasons["masks/small.png"] == "the mask is 6 x 8, its image is 60 x 80"
    assert reasons["masks/alone.png"] == "there is no image of this name"
    assert world.dataset("status")["staged"] == 1


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/x.png", "images/../../x.png", "C:\\x.png", "a\\..\\..\\b.png"]
)
def test_an_archive_that_reaches_outside_of_itself_is_refused_whole(world: World, name: str) -> None:
    assert is_unsafe(name)
    problem = import_(world, zip_of({"images/a.png": picture_bytes(random_picture(1)), name: b"x"}), expect=400)
    assert "points outside" in problem["detail"]
    assert world.client.get(f"/v1/images/{PROJECT}").json()["items"] == []


def test_a_member_that_unpacks_to_too_much_is_skipped_and_an_archive_that_does_is_refused(make_world) -> None:
    world = make_world(max_image_bytes=100_000)
    report = import_(
        world, zip_of({"images/bomb.png": b"\0" * 200_000, "images/a.png": picture_bytes(random_picture(1))})
    )
    assert report["num_imported"] == 1
    assert report["skipped"][0]["reason"] == "it has 200000 bytes; at most 100000 are taken"


def test_an_archive_that_says_it_unpacks_to_terabytes_is_too_large(world: World) -> None:
    data = bytearray(zip_of({f"images/{n}.png": b"\0" * 2_000 for n in range(2_000)}))
    # The sizes in the central directory are the archive's own claim: let each member claim 4 gigabytes.
    place = data.find(b"PK\x01\x02")
    while place != -1:
        data[place + 24 : place + 28] = (0xFFFFFFF0).to_bytes(4, "little")
        place = data.find(b"PK\x01\x02", place + 4)
    problem = import_(world, bytes(data), expect=413)
    assert "unpacks from" in problem["detail"]


def test_a_member_that_lies_about_its_size_is_skipped(world: World) -> None:
    data = bytearray(zip_of({"images/a.png": picture_bytes(random_picture(1)), "images/b.png": b"\0" * 5_000}))
    place = data.rfind(b"PK\x01\x02")
    data[place + 24 : place + 28] = (100).to_bytes(4, "little")
    report = import_(world, bytes(data))
    assert [row["file"] for row in report["skipped"]] == ["images/b.png"]


def test_what_is_no_archive_or_has_no_images_is_a_bad_request(world: World) -> None:
    good = zip_of({"images/a.png": picture_bytes(random_picture(1))})
    for data, params in (
        (b"", {}),
        (b"PK\x03\x04 not really", {}),
        (good[: len(good) // 2], {}),
        (zip_of({"readme.txt": b"hello"}), {}),
        (good, {"format": "cityscapes"}),
        (good, {"format": "coco"}),
        (zip_of({"annotations.json": b"[" * 100_000}), {"format": "coco"}),
        (zip_of({"annotations.json": b'{"images": 1}'}), {"format": "coco"}),
        (zip_of({"images/a.png": b"", "classes.json": b"{"}), {}),
    ):
        import_(world, data, expect=400, **params)


def test_coco_polygons_and_odd_annotations(world: World) -> None:
    document = {
        "categories": [{"id": 9, "name": "car"}, {"id": 10, "name": "unicorn"}],
        "images": [
            {"id": 1, "file_name": "a.png"},
            {"id": 2, "file_name": "b.png"},
            {"id": 3, "file_name": "gone.png"},
            {"id": 4, "file_name": "c.png"},
            "nonsense",
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 9, "segmentation": [[10, 20, 30, 20, 30, 40, 10, 40]]},
            {"id": 2, "image_id": 2, "category_id": 10, "segmentation": [[1, 1, 2, 2, 3, 1]]},
            {"id": 3, "image_id": 4, "category_id": 9, "segmentation": {"size": [60, 80], "counts": [4799, 2]}},
        ],
    }
    members = {f"images/{n}.png": picture_bytes(random_picture(seed)) for seed, n in enumerate("abc")}
    report = import_(world, zip_of({**members, "annotations.json": json.dumps(document).encode()}), format="coco")
    reasons = " | ".join(row["reason"] for row in report["skipped"])
    assert (report["num_imported"], report["num_skipped"]) == (3, 4)
    assert "category 10 is no class" in reasons
    assert "the runs sum to 4801" in reasons
    world.commit()
    [entry] = world.dataset("entries")["items"]
    expected = np.zeros((60, 80), np.uint8)
    expected[20:40, 10:30] = 2
    # Where a polygon's edge runs exactly between pixels, Pillow may count its border in.
    wrong = world.labels(entry["mask_id"]) != expected
    assert wrong.sum() <= 100
    assert not wrong[21:39, 11:29].any()


def test_an_import_sent_again_with_its_key_gets_the_same_report(world: World) -> None:
    data = zip_of({"images/a.png": picture_bytes(random_picture(1))})
    url, headers = f"/v1/datasets/{PROJECT}/import", {"Idempotency-Key": "i"}
    first = world.client.post(url, content=data, headers=headers).json()
    assert world.client.post(url, content=data, headers=headers).json() == first


def test_stems_are_unique_and_safe_for_any_names() -> None:
    stems = Stems()
    names = ["a.png", "A.PNG", "a.jpg", "../../etc/passwd", "", ".hidden", "x" * 300, "a\\b.png", "con/..", "ü"]
    made = [stems.stem_of(name, f"smp_{n:024x}") for n, name in enumerate(names)]
    assert len({stem.lower() for stem in made}) == len(names)
    assert all(stem and not is_unsafe(stem) and "/" not in stem and len(stem) < 200 for stem in made)
