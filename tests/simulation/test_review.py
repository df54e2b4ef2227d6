from __future__ import annotations

import numpy as np
import pytest

from terrazzo.simulation import scenes
from terrazzo.simulation.annotators import annotate, crew, reviewer_profile, rng_for
from terrazzo.simulation.review import Tolerance, adjudicate, audit
from terrazzo_masks.consensus import consensus
from terrazzo_schema.ontology import Ontology


def test_adjudication_brings_a_disputed_mask_nearer_to_the_truth(street_ontology: Ontology) -> None:
    reviewer, people = reviewer_profile(), crew(3, 0)
    for seed in range(4):
        truth_HW = scenes.generate_scene(seed, 160, 224).labels_HW
        masks = [
            annotate(truth_HW, None, p, rng_for(0, p.name, str(seed)), street_ontology.classes).labels_HW
            for p in people
        ]
        agreed_HW = consensus(np.stack(masks), method="majority").labels
        settled = adjudicate(
            truth_HW,
            [agreed_HW.astype(np.uint8), *masks],
            reviewer,
            rng_for(0, "r", str(seed)),
            street_ontology.classes,
        )
        assert (settled.labels_HW != truth_HW).sum() < (agreed_HW != truth_HW).sum()
        assert 0 < settled.seconds < settled.from_nothing_seconds


def test_adjudication_changes_nothing_outside_the_dispute(street_ontology: Ontology) -> None:
    truth_HW = np.full((50, 50), 2, np.uint8)
    first_HW, second_HW = truth_HW.copy(), truth_HW.copy()
    first_HW[0:10, 0:10] = second_HW[0:10, 0:10] = 9
    second_HW[30:40, 30:40] = 12
    settled = adjudicate(
        truth_HW, [first_HW, second_HW], reviewer_profile(), np.random.default_rng(0), street_ontology.classes
    )
    assert (settled.labels_HW[0:10, 0:10] == 9).all()
    assert (settled.labels_HW[30:40, 30:40] == 2).all()


def test_when_no_candidate_is_good_the_reviewer_draws(street_ontology: Ontology) -> None:
    truth_HW = np.full((60, 60), 2, np.uint8)
    truth_HW[15:45, 15:45] = 12
    bad = [np.full((60, 60), 2, np.uint8), np.full((60, 60), 2, np.uint8)]
    bad[0][10:50, 10:50], bad[1][10:50, 10:50] = 9, 6
    settled = adjudicate(truth_HW, bad, reviewer_profile(), np.random.default_rng(0), street_ontology.classes)
    assert (settled.labels_HW == truth_HW).mean() > 0.97


def test_adjudication_without_candidates_is_refused(street_ontology: Ontology) -> None:
    truth_HW = np.ones((4, 4), np.uint8)
    with pytest.raises(ValueError, match="at least one candidate"):
        adjudicate(truth_HW, [], reviewer_profile(), np.random.default_rng(0), street_ontology.classes)


def test_an_audit_passes_small_boundary_errors_and_finds_a_wrong_object(street_ontology: Ontology) -> None:
    truth_HW = scenes.generate_scene(1, 160, 224).labels_HW
    classes, reviewer = street_ontology.classes, reviewer_profile()
    shifted_HW = np.roll(truth_HW, 1, axis=1)
    shifted_HW[:, 0] = truth_HW[:, 0]
    passed = audit(truth_HW, shifted_HW, reviewer, np.random.default_rng(0), classes)
    assert passed.ok
    assert passed.corrected_HW is None
    wrong_HW = truth_HW.copy()
    wrong_HW[100:150, 60:160] = 9
    found = audit(truth_HW, wrong_HW, reviewer, np.random.default_rng(0), classes)
    assert not found.ok
    assert found.corrected_HW is not None
    assert (found.corrected_HW == truth_HW).mean() > 0.97
    assert found.seconds > passed.seconds
    lenient = audit(truth_HW, wrong_HW, reviewer, np.random.default_rng(0), classes, Tolerance(wrong_share=0.5))
    assert lenient.ok


def test_audits_tell_the_careless_annotator_from_the_careful(street_ontology: Ontology) -> None:
    people = crew(4, 0)
    careless, careful = next(p for p in people if p.careless), next(p for p in people if p.name == "Ada")
    errors = {careless.name: 0, careful.name: 0}
    for seed in range(6):
        truth_HW = scenes.generate_scene(seed, 160, 224).labels_HW
        for person in (careless, careful):
            mask = annotate(truth_HW, None, person, rng_for(0, person.name, str(seed)), street_ontology.classes)
            verdict = audit(
                truth_HW, mask.labels_HW, reviewer_profile(), rng_for(0, "a", str(seed)), street_ontology.classes
            )
            errors[person.name] += not verdict.ok
    assert errors[careless.name] >= 4
    assert errors[careful.name] <= 1
