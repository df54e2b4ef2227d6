"""A folder of label files beside a dataset: staged by what changed, checked out by what differs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from terrazzo_client import TerrazzoClient
from terrazzo_client.errors import ApiError, NoAnswer
from terrazzo_client.label_folder import STATE, LabelFolder, LocalChanges
from terrazzo_schema.label_bundle import DamagedBundle, frame, frames, heads
from terrazzo_schema.rest.mask_storage import LabelsReport

from .conftest import PROJECT, World


def write(path: Path, class_id: int, height: int = 60, width: int = 80) -> None:
    """An index PNG whose time is well in the past, as that of a file at rest."""
    labels_HW = np.full((height, width), class_id, np.uint8)
    labels_HW[:20, :30] = 2
    Image.fromarray(labels_HW).save(path)
    write.clock += 1_000_000_000
    os.utime(path, ns=(write.clock, write.clock))


write.clock = 1_700_000_000_000_000_000


def png(class_id: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((60, 80), class_id, np.uint8)).save(out, "PNG")
    return out.getvalue()


def classes(path: Path) -> int:
    return int(np.asarray(Image.open(path))[-1, -1])


def pixels_of(folder: Path) -> dict[int, int]:
    """Pixels per class of all files."""
    ids_K, pixels_K = np.unique(
        [np.asarray(Image.open(path)) for path in folder.glob("*.png")], return_counts=True
    )
    return dict(zip(ids_K.tolist(), pixels_K.tolist(), strict=True))


def add_two(world: World, labels: Path) -> None:
    """Two samples, and their files."""
    for number in range(2):
        world.sample(number, f"{number}.png")
        write(labels / f"{number}.png", 1)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    return folder


@pytest.fixture
def folder_of(world: World, key_of: Callable[..., str]) -> Callable[[Path], LabelFolder]:
    """A folder's label files with the service under test, over its REST API."""
    transport: httpx.BaseTransport = world.client._transport
    client = TerrazzoClient("http://testserver", key_of("manager"), transport=transport)
    return lambda path: LabelFolder(client, PROJECT, path)


def test_what_changed_in_a_folder_is_staged_committed_and_checked_out_elsewhere(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path, tmp_path: Path
) -> None:
    for number in range(4):
        world.sample(number, f"scene-{number}.png")
        write(labels / f"scene-{number}.png", 1)
    folder = folder_of(labels)
    first = folder.add(message="all")
    assert (first.num_files, first.skipped) == (4, ())
    assert first.commit is not None
    assert (first.commit.num_samples, first.commit.num_changed) == (4, 4)
    assert first.commit.counts == pixels_of(labels)
    assert folder.add(message="again").commit is None

    write(labels / "scene-2.png", 3)
    assert folder.changed() == ["scene-2.png"]
    second = folder.add(message="one")
    assert second.num_files == 1
    assert second.commit is not None
    assert second.commit.num_changed == 1
    assert second.commit.counts == pixels_of(labels)
    assert world.dataset("status")["staged"] == 0

    times = {path.name: path.stat().st_mtime_ns for path in labels.glob("*.png")}
    assert folder.checkout(first.commit.commit_id).num_written == 1
    assert classes(labels / "scene-2.png") == 1
    untouched = {name for name, at in times.items() if (labels / name).stat().st_mtime_ns == at}
    assert untouched == {"scene-0.png", "scene-1.png", "scene-3.png"}
    other = folder_of(tmp_path / "other")
    assert other.checkout("main").num_written == 4
    assert [classes(tmp_path / "other" / f"scene-{n}.png") for n in range(4)] == [1, 1, 3, 1]
    assert other.checkout("main").num_written == 0


def sent(world: World, files: dict[str, bytes], message: str, key: str) -> httpx.Response:
    """A bundle of label files, staged and committed by one request."""
    return world.client.post(
        f"/v1/datasets/{PROJECT}/labels?message={message}",
        content=frame([(name, data, ()) for name, data in files.items()]),
        headers={"Idempotency-Key": key},
    )


