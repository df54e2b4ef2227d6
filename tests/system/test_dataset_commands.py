"""`terrazzo dataset` for branches: what docs/versions.md tells people to type, and what a CI job gets to see."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from system_harness import Harness

from terrazzo.cli.main import run
from terrazzo_mask_storage.domain.gate_file import parse_gates
from terrazzo_mask_storage.domain.gates import Custom, evaluate

from .test_crash import ONTOLOGY, npy

GATES = "rules:\n  - class_minimum: {class: thing, pixels: 100}\n  - unlabelled: {dataset_max_percent: 50}\n"


def painted(y: int, size: int, class_id: int = 2) -> np.ndarray:
    labels_HW = np.ones((40, 60), np.uint8)
    labels_HW[y : y + size, 10 : 10 + size] = class_id
    return labels_HW


class Desk:
    """A person at the command line, with a project of two labelled images on main."""

    def __init__(self, harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
        self.harness, self.capsys = harness, capsys
        self.key = harness.system.admin_key()
        self.client = harness.client(self.key)
        self.project = self.client.projects.create(name="cli", ontology=ONTOLOGY, held_out_percent=0).project_id
        harness.drain()
        self.samples = []
        for seed in range(2):
            buffer = io.BytesIO()
            pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG")
            view = self.client.images.upload(self.project, buffer.getvalue(), name=f"{seed}.png")
            self.samples.append(view.sample_id)
        harness.drain()
        self.commit(dict.fromkeys(self.samples, painted(0, 0)), "main")

    def commit(self, masks: dict[str, np.ndarray], branch: str) -> str:
        items = {s: self.client.masks.put(self.project, npy(labels)).mask_id for s, labels in masks.items()}
        self.client.datasets.stage(self.project, items, branch=branch)
        return self.client.datasets.commit(self.project, message=f"on {branch}", branch=branch).commit_id

    def type(self, *words: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of `terrazzo dataset <first word> PROJECT ...`."""
        first = 2 if words[0] == "gates" else 1
        code = run(["dataset", *words[:first], self.project, *words[first:], "--key", self.key])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err

    def json(self, *words: str) -> tuple[int, Any]:
        code, out, _ = self.type(*words, "--json")
        return code, json.loads(out) if out.strip() else None


