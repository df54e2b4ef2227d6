"""Blame: who set a pixel, by the rules of domain/blame.py; and through the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo_mask_storage.domain.blame import Origin, Pixel, set_by
from terrazzo_mask_storage.domain.region_blame import introduced, shares

from .conftest import PROJECT, World
from .merging import commit_masks, forked, merge, painted


def pixel(classes: Mapping[str, int], origins: Mapping[str, Sequence[Origin]]) -> Pixel:
    return Pixel(classes.get, lambda mask_id: origins.get(mask_id, ()))


PROPOSAL = Origin("prediction", "mdl_1")


def submission(actor: str, parent: str | None = "proposal") -> Origin:
    return Origin("submission", actor, f"sub_{actor}", parent)


def test_a_pixel_that_the_annotator_left_as_proposed_is_the_models() -> None:
    origins = {"proposal": [PROPOSAL], "m": [submission("ann")]}
    verdict = set_by("m", pixel({"proposal": 2, "m": 2}, origins), "single")
    assert (verdict.set_by, verdict.kind, verdict.accepted_by) == ("mdl_1", "model", ("ann",))
    verdict = set_by("m", pixel({"proposal": 1, "m": 2}, origins), "single")
    assert (verdict.set_by, verdict.kind, verdict.submission_id) == ("ann", "annotator", "sub_ann")


VOTES = {
    "proposal": [PROPOSAL],
    "a": [submission("ann")],
    "b": [submission("bob")],
    "c": [submission("cid")],
    "all": [Origin("consensus", "staple", source_mask_ids=("a", "b", "c"))],
}


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        # All agree with the proposal.
        ({"proposal": 1, "a": 1, "b": 1, "c": 1, "all": 1}, ("mdl_1", "model", ("ann", "bob", "cid"))),
        # Two drew it against the proposal: it is nobody's alone.
        ({"proposal": 1, "a": 2, "b": 2, "c": 1, "all": 2}, ("staple", "consensus", ("ann", "bob"))),
        # One drew it (and two were outweighed).
        ({"proposal": 1, "a": 2, "b": 1, "c": 3, "all": 2}, ("ann", "annotator", ("ann",))),
        # Nobody says so.
        ({"proposal": 1, "a": 2, "b": 1, "c": 3, "all": 0}, ("staple", "consensus", ())),
    ],
)
def test_a_consensus_is_whose_value_it_took(classes: dict[str, int], expected: tuple[object, ...]) -> None:
    verdict = set_by("all", pixel(classes, VOTES), "consensus")
    assert (verdict.set_by, verdict.kind, verdict.accepted_by) == expected
    assert verdict.source == "consensus"


def test_an_adjudicator_sets_what_the_consensus_did_not_say() -> None:
    origins = {**VOTES, "final": [Origin("adjudication", "rev", parent_mask_id="all")]}
    classes = {"proposal": 1, "a": 2, "b": 2, "c": 3, "all": 2, "final": 3}
    verdict = set_by("final", pixel(classes, origins), "adjudication")
    assert (verdict.set_by, verdict.kind, verdict.source) == ("rev", "annotator", "adjudication")
    verdict = set_by("final", pixel({**classes, "final": 2}, origins), "adjudication")
    assert (verdict.set_by, verdict.kind, verdict.accepted_by) == ("staple", "consensus", ("ann", "bob"))


def test_provenance_that_goes_round_in_circles_ends() -> None:
    origins = {
        "a": [Origin("submission", "ann", parent_mask_id="b")],
        "b": [Origin("consensus", "c", source_mask_ids=("a", "b")), Origin("audit", "x", parent_mask_id="a")],
    }
    assert set_by("a", pixel({"a": 1, "b": 1}, origins), None).set_by
    assert set_by("unheard of", pixel({}, {}), None).set_by == "unknown"


def test_a_merged_pixel_is_whose_side_it_came_from() -> None:
    origins = {
        "base": [Origin("import", "folder")],
        "ours": [submission("ann", "base")],
        "theirs": [submission("bob", "base")],
        "m": [Origin("merge", "boss", parent_mask_id="base", source_mask_ids=("ours", "theirs"))],
    }

    def who(base: int, ours: int, theirs: int, merged: int) -> str:
        return set_by(
            "m", pixel({"base": base, "ours": ours, "theirs": theirs, "m": merged}, origins), None
        ).set_by

    assert who(1, 1, 1, 1) == "folder"
    assert who(1, 2, 1, 2) == "ann"
    assert who(1, 1, 3, 3) == "bob"
    assert who(1, 2, 2, 2) == "ann", "both said so: the branch that it was merged into"
    assert who(1, 2, 3, 4) == "boss"


def test_a_long_chain_of_strokes_has_an_answer() -> None:
    origins = {f"m{n}": [Origin("submission", f"ann{n}", None, f"m{n - 1}")] for n in range(1, 5_000)}
    assert set_by("m4999", pixel(dict.fromkeys(origins, 1), origins), None).kind == "annotator"


@dataclass
class Line:
    """Commits (id, parents, the sample's mask), the newest first."""

    commits: list[tuple[str, tuple[str, ...], str | None]]

    def parents(self, commit_id: str) -> Sequence[str]:
        return next(parents for c, parents, _ in self.commits if c == commit_id)

    def mask_of(self, commit_id: str) -> str | None:
        return next(mask for c, _, mask in self.commits if c == commit_id)

    def age(self, commit_id: str) -> float:
        return [c for c, _, _ in self.commits].index(commit_id)


def line(*masks: tuple[str, str | None]) -> Line:
    ids = [commit_id for commit_id, _ in masks]
    return Line([(c, tuple(ids[n + 1 : n + 2]), mask) for n, (c, mask) in enumerate(masks)])


def came_in(history: Line, maps: Mapping[str, object]) -> dict[str, str]:
    """Commit -> its pixels, as a picture of one row."""
    arrays = {mask: np.array([labels], np.uint8) for mask, labels in maps.items()}
    start = history.commits[0][0]
    where = np.ones_like(next(iter(arrays.values())), dtype=bool)
    return {
        c: "".join(".x"[int(p)] for p in found[0]) for c, _, found in introduced(start, history, arrays.get, where)
    }


def test_the_commit_is_the_earliest_since_which_the_class_stands() -> None:
    maps = {"m1": [1], "m2": [2], "m3": [2], "m4": [2]}
    history = line(("c6", "m4"), ("c5", "m3"), ("c4", "m3"), ("c3", "m2"), ("c2", "m1"), ("c1", "m2"))
    assert came_in(history, maps) == {"c3": "x"}
    assert came_in(line(("c3", "m2"), ("c2", None), ("c1", "m2")), maps) == {"c3": "x"}


def test_pixels_of_a_merge_come_from_the_side_that_has_them() -> None:
    maps = {"base": [1, 1, 1, 1], "ours": [2, 1, 2, 1], "theirs": [1, 3, 3, 1], "merged": [2, 3, 0, 1]}
    history = Line(
        [("m", ("o", "t"), "merged"), ("o", ("b",), "ours"), ("t", ("b",), "theirs"), ("b", (), "base")]
    )
    assert came_in(history, maps) == {"m": "..x.", "o": "x...", "t": ".x..", "b": "...x"}


@given(st.data())
def test_a_region_is_blamed_as_its_pixels_are(data: st.DataObject) -> None:
    names = [f"m{n}" for n in range(6)]
    row = st.lists(st.integers(0, 2), min_size=4, max_size=4)
    maps = {name: np.array([data.draw(row)], np.uint8) for name in names}
    sources = st.sampled_from(["submission", "consensus", "adjudication", "merge", "prediction", "import"])
    origins = {
        name: [
            Origin(
                data.draw(sources),  # type: ignore[arg-type]
                f"by-{name}",
                None,
                data.draw(st.one_of(st.none(), st.sampled_from(names))),
                tuple(data.draw(st.lists(st.sampled_from(names), max_size=3))),
            )
        ]
        for name in names
    }
    where = np.ones((1, 4), dtype=bool)
    found = list(shares("m0", where, maps.get, lambda m: origins[m], None))
    assert sum(share.pixels for share in found) == 4
    for x in range(4):
        at = Pixel(lambda m, x=x: int(maps[m][0, x]), lambda m: origins[m])  # type: ignore[misc]
        verdict, class_id = set_by("m0", at, None), int(maps["m0"][0, x])
        assert any(
            (share.class_id, share.verdict) == (class_id, verdict)
            and share.box[1] <= x < share.box[1] + share.box[3]
            for share in found
        )


def test_blame_of_a_region_over_rest_adds_up(world: World) -> None:
    [sample] = forked(world)
    commit_masks(world, {sample: painted((0, 0, 20, 20, 2))})
    commit_masks(world, {sample: painted((30, 30, 10, 10, 3))}, "side")
    merge(world)
    view = world.dataset(f"blame/{sample}/region", y=10, x=10, height=50, width=70)
    assert view["box"] == {"y": 10, "x": 10, "height": 50, "width": 70}
    found = {(g["class_id"], g["set_by"]): (g["pixels"], g["box"]["y"], g["box"]["x"]) for g in view["groups"]}
    assert found == {
        (1, "by-main"): (3_500 - 200, 10, 10),
        (2, "by-main"): (100, 10, 10),
        (3, "by-side"): (100, 30, 30),
    }
    commits = {c["commit_id"]: c["branch"] for ref in ("main", "side") for c in log_of(world, ref)}
    assert [commits[g["commit_id"]] for g in view["groups"]] == ["main", "main", "side"]
    for params in ({"y": 0, "x": 0, "height": 61, "width": 1}, {"y": 0, "x": 80, "height": 1, "width": 1}):
        assert world.client.get(f"/v1/datasets/{PROJECT}/blame/{sample}/region", params=params).status_code == 422


def log_of(world: World, ref: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = world.dataset("commits", ref=ref)["items"]
    return found


def test_blame_over_rest_names_model_annotator_and_commit(world: World) -> None:
    sample_id = world.sample(1)
    about = {"sample_id": sample_id}
    proposed = np.ones((60, 80), np.uint8)
    proposal = world.put(proposed, source="prediction", actor="mdl_7", **about)
    drawn = proposed.copy()
    drawn[10:20, 10:20] = 2
    annotator = world.as_("annotator", name="ann")
    mask_id = world.put(drawn, annotator, source="submission", actor="", parent_mask_id=proposal, **about)
    world.accept(sample_id, mask_id)
    first = world.commit()
    corrected = drawn.copy()
    corrected[0, 0] = 3
    audited = world.put(corrected, source="audit", actor="key_rev", parent_mask_id=mask_id, **about)
    world.accept(sample_id, audited, revision=2, by="audit")
    second = world.commit()

    def who(y: int, x: int) -> tuple[object, ...]:
        b = world.dataset(f"blame/{sample_id}", y=y, x=x)
        return b["class_id"], b["set_by"], b["set_by_kind"], b["commit_id"], b["decided_by"], b["accepted_by"]

    assert who(30, 30) == (1, "mdl_7", "model", first["commit_id"], "single", ["key_ann0000"])
    assert who(15, 15) == (2, "key_ann0000", "annotator", first["commit_id"], "single", ["key_ann0000"])
    assert who(0, 0) == (3, "key_rev", "annotator", second["commit_id"], "audit", ["key_rev"])
    at_first = world.dataset(f"blame/{sample_id}", y=0, x=0, ref=first["commit_id"])
    assert (at_first["class_id"], at_first["set_by"]) == (1, "mdl_7")
    for params in ({"y": 60, "x": 0}, {"y": 0, "x": 80}, {"y": -1, "x": 0}, {"y": 2**40, "x": 0}):
        answer = world.client.get(f"/v1/datasets/{PROJECT}/blame/{sample_id}", params=params)
        assert answer.status_code == 422
    missing = world.client.get(f"/v1/datasets/{PROJECT}/blame/smp_{'0' * 24}?y=0&x=0")
    assert missing.status_code == 404