def test_a_request_that_stages_and_commits_does_both_once(world: World) -> None:
    samples = [world.sample(number) for number in range(2)]
    files = {f"{sample_id}.png": png(1) for sample_id in samples}
    first = sent(world, files, "both", "k1").json()
    assert (first["commit"]["num_changed"], first["commit"]["message"]) == (2, "both")
    assert sent(world, files, "both", "k1").json() == first, "an answer that was lost is given again"
    assert sent(world, files, "both", "k2").json()["commit"] is None, "nothing is new"
    reused = sent(world, {f"{samples[0]}.png": png(3)}, "both", "k1")
    assert reused.json()["type"].endswith("/idempotency-key-reused")
    nothing = sent(world, {"unknown.png": png(1)}, "none", "k3").json()
    assert (nothing["commit"], len(nothing["skipped"])) == (None, 1)
    # What was staged before goes with it, as in any commit.
    sent_alone = frame([(f"{samples[0]}.png", png(3), ())])
    assert world.client.post(f"/v1/datasets/{PROJECT}/labels", content=sent_alone).json()["commit"] is None
    second = sent(world, {f"{samples[1]}.png": png(3)}, "rest", "k4").json()
    assert second["commit"]["num_changed"] == 2
    assert second["commit"]["counts"] == {"3": 2 * 60 * 80}, "of one the change was known, of the other not"
    assert world.dataset("status")["staged"] == 0
    late = sent(world, files, "both", "k1").json()
    assert late["commit"] == first["commit"]
    assert world.dataset("status")["staged"] == 0, "what is late does not undo what came after it"