@pytest.fixture
def desk(
    harness_factory: Callable[..., Harness], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    harness = harness_factory(("task", "mask_storage", "qa"))
    for module in ("asking", "dataset"):
        connect = lambda url, key, data_dir: harness.client(key)  # noqa: E731
        monkeypatch.setattr(f"terrazzo.cli.{module}.connect", connect)
    return Desk(harness, capsys)


def test_a_branch_is_made_merged_and_taken_away(desk: Desk) -> None:
    assert desk.type("branch", "side")[0] == 0
    desk.commit({desk.samples[0]: painted(2, 5)}, "side")
    desk.commit({desk.samples[1]: painted(2, 6)}, "main")
    code, out, _ = desk.type("merge", "side", "-m", "more things")
    assert code == 0
    assert "into main: merged as" in out
    log = [c["message"] for c in desk.json("log")[1]]
    assert (log[0], sorted(log[1:])) == ("more things", ["on main", "on main", "on side"])
    assert desk.type("show")[1].count("parent ") == 2
    assert {b["name"] for b in desk.json("branches")[1]} == {"main", "side"}
    assert desk.type("branch", "side", "--delete")[0] == 0
    assert [b["name"] for b in desk.json("branches")[1]] == ["main"]
    assert [m["state"] for m in desk.json("merges")[1]] == ["merged"]
    assert desk.type("branch", "main", "--delete")[0] == 5


def test_conflicts_are_listed_and_decided_by_hand(desk: Desk, tmp_path: Path) -> None:
    desk.type("branch", "side")
    a, b = desk.samples
    desk.commit({a: painted(2, 5, 2), b: painted(2, 5, 2)}, "main")
    desk.commit({a: painted(2, 5, 0), b: painted(2, 5, 0)}, "side")
    assert desk.type("merge", "side", "--on-conflict", "fail")[0] == 5
    code, merge = desk.json("merge", "side")
    assert (code, merge["state"], merge["num_conflicts"]) == (0, "open", 2)
    merge_id = merge["merge_id"]
    assert [c["num_pixels"] for c in desk.json("conflicts", merge_id)[1]] == [25, 25]
    assert desk.type("resolve", merge_id, a)[0] == 1
    assert desk.type("resolve", merge_id, a, "--theirs")[0] == 0
    mask = tmp_path / "ruling.png"
    Image.fromarray(painted(2, 5, 2)).save(mask)
    assert "2 of 2 decided" in desk.type("resolve", merge_id, b, "--mask", str(mask))[1]
    desk.harness.drain()
    assert desk.json("merges")[1][0]["state"] == "merged"
    second = desk.json("merge", "main")[1]
    assert second["state"] == "up_to_date"


@pytest.fixture
def tasks_desk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The same desk for `terrazzo tasks` and `terrazzo submit`."""
    monkeypatch.setattr("terrazzo.cli.tasks.connect", lambda url, key, data_dir: desk.harness.client(desk.key))
    return desk


def test_an_adjudicator_gets_both_sides_and_the_base_as_files(tasks_desk: Desk, tmp_path: Path) -> None:
    desk = tasks_desk
    desk.type("branch", "side")
    desk.commit({desk.samples[0]: painted(2, 5, 2)}, "main")
    desk.commit({desk.samples[0]: painted(2, 5, 0)}, "side")
    desk.type("merge", "side")
    desk.harness.drain()
    assert run(["tasks", "lease", desk.project, "--out", str(tmp_path), "--json"]) == 0
    files = json.loads(desk.capsys.readouterr().out)["files"]
    sides = [np.asarray(Image.open(files[f"candidate {number}"])) for number in (1, 2)]
    assert (sides[0] == painted(2, 5, 2)).all()
    assert (sides[1] == painted(2, 5, 0)).all()
    assert (np.asarray(Image.open(files["proposal"])) == painted(2, 5, 2)).all()
    assert (np.asarray(Image.open(files["base"])) == painted(0, 0)).all()


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "removed"])
def test_a_sample_that_one_side_removed_is_kept_or_removed_by_an_adjudicator(
    tasks_desk: Desk, tmp_path: Path, keep: bool
) -> None:
    desk, sample = tasks_desk, tasks_desk.samples[0]
    desk.type("branch", "side")
    desk.commit({sample: painted(2, 5, 2)}, "side")
    desk.client.datasets.stage(desk.project, {sample: None})
    desk.client.datasets.commit(desk.project, message="it is gone")
    merge_id = desk.json("merge", "side")[1]["merge_id"]
    desk.harness.drain()
    assert run(["tasks", "lease", desk.project, "--out", str(tmp_path / "work")]) == 0
    said = desk.capsys.readouterr().out
    assert "the target branch removed this sample" in said
    [task] = desk.client.tasks.list(desk.project, kind="adjudicate")
    files = {file.name.removeprefix(f"{task.task_id}."): file for file in (tmp_path / "work").iterdir()}
    assert sorted(files) == ["base.png", "candidate-1.png", "image", "proposal.png"]
    assert (np.asarray(Image.open(files["candidate-1.png"])) == painted(2, 5, 2)).all()
    answer = ["--mask", str(files["proposal.png"])] if keep else ["--verdict", "remove"]
    assert run(["submit", desk.project, task.task_id, said.split()[0], *answer]) == 0
    desk.harness.drain()
    assert desk.client.datasets.get_merge(desk.project, merge_id).state == "merged"
    assert desk.client.datasets.show(desk.project).num_samples == (2 if keep else 1)


def test_complete_and_abandon(desk: Desk) -> None:
    desk.type("branch", "side")
    desk.commit({desk.samples[0]: painted(2, 5, 2)}, "main")
    desk.commit({desk.samples[0]: painted(2, 5, 0)}, "side")
    first = desk.json("merge", "side")[1]["merge_id"]
    assert desk.json("abandon", first)[1]["state"] == "abandoned"
    assert desk.type("complete", first)[0] == 5
    second = desk.json("merge", "side")[1]["merge_id"]
    assert desk.type("complete", second, "--ours", "--theirs")[0] == 1
    assert desk.json("complete", second)[1]["state"] == "open"
    assert desk.json("complete", second, "--theirs")[1]["state"] == "merged"


def test_a_ci_job_gets_reasons_and_an_exit_code(desk: Desk, tmp_path: Path) -> None:
    rules = tmp_path / "gates.yaml"
    rules.write_text(GATES)
    desk.type("branch", "side")
    desk.commit({desk.samples[0]: painted(2, 5)}, "side")
    assert desk.type("check", "--source", "side", "--into", "main")[0] == 0, "no gates yet"
    code, out, _ = desk.type("check", "--source", "side", "--into", "main", "--gates", str(rules))
    assert code == 1
    assert "REFUSED  class_minimum (line 2): pixels 25" in out
    assert "class thing has 25 pixels: at least 100 are wanted" in out
    assert "passed   unlabelled (line 3)" in out
    assert desk.type("gates", "set", str(rules))[0] == 0
    code, view = desk.json("check", "--source", "side")
    assert (code, view["state"], view["gates"]["passed"]) == (1, "refused", False)
    assert desk.json("gates", "reports")[1] == [], "a check stores nothing"
    code, _, errors = desk.type("merge", "side")
    assert code == 1
    assert "at least 100 are wanted" in errors
    assert len(errors.strip().splitlines()) == 1
    desk.commit({desk.samples[0]: painted(2, 11)}, "side")
    assert desk.type("check", "--source", "side")[0] == 0
    assert desk.type("merge", "side")[0] == 0
    assert desk.type("gates", "show")[1].strip() == GATES.strip()


def test_a_check_with_conflicts_fails(desk: Desk) -> None:
    desk.type("branch", "side")
    desk.commit({desk.samples[0]: painted(2, 5, 2)}, "main")
    desk.commit({desk.samples[0]: painted(2, 5, 0)}, "side")
    code, out, _ = desk.type("check", "--source", "side")
    assert code == 1
    assert f"conflict {desk.samples[0]}  0.png  25 px" in out


def test_a_mistake_in_the_gates_file_is_named_by_its_line(desk: Desk, tmp_path: Path) -> None:
    rules = tmp_path / "gates.yaml"
    rules.write_text("rules:\n  - class_minimum: {class: thing, pixel: 1}\n")
    code, _, errors = desk.type("gates", "set", str(rules))
    assert code == 1
    assert "line 2, rules[0].class_minimum: unknown field 'pixel'" in errors


def test_a_commit_is_reverted_and_samples_are_picked(desk: Desk) -> None:
    a, b = desk.samples
    desk.type("branch", "side")
    desk.commit({a: painted(2, 5), b: painted(2, 5)}, "side")
    assert desk.type("cherry-pick", "side", a)[0] == 0
    assert desk.json("show")[1]["counts"] == {"1": 2 * 2_400 - 25, "2": 25}
    assert desk.type("revert", "main")[0] == 0
    assert desk.json("show")[1]["counts"] == {"1": 2 * 2_400}


def test_blame_of_a_box_and_a_picture_of_a_diff(desk: Desk, tmp_path: Path) -> None:
    sample = desk.samples[0]
    first = desk.json("show")[1]["commit_id"]
    desk.commit({sample: painted(2, 5)}, "main")
    code, view = desk.json("blame", sample, "--box", "0", "0", "40", "60")
    assert code == 0
    assert [(g["class_id"], g["pixels"]) for g in view["groups"]] == [(1, 2_375), (2, 25)]
    assert "25 px  class 2" in desk.type("blame", sample, "--box", "0", "0", "40", "60")[1]
    assert desk.type("blame", sample, "--y", "3", "--x", "12")[0] == 0
    assert desk.type("blame", sample)[0] == 1
    picture = tmp_path / "flow.png"
    assert desk.type("diff", first, "main", "--picture", str(picture))[0] == 0
    with Image.open(picture) as image:
        assert min(image.size) > 200
        assert len(np.unique(np.asarray(image.convert("L")))) > 5
    nothing = desk.type("diff", "main", "main", "--picture", str(tmp_path / "none.png"))
    assert nothing[0] == 0
    assert "nothing to draw" in nothing[1]
    assert not (tmp_path / "none.png").exists()


GUIDE = (Path(__file__).parents[2] / "docs" / "versions.md").read_text()


def guide_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.S)


def guide_commands() -> list[list[str]]:
    lines = [line for block in guide_blocks("sh") for line in block.splitlines() if line.startswith("terrazzo ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("words", guide_commands(), ids=lambda words: " ".join(words[:3]))
def test_every_command_of_the_guide_exists_with_its_options(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = words[: 3 if words[1] == "gates" else 2]
    assert run([*name, "--help"]) == 0
    said = capsys.readouterr().out
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|\s|,){re.escape(option)}\b", said, re.M), f"{option} of {' '.join(name)}"


class Scene:
    """A proposal of one sample, as far as the guide's own gate looks."""

    def samples(self, of: str) -> list[Any]:
        assert of == "changed"
        return [type("Sample", (), {"name": "a.png", "counts": {1: 5, 2: 400}})()]


def test_the_gates_of_the_guide_are_read_and_its_own_gate_runs() -> None:
    known: dict[str, Any] = {}
    exec(guide_blocks("python")[0], known)  # the guide's text, from this repository
    installed = {"no-tiny-objects": known["no_tiny_objects"]}
    gates = parse_gates(guide_blocks("yaml")[0], {1: "road", 2: "car"}, installed)
    assert len(gates.rules) == 5
    custom = [rule for rule in gates.rules if isinstance(rule, Custom)]
    [outcome] = evaluate(custom, Scene(), installed)  # type: ignore[arg-type]
    assert outcome.reasons == ("a.png: class 1 has 5 pixels",)
