"""Blame: who set a pixel, by the rules of domain/blame.py; and through the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from terrazzo_mask_storage.domain.blame import Origin, Pixel, introduced, set_by

from .conftest import PROJECT, World


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


def test_the_commit_is_the_earliest_since_which_the_class_stands() -> None:
    classes = {"m1": 1, "m2": 2, "m3": 2, "m4": 2}
    history = [("c6", "m4"), ("c5", "m3"), ("c4", "m3"), ("c3", "m2"), ("c2", "m1"), ("c1", "m2")]
    assert introduced(history, classes.get) == ("c3", "m2")
    assert introduced([("c3", "m2"), ("c2", None), ("c1", "m2")], classes.get) == ("c3", "m2")


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