def test_what_gates_refuse_to_commit_stays_staged_and_the_report_is_kept(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    sample_id = world.sample(0)
    rules = "on: {commits: [main]}\nrules:\n  - class_minimum: {class: car, pixels: 5000}\n"
    assert world.client.put(f"/v1/datasets/{PROJECT}/gates", json={"text": rules}).status_code == 200
    write(labels / f"{sample_id}.png", 1)
    folder = folder_of(labels)
    with pytest.raises(ApiError, match="gates refuse the commit"):
        folder.add(message="too few")
    assert world.dataset("status")["staged"] == 1
    assert world.dataset("gate-reports")["items"][0]["passed"] is False
    assert world.client.get(f"/v1/datasets/{PROJECT}/commits/main").status_code == 404
    world.client.put(f"/v1/datasets/{PROJECT}/gates", json={"text": ""})
    made = folder.add(message="now")
    assert made.commit is not None
    assert made.commit.num_changed == 1


def test_a_message_that_is_too_long_for_an_address_is_committed_apart(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    write(labels / f"{world.sample(0)}.png", 1)
    message = "why " * 200
    made = folder_of(labels).add(message=message)
    assert made.commit is not None
    assert made.commit.message == message


def test_files_that_are_gone_take_their_samples_along_only_if_told(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    samples = [world.sample(number) for number in range(2)]
    for sample_id in samples:
        write(labels / f"{sample_id}.png", 1)
    folder = folder_of(labels)
    first = folder.add(message="both").commit
    (labels / f"{samples[0]}.png").unlink()
    assert folder.add(message="nothing").commit is None
    gone = folder.add(message="one less", remove=True)
    assert gone.num_removed == 1
    assert gone.commit is not None
    assert gone.commit.num_samples == 1
    assert first is not None
    assert folder.checkout(first.commit_id).num_written == 1
    done = folder.checkout("main")
    assert (done.num_written, done.num_removed) == (0, 1)
    assert [path.name for path in labels.glob("*.png")] == [f"{samples[1]}.png"]


def test_a_checkout_does_not_lose_what_was_changed_by_hand(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    world.sample(1, "a.png")
    write(labels / "a.png", 1)
    folder = folder_of(labels)
    first = folder.add(message="first").commit
    assert first is not None
    write(labels / "a.png", 3)
    assert folder.checkout("main").num_written == 0  # nothing is to be done to the file, so it stays
    assert classes(labels / "a.png") == 3
    second = folder.add(message="second").commit
    assert second is not None
    write(labels / "a.png", 2)
    with pytest.raises(LocalChanges, match=r"1 files .* a\.png"):
        folder.checkout(first.commit_id)
    assert classes(labels / "a.png") == 2
    # Added but not committed: then a checkout knows what the file is, and takes it back.
    folder.add()
    assert folder.checkout(first.commit_id).num_written == 1
    assert classes(labels / "a.png") == 1
    write(labels / "a.png", 2)
    assert folder.checkout(first.commit_id, force=True).num_written == 1
    assert classes(labels / "a.png") == 1
    (labels / "a.png").unlink()
    with pytest.raises(LocalChanges, match=r"a\.png"):
        folder.checkout("main")
    assert folder.checkout("main", force=True).num_written == 1
    assert classes(labels / "a.png") == 3


def test_a_checkout_does_not_overwrite_a_file_that_it_does_not_know(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path, tmp_path: Path
) -> None:
    world.sample(1, "a.png")
    write(labels / "a.png", 1)
    assert folder_of(labels).add(message="first").commit is not None
    other = tmp_path / "other"
    other.mkdir()
    write(other / "a.png", 3)
    with pytest.raises(LocalChanges, match=r"1 files .* a\.png"):
        folder_of(other).checkout("main")
    assert classes(other / "a.png") == 3
    assert folder_of(other).checkout("main", force=True).num_written == 1
    assert classes(other / "a.png") == 1


def test_a_file_becomes_shorter_when_less_is_written_into_it(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    world.sample(1, "a.png")
    write(labels / "a.png", 1)
    folder = folder_of(labels)
    first = folder.add(message="flat").commit
    assert first is not None
    Image.fromarray(np.random.default_rng(0).integers(1, 4, (60, 80), np.uint8)).save(labels / "a.png")
    os.utime(labels / "a.png", ns=(10**18, 10**18))
    folder.add(message="noise")
    assert folder.checkout(first.commit_id).num_written == 1
    assert classes(labels / "a.png") == 1
    assert (labels / "a.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    assert folder.changed() == []


def test_files_that_can_not_be_taken_are_named_with_the_reason_and_the_others_are_taken(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    for number, name in enumerate(("good.png", "small.png", "stray.png", "torn.png", "twin.png")):
        world.sample(number, name)
    world.sample(10, "twin.jpg")
    write(labels / "good.png", 1)
    write(labels / "small.png", 1, 10, 10)
    write(labels / "stray.png", 77)
    (labels / "torn.png").write_bytes((labels / "good.png").read_bytes()[:60])
    write(labels / "twin.png", 1)
    write(labels / "nobody.png", 1)
    (labels / "notes.txt").write_text("not a label file")
    added = folder_of(labels).add()
    reasons = {row.file: row.reason for row in added.skipped}
    assert added.num_files == 1
    assert reasons.keys() == {"small.png", "stray.png", "torn.png", "twin.png", "nobody.png"}
    assert "10 x 10, its image is 60 x 80" in reasons["small.png"]
    assert "class id 77" in reasons["stray.png"]
    assert "several images" in reasons["twin.png"]
    assert "no image" in reasons["nobody.png"]
    # They are looked at again, and one that was mended is taken.
    write(labels / "small.png", 1)
    assert {row.file for row in folder_of(labels).add().skipped} == reasons.keys() - {"small.png"}
    assert world.dataset("status")["staged"] == 2


def test_a_file_changed_in_the_same_moment_is_looked_at_again(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path
) -> None:
    world.sample(1, "a.png")
    write(labels / "a.png", 1)
    os.utime(labels / "a.png", ns=(2**62, 2**62))  # younger than any reading of it
    folder = folder_of(labels)
    folder.add()
    assert folder.changed() == ["a.png"]
    assert (labels / STATE).exists()


def test_what_is_known_of_a_folder_is_kept_between_calls_until_another_process_writes_it(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_two(world, labels)
    ours, another = folder_of(labels), folder_of(labels)
    ours.add(message="both")
    with monkeypatch.context() as patched:
        patched.setattr("terrazzo_client.label_folder.load", lambda _: pytest.fail("it is at hand"))
        write(labels / "0.png", 3)
        assert ours.changed() == ["0.png"]
        assert ours.add(message="one").num_files == 1
    write(labels / "1.png", 3)
    assert another.add(message="other").num_files == 1
    assert ours.changed() == []
    assert ours.add(message="none").commit is None


def test_a_call_that_fails_halfway_leaves_nothing_in_memory_that_is_not_on_disk(
    world: World, folder_of: Callable[[Path], LabelFolder], labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_two(world, labels)
    folder = folder_of(labels)
    folder.add(message="both")
    for number in range(2):
        write(labels / f"{number}.png", 3)
    monkeypatch.setattr("terrazzo_client.label_folder._BATCH_FILES", 1)
    put, answers = folder._datasets.put_labels, iter([True, False])

    def put_once(*args: Any, **options: Any) -> LabelsReport:
        if not next(answers):
            raise NoAnswer("the line is cut")
        return put(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(folder._datasets, "put_labels", put_once)
        with pytest.raises(NoAnswer):
            folder.add(message="three")
    assert folder.changed() == ["0.png", "1.png"], "what the first batch noted was not saved: it is sent again"
    done = folder.add(message="three")
    assert (done.num_files, done.commit and done.commit.num_changed) == (2, 2)


def test_a_checkout_that_names_nothing_is_not_found_and_who_may_not_look_is_refused(world: World) -> None:
    url = f"/v1/datasets/{PROJECT}/labels/checkout"
    assert world.client.post(url, json={"ref": "nowhere"}).status_code == 404
    assert world.as_("vendor").post(url, json={}).status_code == 403
    assert world.client.post(f"/v1/datasets/{PROJECT}/labels", content=b"no bundle").status_code == 400
    assert world.as_("viewer").post(f"/v1/datasets/{PROJECT}/labels", content=frame([])).status_code == 403


def test_a_bundle_comes_back_as_it_was_and_a_damaged_one_is_refused() -> None:
    whole = frame([("a", b"123", ("x",)), ("b", b"", ())], commit_id="c") + frame([])
    assert [(head.get("commit_id", ""), files) for head, files in frames(whole)] == [
        ("c", [("a", b"123", ["x"]), ("b", b"", [])]),
        ("", []),
    ]
    assert [head["files"] for head, _ in heads(whole)] == [[["a", 3, "x"], ["b", 0]], []]
    for end in range(1, len(frame([("a", b"123", ())]))):
        with pytest.raises(DamagedBundle):
            list(frames(frame([("a", b"123", ())])[:end]))
    for head in (b"[]", b'{"files":[["a",-1]]}', b'{"files":[["a",true]]}', b'{"files":[["a"]]}', b"\xff"):
        with pytest.raises(DamagedBundle):
            list(frames(len(head).to_bytes(4, "little") + head))


def test_a_bundle_with_a_sample_twice_says_of_each_file_what_became_of_it(world: World) -> None:
    sample_id = world.sample(1, "a.png")
    data = png(1)
    bundle = frame([("nobody.png", data, ()), ("a.png", data, ()), (f"{sample_id}.png", data, ())])
    said = world.client.post(f"/v1/datasets/{PROJECT}/labels", content=bundle).json()
    assert said["sample_ids"] == [None, sample_id, None]
    assert [mask_id is None for mask_id in said["mask_ids"]] == [True, False, True]
    assert [row["file"] for row in said["skipped"]] == ["nobody.png", f"{sample_id}.png"]
    assert world.client.post(f"/v1/datasets/{PROJECT}/labels", content=bundle).json() == said
